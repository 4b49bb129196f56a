"""Messages on a stream: a flag, four bytes of length, and the message (gRPC, gRPC-Web and Connect's streams alike)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from grpc import StatusCode

from rube.transport.h2.encodings import ENCODINGS, BrokenEncodingError, Encoding, TooLargeError

PREFIX = struct.Struct(">BI")
PREFIX_BYTES = PREFIX.size
ENCODED_FLAG = 1
IDENTITY = "identity"


class StatusError(Exception):
    """The call ends with this status, by the protocol and not by its handler."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class MessageReader:
    """The messages of one request stream, in order. One reader at a time."""

    __slots__ = ("_buffer", "_bytes_max", "_encoding", "_ended", "_receive")

    def __init__(self, receive: Callable[[], Any], encoding: str, bytes_max: int) -> None:
        self._receive = receive
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._buffer = b""
        self._ended = False

    async def next(self) -> bytes | None:
        """Returns the next message, or None after the client's last one. Raises StatusError."""
        if len(self._buffer) < PREFIX_BYTES and not await self._fill(PREFIX_BYTES):
            if self._buffer:
                raise StatusError(StatusCode.INTERNAL, "the request ends within a message's prefix")
            return None
        flags, length = PREFIX.unpack_from(self._buffer)
        if length > self._bytes_max:
            raise too_large("Received", length, self._bytes_max)
        end = PREFIX_BYTES + length
        if len(self._buffer) < end and not await self._fill(end):
            raise StatusError(StatusCode.INTERNAL, "the request ends within a message")
        data = self._buffer[PREFIX_BYTES:end]
        self._buffer = self._buffer[end:]
        return data if flags == 0 else self._decoded(flags, data)

    async def _fill(self, wanted: int) -> bool:
        """Receives until the buffer has as much as wanted. Returns whether it has."""
        have = len(self._buffer)
        chunks = [self._buffer]
        while have < wanted and not self._ended:
            event = await self._receive()
            if event["type"] != "http.request":
                # h2corn cancels this task next; nothing else can follow.
                await asyncio.get_running_loop().create_future()
            body: bytes = event.get("body", b"")
            self._ended = not event.get("more_body", False)
            chunks.append(body)
            have += len(body)
        self._buffer = b"".join(chunks)
        return have >= wanted

    def _decoded(self, flags: int, data: bytes) -> bytes:
        if flags != ENCODED_FLAG:
            raise StatusError(StatusCode.INTERNAL, f"a message has the unknown flags {flags:#x}")
        if self._encoding == IDENTITY:
            raise StatusError(StatusCode.INTERNAL, "a message is flagged as encoded, and the call names no encoding")
        try:
            return ENCODINGS[self._encoding].decode(data, self._bytes_max)
        except TooLargeError:
            raise too_large("Received", None, self._bytes_max) from None
        except BrokenEncodingError as error:
            raise StatusError(StatusCode.INTERNAL, f"a message is not {self._encoding}: {error}") from error


def framed(data: bytes, encoding: Encoding | None, bytes_max: int) -> bytes:
    """Returns the message with its prefix. Raises StatusError for one past the limit."""
    if len(data) > bytes_max:
        raise too_large("Sent", len(data), bytes_max)
    if encoding is None:
        return PREFIX.pack(0, len(data)) + data
    encoded = encoding.encode(data)
    return PREFIX.pack(ENCODED_FLAG, len(encoded)) + encoded


def too_large(verb: str, length: int | None, bytes_max: int) -> StatusError:
    size = "" if length is None else f" ({length} vs. {bytes_max})"
    return StatusError(StatusCode.RESOURCE_EXHAUSTED, f"{verb} message larger than max{size}")
