"""gRPC-Web: gRPC's messages and status in bodies that browsers can send and read, also over HTTP/1.1.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from grpc import StatusCode

from rube.transport.h2.call import Call, Send
from rube.transport.h2.messages import PREFIX, StatusError
from rube.transport.h2.metadata import to_headers

GRPC_WEB = b"application/grpc-web"
_TEXT = b"application/grpc-web-text"
TRAILERS_FLAG = 0x80


class WebCall(Call):
    """One call of gRPC-Web. Its text form is base64."""

    __slots__ = ("_content_type", "_is_text")

    def __init__(self, scope: Any, receive: Any, send: Send, headers: dict[bytes, bytes], message_bytes_max: int):
        self._content_type = headers[b"content-type"].partition(b";")[0].strip().lower()
        self._is_text = self._content_type.startswith(_TEXT)
        super().__init__(scope, _decoded(receive) if self._is_text else receive, send, headers, message_bytes_max)

    def _framed(self, message: Any) -> bytes:
        return self._shown(super()._framed(message))

    def _shown(self, frame: bytes) -> bytes:
        return base64.b64encode(frame) if self._is_text else frame

    async def _start(self, metadata: Any) -> None:
        headers = [(b"content-type", self._content_type), *self._encoding_headers(), *to_headers(metadata)]
        self._initial_sent = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end(self, data: bytes | None = None) -> None:
        self._disarm()
        lines = b"".join(b"%s: %s\r\n" % pair for pair in self._trailers())
        trailers = self._shown(PREFIX.pack(TRAILERS_FLAG, len(lines)) + lines)
        if not self._initial_sent:
            await self._start(())
        await self._send({"type": "http.response.body", "body": (data or b"") + trailers})


def _decoded(receive: Callable[[], Any]) -> Callable[[], Any]:
    """Returns a `receive` whose bodies are no longer base64."""
    rest = b""

    async def next_event() -> Any:
        nonlocal rest
        event = await receive()
        if event["type"] != "http.request":
            return event
        text = rest + event.get("body", b"")
        whole = len(text) - len(text) % 4
        rest = text[whole:]
        try:
            body = base64.b64decode(text[:whole], validate=True)
        except binascii.Error as error:
            raise StatusError(StatusCode.INTERNAL, f"the request is not base64: {error}") from error
        return {**event, "body": body}

    return next_event
