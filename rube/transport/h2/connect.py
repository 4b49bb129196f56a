"""Connect's protocol for unary calls: one message as the body of a POST, in JSON or binary, which a shell can make.

https://connectrpc.com/docs/protocol
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc import StatusCode, aio

from rube.transport.h2.call import Call, Send
from rube.transport.h2.encodings import ENCODINGS, BrokenEncodingError, TooLargeError
from rube.transport.h2.json_codec import JsonCodec
from rube.transport.h2.messages import IDENTITY, StatusError, too_large
from rube.transport.h2.metadata import to_headers

JSON = b"application/json"
PROTO = b"application/proto"
DETAILS_KEY = "grpc-status-details-bin"
HTTP_STATUS = {
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}


class ConnectCall(Call):
    """One unary call."""

    __slots__ = ("_codec", "_content_type", "_initial")

    def __init__(
        self,
        scope: Any,
        receive: Any,
        send: Send,
        headers: dict[bytes, bytes],
        message_bytes_max: int,
        codec: JsonCodec,
    ):
        super().__init__(scope, receive, send, headers, message_bytes_max)
        self._content_type = headers[b"content-type"].partition(b";")[0].strip().lower()
        self._codec = codec if self._content_type == JSON else None
        self._initial: Any = ()
        self.reader = BodyReader(receive, self._request_encoding(), message_bytes_max, self._request)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Keeps it: the HTTP status, which goes first, is known at the end."""
        if self._initial_sent:
            raise aio.UsageError("Send initial metadata failed: already sent")
        self._initial_sent = True
        self._initial = initial_metadata

    async def _answer(self, handler: Any) -> None:
        if handler.request_streaming or handler.response_streaming:
            raise StatusError(StatusCode.UNIMPLEMENTED, f"{self.method} streams: call it by gRPC or gRPC-Web")
        await super()._answer(handler)

    def _request(self, body: bytes) -> bytes:
        return body if self._codec is None else self._codec.request(self.method, body)

    def _request_encoding(self) -> str:
        return self._headers.get(b"content-encoding", b"identity").decode("latin-1")

    def _timeout_s(self) -> float | None:
        text = self._headers.get(b"connect-timeout-ms")
        if text is None:
            return None
        if not text.isdigit() or len(text) > 10:
            raise ValueError(f"{text!r} is no timeout: connect-timeout-ms has up to 10 digits")
        return int(text) / 1000

    def _framed(self, message: Any) -> bytes:
        data: bytes = message if self._serializer is None else self._serializer(message)
        if len(data) > self._message_bytes_max:
            raise too_large("Sent", len(data), self._message_bytes_max)
        return data if self._codec is None else self._codec.response(self.method, data)

    async def _end(self, data: bytes | None = None) -> None:
        self._disarm()
        headers = to_headers(self._initial)
        headers += [(b"trailer-" + name, value) for name, value in to_headers(self._trailing)]
        status = 200
        if data is None:
            status, data = HTTP_STATUS.get(self._code, 500), self._error()
            headers.append((b"content-type", JSON))
        else:
            headers.append((b"content-type", self._content_type))
        headers.append((b"content-length", b"%d" % len(data)))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": data})

    def _error(self) -> bytes:
        code = "canceled" if self._code is StatusCode.CANCELLED else self._code.name.lower()
        error: dict[str, Any] = {"code": code}
        if self._details:
            error["message"] = self._details
        if details := _details(self._trailing):
            error["details"] = details
        return json.dumps(error, ensure_ascii=False).encode() + b"\n"


class BodyReader:
    """The whole body of a request as its one message."""

    def __init__(self, receive: Any, encoding: str, bytes_max: int, parse: Any) -> None:
        self._receive = receive
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._parse = parse
        self._read = False

    async def next(self) -> bytes | None:
        """Returns the message, then None. Raises StatusError."""
        if self._read:
            return None
        self._read = True
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            event = await self._receive()
            if event["type"] != "http.request":
                raise StatusError(StatusCode.CANCELLED, "the client is gone")
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            more = event.get("more_body", False)
            if size > self._bytes_max:
                raise too_large("Received", None, self._bytes_max)
        parsed: bytes = self._parse(self._decoded(b"".join(chunks)))
        return parsed

    def _decoded(self, body: bytes) -> bytes:
        if self._encoding == IDENTITY:
            return body
        try:
            return ENCODINGS[self._encoding].decode(body, self._bytes_max)
        except TooLargeError:
            raise too_large("Received", None, self._bytes_max) from None
        except BrokenEncodingError as error:
            raise StatusError(StatusCode.INVALID_ARGUMENT, f"the body is not {self._encoding}: {error}") from error


def _details(trailing: Any) -> list[dict[str, str]]:
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return []
            return [
                {
                    "type": detail.type_url.rpartition("/")[2],
                    "value": base64.b64encode(detail.value).decode().rstrip("="),
                }
                for detail in status.details
            ]
    return []
