"""Messages between Rube's own clients and servers, made smaller with zstd and a dictionary that both have.

A client asks for it by metadata, a server answers in it, and the client then writes its large requests so, too. A
packed message begins with a byte that no protobuf message begins with, so that both forms may follow each other on one
stream. `form` says how they tell each other and needs no zstd; `codec` and `channel` need zstandard.
gRPC's own encodings, for foreign clients, are in `rube.transport.h2.encodings`.
"""
