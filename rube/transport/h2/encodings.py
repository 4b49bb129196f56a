"""Encodings of messages, by the names of `grpc-encoding` (https://github.com/grpc/grpc/blob/master/doc/compression.md)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

LEVEL = 6


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


ENCODINGS = {
    "gzip": Encoding("gzip", *_deflating(zlib.MAX_WBITS | 16)),
    "deflate": Encoding("deflate", *_deflating(zlib.MAX_WBITS)),
}
ACCEPTED = ",".join(("identity", *ENCODINGS)).encode()
"""The value of `grpc-accept-encoding`."""
