"""The frames on a connection: HTTP/2's as far as gRPC needs them.

A unary call is two frames: the request with its message and half-close, and the trailers with the response.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

Pairs = tuple[tuple[str, str | bytes], ...]
"""Metadata as it travels."""


class FrameKind(Enum):
    """The kind of a frame. Its value is in the trace."""

    SETTINGS = "settings"
    """The server's greeting: the connection can be used."""
    TLS = "tls"
    """A step of a handshake. Head: the step, and a certificate or an alert's name."""
    REQUEST = "request"
    """Opens a stream. Head: method, metadata, nanoseconds until the deadline (-1: none)."""
    DATA = "data"
    HEADERS = "headers"
    """The server's initial metadata. Head: metadata."""
    TRAILERS = "trailers"
    """Ends a stream. Head: initial metadata or None if sent before, code, details, trailing metadata."""
    RST = "rst"
    """Ends a stream at once: its sender has no interest in it any more."""
    WINDOW = "window"
    """So many bytes were read. Head: bytes."""
    PING = "ping"
    PONG = "pong"
    GOAWAY = "goaway"
    """No new streams, please."""
    CLOSE = "close"
    """The end of the connection, after all that was sent before."""
    RESET = "reset"
    """The end of the connection, at once."""


class Frame(NamedTuple):
    """One frame; `end` is the client's half-close. Made of immutable values only: two hosts share no message."""

    kind: FrameKind
    stream: int = 0
    head: tuple[object, ...] = ()
    data: bytes | None = None
    end: bool = False

    def encode(self) -> bytes:
        """Returns the frame's bytes: they have its size, and the trace hashes them."""
        kind, stream, head, data, end = self
        text = f"{kind._value_} {stream} {end:d} {head!r} " if head else f"{kind._value_} {stream} {end:d} "
        return text.encode() + (b"-" if data is None else b"+" + data)
