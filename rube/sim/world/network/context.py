"""A call as its handler sees it: the servicer context in grpc.aio's shape."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import grpc
from grpc import StatusCode, aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from rube.api.times import NS_PER_S
from rube.sim.world.kernel import SimProcess
from rube.sim.world.network.calls import NO_DEADLINE_NS, RPC_ENDED, MetadataLike, as_pairs
from rube.sim.world.network.connection import monotonic_ns
from rube.sim.world.network.flow import ReceiveWindow, SendWindow, Signal
from rube.sim.world.network.frames import Frame, FrameKind, Pairs

IDENTITY_KEY = "x509_subject_alternative_name"

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


class HandlerConnection(Protocol):
    """The part of a connection that the context of a call's handler uses."""

    @property
    def process(self) -> SimProcess:
        """The process that serves."""
        ...

    @property
    def message_bytes_max(self) -> int: ...

    def send(self, frame: Frame) -> None: ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]: ...

    def ended(self, stream: int) -> None:
        """The call of that stream is over."""
        ...


class SimServicerContext(aio.ServicerContext[Any, Any]):
    """One call on its server."""

    def __init__(self, connection: HandlerConnection, frame: Frame, peer: str) -> None:
        method, metadata, deadline_ns = frame.head
        self.method: str = method  # type: ignore[assignment]  # as FrameKind.REQUEST says, like the next two
        self.handler: Handler | None = None
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._loop = connection.process.loop
        self._stream = frame.stream
        self._metadata: Pairs = metadata  # type: ignore[assignment]
        self._peer = peer
        self._inbox: deque[bytes] = deque()
        self._inbox_changed = Signal(self._loop)
        self._half_closed = False
        self._initial: Pairs = ()
        self._initial_sent = False
        self._trailing: Pairs = ()
        self._code: StatusCode | None = None
        self._details = ""
        self._cancelled = False
        self._done = False
        self._callbacks: list[Callable[[Any], None]] = []
        self._send_window = SendWindow(self._loop)
        self._receive_window = ReceiveWindow()
        self._deadline_ns: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        if deadline_ns != NO_DEADLINE_NS:
            timeout_ns: int = deadline_ns  # type: ignore[assignment]
            self._deadline_ns = monotonic_ns(connection.process) + timeout_ns
            context = connection.process.context
            self._timer = self._loop.call_later(timeout_ns / NS_PER_S, self.cancel, context=context)
        self.received(frame)

    # What handlers call

    async def read(self) -> Any:
        """The client's next message, or EOF."""
        data = await self.next_bytes()
        return EOF if data is None else self.decode(data)

    async def write(self, message: Any) -> None:
        """Sends one message of a streamed response; waits while the client is behind."""
        data = self.encode(message)
        if not self._send_window.take_now(len(data)):
            await self._send_window.take(len(data))
        if self._done or self._cancelled:
            raise aio.UsageError(RPC_ENDED)
        if not self._initial_sent:
            await self.send_initial_metadata(self._initial, once=False)
        self._connection.send(Frame(FrameKind.DATA, self._stream, (), data))

    async def send_initial_metadata(self, initial_metadata: MetadataLike, *, once: bool = True) -> None:
        if self._initial_sent:
            if once:
                raise aio.UsageError("Send initial metadata failed: already sent")
            return
        self._initial_sent = True
        pairs = as_pairs(initial_metadata)
        if pairs or once:
            self._connection.send(Frame(FrameKind.HEADERS, self._stream, (pairs,)))

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: MetadataLike = ()) -> NoReturn:
        if self._done:
            raise aio.UsageError(RPC_ENDED)
        if code is StatusCode.OK:
            code, details = StatusCode.UNKNOWN, ""
        if trailing_metadata:
            self._trailing = as_pairs(trailing_metadata)
        self.finish(code, details)
        raise aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        self._trailing = as_pairs(trailing_metadata)

    def trailing_metadata(self) -> Any:
        return self._trailing

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: StatusCode) -> None:
        self._code = code

    def code(self) -> StatusCode:
        return self._code or StatusCode.OK

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> str:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Messages are not compressed here."""

    def disable_next_message_compression(self) -> None:
        """Messages are not compressed here."""

    def peer(self) -> str:
        return self._peer

    def peer_identities(self) -> Sequence[bytes] | None:
        return self.auth_context().get(IDENTITY_KEY)

    def peer_identity_key(self) -> str | None:
        return IDENTITY_KEY if IDENTITY_KEY in self.auth_context() else None

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._connection.auth_context()

    def time_remaining(self) -> float:
        if self._deadline_ns is None:
            return float(sys.maxsize)
        return max(0, self._deadline_ns - monotonic_ns(self._connection.process)) / NS_PER_S

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    # For the server and its connection

    def received(self, frame: Frame) -> None:
        """A frame of this call has arrived."""
        if frame.kind is FrameKind.WINDOW:
            self._send_window.grow(frame.head[0])  # type: ignore[arg-type]  # an int by FrameKind's contract
        elif frame.kind is FrameKind.RST:
            self.cancel()
        else:
            if frame.data is not None:
                self._inbox.append(frame.data)
            self._half_closed |= frame.end
            self._inbox_changed.wake()

    def cancel(self) -> None:
        """The client is gone or the deadline has passed: cancel the handler; nothing more is sent."""
        if self._done or self._cancelled:
            return
        self._cancelled = True
        self._send_window.abandon()
        if self.task is not None:
            self.task.cancel()

    def finish(self, code: StatusCode, details: str, data: bytes | None = None) -> None:
        """Ends the call: sends the trailers unless the client is gone."""
        if self._done:
            return
        if not self._cancelled:
            initial = None if self._initial_sent else self._initial
            self._connection.send(
                Frame(FrameKind.TRAILERS, self._stream, (initial, code.name, details, self._trailing), data)
            )
        self.close()

    def close(self) -> None:
        """The call is over; its callbacks run."""
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._send_window.abandon()
        self._inbox_changed.wake()
        self._connection.ended(self._stream)
        for callback in self._callbacks:
            self._connection.process.call_soon(callback, self)

    async def next_bytes(self) -> bytes | None:
        """The client's next message, or None after its half-close."""
        while not self._inbox:
            if self._half_closed:
                return None
            if self._done or self._cancelled:
                raise aio.UsageError(RPC_ENDED)
            await self._inbox_changed.wait()
        data = self._inbox.popleft()
        granted = self._receive_window.read(len(data))
        if granted and not self._half_closed:
            self._connection.send(Frame(FrameKind.WINDOW, self._stream, (granted,)))
        return data

    async def requests(self) -> AsyncIterator[Any]:
        """Yields the client's messages: the argument of a handler with streamed requests."""
        while (data := await self.next_bytes()) is not None:
            yield self.decode(data)

    def encode(self, message: Any) -> bytes:
        """A response's bytes, made when it is sent."""
        assert self.handler is not None
        serializer = self.handler.response_serializer
        data: bytes = message if serializer is None else serializer(message)
        self._check_size(data, "Sent")
        return data

    def decode(self, data: bytes) -> Any:
        """A request's message."""
        self._check_size(data, "Received")
        assert self.handler is not None
        deserializer = self.handler.request_deserializer
        return data if deserializer is None else deserializer(data)

    def _check_size(self, data: bytes, verb: str) -> None:
        """Ends the call if a message passes the server's limit, as gRPC does."""
        limit = self._connection.message_bytes_max
        if len(data) > limit:
            self.finish(
                StatusCode.RESOURCE_EXHAUSTED, f"SERVER: {verb} message larger than max ({len(data)} vs. {limit})"
            )
            raise aio.AbortError("a message is too large")
