"""One call of gRPC over HTTP/2: the context that its handler is given, and what goes over the wire."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

import grpc
from grpc import StatusCode, aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from rube.api.errors import RubeError, encode_error
from rube.transport.h2.encodings import ACCEPTED, ENCODED_BYTES_MIN, ENCODINGS, Encoding, fitting
from rube.transport.h2.identity import IDENTITY_KEY, NO_CERTIFICATE, auth_context
from rube.transport.h2.messages import IDENTITY, MessageReader, StatusError, framed
from rube.transport.h2.metadata import Metadata, percent_encoded, timeout_s, to_headers, to_metadata
from rube.transport.servicer import EndedError
from rube.transport.statuses import DETAILS_KEY

Send = Callable[[dict[str, Any]], Any]
HeaderList = list[tuple[bytes, bytes]]

ENDING_S_MAX = 1.0
"""The end of a call that its client does not read is given up after so long."""
TURN_BYTES_MAX = 64 * 1024
"""A stream that writes so much without waiting for its client lets other tasks run before it goes on: h2corn takes
megabytes at once, which would hold up the event loop."""
_LOG = logging.getLogger("rube.transport")
_CODES = {code.value[0]: code for code in StatusCode}
_COMPRESSIONS = {grpc.Compression.Gzip: "gzip", grpc.Compression.Deflate: "deflate"}
_CONTENT_TYPE = (b"content-type", b"application/grpc")


class Call:
    """One call. Handlers use it as a grpc.aio.ServicerContext."""

    REFUSES_AFTER_END: Final = True
    """Reads and writes after the end raise EndedError."""

    __slots__ = (
        "_aborted",
        "_callbacks",
        "_code",
        "_deadline_s",
        "_details",
        "_done",
        "_encoded_bytes_min",
        "_encoding",
        "_encoding_paused",
        "_ends_as",
        "_expiry",
        "_headers",
        "_initial_sent",
        "_loop",
        "_message_bytes_max",
        "_metadata",
        "_scope",
        "_send",
        "_serializer",
        "_task",
        "_trailing",
        "_turn_bytes",
        "method",
        "reader",
    )

    def __init__(self, scope: Any, receive: Any, send: Send, headers: dict[bytes, bytes], message_bytes_max: int):
        self.method: str = scope["path"]
        self._scope = scope
        self._send = send
        self._headers = headers
        self._message_bytes_max = message_bytes_max
        self._metadata: Metadata | None = None
        self._code: StatusCode = StatusCode.OK
        self._details = ""
        self._trailing: Any = ()
        self._initial_sent = False
        self._aborted = False
        self._done = False
        self._turn_bytes = 0
        self._callbacks: list[Callable[[Any], None]] = []
        self._encoding: Encoding | None = None
        self._encoded_bytes_min: int | None = None
        self._encoding_paused = False
        self._serializer: Callable[[Any], bytes] | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._ends_as: StatusError | None = None
        self._deadline_s: float | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.reader: Any = MessageReader(receive, self._request_encoding(), message_bytes_max)

    # What handlers call

    async def read(self) -> Any:
        """Returns the client's next message, or EOF."""
        self._check_open()
        data = await self.reader.next()
        return EOF if data is None else data

    async def write(self, message: Any) -> None:
        """Sends one message of a streamed response; waits while the client is behind. Raises UsageError after the
        end."""
        self._check_open()
        if not self._initial_sent:
            self._choose_encoding()
        data = self._framed(message)
        if not self._initial_sent:
            await self._start(())
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except OSError as error:
            self._done = True
            raise EndedError from error
        self._turn_bytes += len(data)
        if self._turn_bytes >= TURN_BYTES_MAX:
            self._turn_bytes = 0
            await asyncio.sleep(0)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        if self._initial_sent:
            raise aio.UsageError("Send initial metadata failed: already sent")
        self._check_open()
        self._choose_encoding()
        await self._start(initial_metadata)

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the call with that status; the handler's own end changes it no more."""
        if self._aborted or self._done:
            raise EndedError
        if code is StatusCode.OK:
            code, details = StatusCode.UNKNOWN, ""
        self._aborted = True
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = trailing_metadata
        raise aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        return self._trailing

    def invocation_metadata(self) -> Metadata:
        if self._metadata is None:
            self._metadata = to_metadata(self._scope["headers"])
        return self._metadata

    def set_code(self, code: StatusCode | int) -> None:
        self._code = code if isinstance(code, StatusCode) else _CODES.get(code, StatusCode.UNKNOWN)

    def code(self) -> StatusCode:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> str:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Encodes the messages from now on, if the client takes that encoding. The first message must not be sent."""
        if self._initial_sent:
            raise aio.UsageError("the encoding is announced with the initial metadata, which was sent already")
        name = _COMPRESSIONS.get(compression, IDENTITY)
        taken = self._headers.get(b"grpc-accept-encoding", b"").decode("latin-1").replace(" ", "").split(",")
        self._encoding = ENCODINGS.get(name) if name in taken else None
        self._encoded_bytes_min = 0

    def disable_next_message_compression(self) -> None:
        self._encoding_paused = True

    def peer(self) -> str:
        client = self._scope.get("client")
        if client is None:
            return "unix:"
        host, port = client[:2]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def peer_identities(self) -> Sequence[bytes] | None:
        return self.auth_context().get(IDENTITY_KEY)

    def peer_identity_key(self) -> str | None:
        return IDENTITY_KEY if IDENTITY_KEY in self.auth_context() else None

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        tls = self._scope["extensions"].get("tls")
        if not tls:
            return {}
        chain = tls["client_cert_chain"]
        return auth_context(chain[0], tls["client_cert_name"]) if chain else NO_CERTIFICATE

    def time_remaining(self) -> float:
        if self._deadline_s is None:
            return float(sys.maxsize)
        return max(0.0, self._deadline_s - self._loop.time())

    def cancelled(self) -> bool:
        """Returns whether the client is gone, the deadline has passed or the server stops."""
        return self._ends_as is not None or (not self._done and self._task is not None and self._task.cancelling() > 0)

    def done(self) -> bool:
        return self._done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    # For the server

    async def run(self, handler: Any) -> None:
        """Carries the call out. Returns when it has ended, and raises only what cancels its task from outside."""
        try:
            self._arm()
            self._serializer = handler.response_serializer
            await self._answer(handler)
        except aio.AbortError:
            await self._end()
        except StatusError as error:
            await self._end_as(error)
        except asyncio.CancelledError:
            if self._ends_as is None:
                self._code = StatusCode.CANCELLED
                raise  # the client is gone
            await self._end_as(self._ends_as)
        except OSError as error:
            if not self._is_gone(error):
                await self._end_unexpected(error)
        except Exception as error:
            await self._end_unexpected(error)
        finally:
            self._close()

    def runs_in(self, task: asyncio.Task[Any] | None) -> bool:
        return self._task is task

    def cancel(self, why: StatusError) -> None:
        """Cancels the handler; the call ends with this status."""
        if self._ends_as is None and not self._done:
            self._ends_as = why
        if self._task is not None:
            self._task.cancel()

    async def refuse(self, code: StatusCode, details: str, error: RubeError | None = None) -> None:
        """Ends a call whose handler has not begun; `error` travels in the status's details."""
        try:
            await self._end_as(
                StatusError(code, details), () if error is None else ((DETAILS_KEY, encode_error(error)),)
            )
        finally:
            self._close()

    # The protocol

    async def _answer(self, handler: Any) -> None:
        if handler.request_streaming:
            request: Any = self._requests()
            behavior = handler.stream_stream if handler.response_streaming else handler.stream_unary
        else:
            request = await self.reader.next()
            if request is None:
                raise StatusError(StatusCode.INTERNAL, "the request has no message")
            behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary
        if handler.response_streaming:
            await self._respond(behavior(request, self))
            await self._end()
        else:
            response = await behavior(request, self)
            await self._end(None if self._code is not StatusCode.OK else self._framed(response))

    async def _respond(self, responses: Any) -> None:
        if hasattr(responses, "__aiter__"):  # an interceptor's handler; those of LevelServer write themselves
            async for response in responses:
                await self.write(response)
        else:
            await responses

    async def _requests(self) -> AsyncIterator[bytes]:
        while (data := await self.reader.next()) is not None:
            yield data

    def _request_encoding(self) -> str:
        return self._headers.get(b"grpc-encoding", b"identity").decode("latin-1")

    def _timeout_s(self) -> float | None:
        text = self._headers.get(b"grpc-timeout")
        return None if text is None else timeout_s(text)

    def _arm(self) -> None:
        """Begins the deadline, and checks the encoding. Raises StatusError."""
        encoding = self._request_encoding()
        if encoding != IDENTITY and encoding not in ENCODINGS:
            raise StatusError(StatusCode.UNIMPLEMENTED, f"the message encoding {encoding!r} is not known here")
        try:
            left_s = self._timeout_s()
        except ValueError as error:
            raise StatusError(StatusCode.INTERNAL, str(error)) from error
        if left_s is None:
            return
        self._deadline_s = self._loop.time() + left_s
        why = StatusError(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._expiry = self._loop.call_at(self._deadline_s, self.cancel, why)

    def _framed(self, message: Any) -> bytes:
        if self._serializer is not None:
            message = self._serializer(message)
        if len(message) >= ENCODED_BYTES_MIN:
            self._choose_encoding()
        encoding = self._encoding
        if encoding is not None and (self._encoding_paused or len(message) < (self._encoded_bytes_min or 0)):
            encoding = None
        self._encoding_paused = False
        return framed(message, encoding, self._message_bytes_max)

    def _choose_encoding(self) -> None:
        """Chooses one if the handler has chosen none, before it is announced."""
        if self._encoded_bytes_min is not None or self._initial_sent:
            return
        self._encoded_bytes_min = ENCODED_BYTES_MIN
        self._encoding = fitting(self._request_encoding(), self._headers.get(b"grpc-accept-encoding", b""))

    async def _start(self, metadata: Any) -> None:
        """Sends the initial metadata."""
        headers = [_CONTENT_TYPE, *self._encoding_headers(), *to_headers(metadata)]
        self._initial_sent = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})

    def _encoding_headers(self) -> Iterable[tuple[bytes, bytes]]:
        if self._encoding is not None:
            yield b"grpc-encoding", self._encoding.name.encode()
        if self._code is StatusCode.UNIMPLEMENTED:
            yield b"grpc-accept-encoding", ACCEPTED

    async def _end(self, data: bytes | None = None) -> None:
        """Sends the last message, if there is one, and the status."""
        self._disarm()
        trailers = self._trailers()
        if data is None and not self._initial_sent:  # "trailers-only"
            headers = [_CONTENT_TYPE, *self._encoding_headers(), *trailers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": b""})
            return
        if not self._initial_sent:
            await self._start(())
        await self._send({"type": "http.response.body", "body": data or b""})
        await self._send({"type": "http.response.trailers", "headers": trailers})

    def _trailers(self) -> HeaderList:
        trailers = [(b"grpc-status", b"%d" % self._code.value[0])]
        if self._details:
            trailers.append((b"grpc-message", percent_encoded(self._details)))
        if self._trailing:
            trailers.extend(to_headers(self._trailing))
        return trailers

    async def _end_as(self, status: StatusError, trailing: Any = ()) -> None:
        """Ends with a status of the protocol's own, not past ENDING_S_MAX: the client may read no more."""
        self._code, self._details, self._trailing = status.code, status.details, trailing
        try:
            async with asyncio.timeout(ENDING_S_MAX):
                await self._end()
        except (OSError, TimeoutError):
            pass

    async def _end_unexpected(self, error: Exception) -> None:
        _LOG.error("unexpected error in %s", self.method, exc_info=error)
        await self._end_as(StatusError(StatusCode.UNKNOWN, f"Unexpected {type(error).__name__}; see the server's log"))

    @staticmethod
    def _is_gone(error: OSError) -> bool:
        """Returns whether the error is h2corn's for a stream that has ended."""
        return type(error).__name__ == "SendAfterCloseError"

    def _disarm(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _close(self) -> None:
        self._disarm()
        self._done = True
        for callback in self._callbacks:
            self._loop.call_soon(callback, self)

    def _check_open(self) -> None:
        if self._done or self._aborted or self.cancelled():
            raise EndedError
