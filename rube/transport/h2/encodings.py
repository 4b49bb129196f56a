"""Encodings of messages, by the names of `grpc-encoding` (https://github.com/grpc/grpc/blob/master/doc/compression.md)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

LEVEL = 6
ZSTD_LEVEL = 1
ENCODED_BYTES_MIN = 1024
"""Smaller messages are encoded only where a handler says so."""


class TooLargeError(Exception):
    """The message is longer than its reader takes."""


class BrokenEncodingError(Exception):
    """The bytes are not of their encoding."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to make messages smaller."""

    name: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, int], bytes]
    """Takes bytes and the longest message; raises TooLargeError before that much memory is used, and
    BrokenEncodingError."""


def _deflating(window_bits: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes, int], bytes]]:
    def encode(data: bytes) -> bytes:
        return zlib.compress(data, LEVEL, window_bits)

    def decode(data: bytes, bytes_max: int) -> bytes:
        engine = zlib.decompressobj(window_bits)
        try:
            message = engine.decompress(data, bytes_max + 1)
        except zlib.error as error:
            raise BrokenEncodingError(str(error)) from error
        if len(message) > bytes_max:
            raise TooLargeError
        if not engine.eof:
            raise BrokenEncodingError("the data ends early")
        return message

    return encode, decode


def _zstd(zstandard: ModuleType) -> Encoding:
    def encode(data: bytes) -> bytes:
        encoded: bytes = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
        return encoded

    def decode(data: bytes, bytes_max: int) -> bytes:
        try:
            size = zstandard.frame_content_size(data)  # -1: the frame does not say
            if size > bytes_max:
                raise TooLargeError
            engine = zstandard.ZstdDecompressor()
            message: bytes = engine.decompress(data, max_output_size=bytes_max, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BrokenEncodingError(str(error)) from error
        return message

    return Encoding("zstd", encode, decode)


def _known() -> Iterable[Encoding]:
    yield Encoding("gzip", *_deflating(zlib.MAX_WBITS | 16))
    yield Encoding("deflate", *_deflating(zlib.MAX_WBITS))
    try:
        import zstandard
    except ModuleNotFoundError:
        return
    yield _zstd(zstandard)


ENCODINGS = {encoding.name: encoding for encoding in _known()}
ACCEPTED = ",".join(("identity", *ENCODINGS)).encode()
"""The value of `grpc-accept-encoding`."""


def fitting(request: str, accepted: bytes) -> Encoding | None:
    """Returns the encoding of a response, if its handler has not chosen one: that of the request, as gRPC's servers do,
    or zstd for a client that accepts it. `accepted`: its `grpc-accept-encoding`."""
    if (encoding := ENCODINGS.get(request)) is not None:
        return encoding
    takes_zstd = b"zstd" in accepted and b"zstd" in accepted.replace(b" ", b"").split(b",")
    return ENCODINGS.get("zstd") if takes_zstd else None
