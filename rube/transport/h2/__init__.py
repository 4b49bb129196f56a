"""gRPC over ASGI on h2corn, an HTTP/2 server in Rust: a server in the shape of grpc.aio's, for `LevelServer` to wrap.

A call runs in the one task that h2corn makes for a request. h2corn cancels this task when the client resets the stream
or its connection ends. The package has the sockets, the protocols of calls on them, and their messages, metadata and
encodings; it knows no service of Rube.
"""

from __future__ import annotations

from rube.transport.h2.server import H2Server

__all__ = ["H2Server"]
