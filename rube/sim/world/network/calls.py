"""A client's calls in grpc.aio's shape: awaitable or iterable, with status, metadata, deadline and cancellation."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, Self

from grpc import StatusCode, aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from rube.api.times import NS_PER_S
from rube.sim.world.kernel import SimProcess
from rube.sim.world.kernel.hostclock import seconds_to_ns
from rube.sim.world.network.connection import monotonic_ns
from rube.sim.world.network.flow import ReceiveWindow, SendWindow, Signal
from rube.sim.world.network.frames import Frame, FrameKind, Pairs
from rube.sim.world.network.tap import CallTap, Tap
from rube.transport import ChannelOptions

MetadataLike = aio.Metadata | Sequence[tuple[str, str | bytes]] | None
Requests = AsyncIterable[Any] | Iterable[Any]

LOCALLY_CANCELLED = "Locally cancelled by application!"
RPC_ENDED = "RPC already finished."
HALF_CLOSED = 'RPC is half closed after calling "done_writing".'
NO_DEADLINE_NS = -1


class CallSpec(NamedTuple):
    """A stub's description of a method."""

    method: str
    serializer: Callable[[Any], bytes] | None
    deserializer: Callable[[bytes], Any] | None

    def encode(self, request: Any) -> bytes:
        """A request's bytes."""
        data: bytes = request if self.serializer is None else self.serializer(request)
        return data

    def decode(self, data: bytes) -> Any:
        """A response's message."""
        return data if self.deserializer is None else self.deserializer(data)


class CallOptions(NamedTuple):
    """A caller's options for one call."""

    timeout: float | None
    metadata: MetadataLike
    wait_for_ready: bool | None


def as_pairs(metadata: MetadataLike) -> Pairs:
    """Metadata as it travels: keys in lower case, values copied."""
    return tuple((key.lower(), value) for key, value in metadata or ())


class CallChannel(Protocol):
    """The part of a channel that its calls use."""

    @property
    def process(self) -> SimProcess:
        """The process that calls."""
        ...

    @property
    def options(self) -> ChannelOptions: ...

    @property
    def tap(self) -> Tap | None: ...

    @property
    def target(self) -> str:
        """The address that it leads to."""
        ...

    def start(self, call: SimCall) -> None:
        """Sends the call's request, now or when there is a connection."""
        ...

    def ended(self, call: SimCall) -> None:
        """The call is over."""
        ...


class CallConnection(Protocol):
    """The part of a connection that calls on it use."""

    def send(self, frame: Frame) -> None: ...

    def done(self, number: int, tell_server: bool) -> None:
        """Ends the stream for the client; `tell_server` if the server does not know it yet."""
        ...


class SimCall(aio.Call):
    """One call. Its request travels as bytes from the moment it is made."""

    def __init__(
        self,
        channel: CallChannel,
        spec: CallSpec,
        options: CallOptions,
        data: bytes | None,
        tap: CallTap | None = None,
    ) -> None:
        """`data`: the one request of a unary call, or None where requests are streamed. `tap`: observes the call."""
        loop = channel.process.loop
        self.waits_for_ready = bool(options.wait_for_ready)
        self._channel = channel
        self._spec = spec
        self._loop = loop
        self._metadata = as_pairs(options.metadata)
        self._data = data
        self._half_closed = data is not None
        self._connection: CallConnection | None = None
        self._stream = 0
        self._deadline_ns: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        if options.timeout is not None:
            self._deadline_ns = monotonic_ns(channel.process) + seconds_to_ns(max(0.0, options.timeout))
            self._timer = loop.call_later(max(0, options.timeout), self._expire, context=channel.process.context)
        self._changed = Signal(self._loop)
        """Something about the call is new: its connection, its metadata, its messages, its end."""
        self._initial: Pairs | None = None
        self._code: StatusCode | None = None
        self._details = ""
        self._trailing: Pairs = ()
        self._inbox: deque[bytes] = deque()
        self._trailers: Frame | None = None
        """The end as it has arrived, while messages before it are still unread."""
        self._send_window = SendWindow(self._loop)
        self._receive_window = ReceiveWindow()
        self._callbacks: list[Callable[[Any], None]] = []
        self._tap = tap
        channel.start(self)

    @classmethod
    def start(cls, channel: CallChannel, spec: CallSpec, options: CallOptions, request: Any) -> Self:
        """Makes a call and sends it; `request` is a message, or an iterator of them (or None) where they stream."""
        data = spec.encode(request)
        tap = None if channel.tap is None else channel.tap.begun(spec.method, request, channel.target)
        return cls(channel, spec, options, data, tap)

    # What users call

    def cancelled(self) -> bool:
        return self._code is StatusCode.CANCELLED

    def done(self) -> bool:
        return self._code is not None

    def cancel(self) -> bool:
        """Ends the call with CANCELLED, here at once and at the server when it hears of it."""
        return self.finish(StatusCode.CANCELLED, LOCALLY_CANCELLED)

    def time_remaining(self) -> float | None:
        return None if self._deadline_ns is None else self._remaining_ns() / NS_PER_S

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> aio.Metadata:
        await self._until(lambda: self._initial is not None or self.done())
        return aio.Metadata(*(self._initial or ()))

    async def trailing_metadata(self) -> aio.Metadata:
        await self._until(self.done)
        return aio.Metadata(*self._trailing)

    async def code(self) -> StatusCode:
        await self._until(self.done)
        assert self._code is not None
        return self._code

    async def details(self) -> str:
        await self._until(self.done)
        return self._details

    async def debug_error_string(self) -> str:
        await self._until(self.done)
        return self._details

    async def wait_for_connection(self) -> None:
        """Waits until the server has answered in any way; raises if the call ends with an error before."""
        await self._cancelling(self._until(lambda: self._initial is not None or self.done()))
        self.raise_for_status()

    # For the channel and its connection

    def opened(self, connection: CallConnection, stream: int) -> None:
        """There is a connection: send the request."""
        self._connection, self._stream = connection, stream
        head = (self._spec.method, self._metadata, self._remaining_ns())
        connection.send(Frame(FrameKind.REQUEST, stream, head, self._data, self._half_closed))
        self._data = None
        self._changed.wake()

    def received(self, frame: Frame) -> None:
        """A frame of this call has arrived."""
        kind = frame.kind
        if kind is FrameKind.DATA:
            self._deliver(frame.data)
        elif kind is FrameKind.TRAILERS:
            self._deliver(frame.data)
            self._trailers = frame
            if not self._inbox or not self._keeps_unread():
                self._finish_as_told()
            self._changed.wake()
        elif kind is FrameKind.HEADERS:
            self._know_initial(frame.head[0])
        elif kind is FrameKind.WINDOW:
            self._send_window.grow(frame.head[0])  # type: ignore[arg-type]  # an int by FrameKind's contract
        elif kind is FrameKind.RST:
            self.finish(StatusCode.CANCELLED, "RST_STREAM received")

    def finish(self, code: StatusCode, details: str, trailing: Pairs = (), *, tell_server: bool = True) -> bool:
        """Ends the call, if it has not ended; unread messages are dropped unless the server ended it."""
        if self._code is not None:
            return False
        self._code, self._details, self._trailing = code, details, trailing
        if self._tap is not None:
            self._tap.ended(code, details, trailing)
        if self._timer is not None:
            self._timer.cancel()
        if tell_server:
            self._inbox.clear()
        self._channel.ended(self)
        if self._connection is not None:
            self._connection.done(self._stream, tell_server)
        self._send_window.abandon()
        self._changed.wake()
        for callback in self._callbacks:
            self._channel.process.call_soon(callback, self)
        return True

    def raise_for_status(self) -> None:
        """Raises the error that ended the call: CancelledError if cancelled here, else AioRpcError."""
        if self._code in (None, StatusCode.OK):
            return
        if self._code is StatusCode.CANCELLED and self._details == LOCALLY_CANCELLED:
            raise asyncio.CancelledError
        raise aio.AioRpcError(
            self._code,
            aio.Metadata(*(self._initial or ())),
            aio.Metadata(*self._trailing),
            details=self._details,
            debug_error_string=self._details,
        )

    def _remaining_ns(self) -> int:
        """Returns the time until the deadline, on the client's clock."""
        if self._deadline_ns is None:
            return NO_DEADLINE_NS
        return max(0, self._deadline_ns - monotonic_ns(self._channel.process))

    def _keeps_unread(self) -> bool:
        """Returns whether the end waits until the messages before it are read, as it does for streams."""
        return True

    def _deliver(self, data: bytes | None) -> None:
        if data is None:
            return
        if len(data) > self._channel.options.message_bytes_max:
            limit = self._channel.options.message_bytes_max
            self.finish(
                StatusCode.RESOURCE_EXHAUSTED, f"CLIENT: Received message larger than max ({len(data)} vs. {limit})"
            )
            return
        self._inbox.append(data)
        self._know_initial(())
        self._changed.wake()

    def _know_initial(self, metadata: object) -> None:
        if self._initial is None:
            self._initial = metadata  # type: ignore[assignment]  # Pairs by FrameKind's contract
            self._changed.wake()

    def _finish_as_told(self) -> None:
        assert self._trailers is not None
        initial, code, details, trailing = self._trailers.head
        self._know_initial(initial or ())
        self.finish(StatusCode[code], details, trailing, tell_server=False)  # type: ignore[arg-type, misc]  # as sent

    def _decode(self, data: bytes) -> Any:
        message = self._spec.decode(data)
        if self._tap is not None:
            self._tap.received(message)
        return message

    def _expire(self) -> None:
        self.finish(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    async def _cancelling(self, waiting: Any) -> None:
        """Waits; if the waiting task is cancelled, so is the call."""
        try:
            await waiting
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def _next(self) -> Any:
        """The next message, or EOF at the end."""
        while not self._inbox:
            if self.done():
                return EOF
            try:  # as `_cancelling`, written out: once for each message of a stream
                await self._changed.wait()
            except asyncio.CancelledError:
                self.cancel()
                raise
        data = self._inbox.popleft()
        granted = self._receive_window.read(len(data))
        if granted and not self.done() and self._trailers is None and self._connection is not None:
            self._connection.send(Frame(FrameKind.WINDOW, self._stream, (granted,)))
        message = self._decode(data)
        if not self._inbox and self._trailers is not None and not self.done():
            self._finish_as_told()
        return message


class _UnaryResponse(SimCall):
    """A call with one response: `await call`."""

    def __await__(self) -> Generator[Any, None, Any]:
        return self._response().__await__()

    def _keeps_unread(self) -> bool:
        return False

    async def _response(self) -> Any:
        await self._cancelling(self._until(self.done))
        self.raise_for_status()
        if not self._inbox:
            raise aio.InternalError("the call ended with OK and without a response")
        return self._decode(self._inbox[0])


class _StreamResponse(SimCall):
    """A call with many responses: `async for response in call`, or `await call.read()` until `grpc.aio.EOF`."""

    _style = ""

    def __aiter__(self) -> AsyncIterator[Any]:
        self._choose_style("iterator")
        return self._messages()

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self._next()) is not EOF:
            yield message
        self.raise_for_status()

    async def read(self) -> Any:
        """The next message; EOF at the end, or AioRpcError if that is an error."""
        self._choose_style("read")
        message = await self._next()
        if message is EOF:
            self.raise_for_status()
        return message

    def _choose_style(self, style: str) -> None:
        if self._style not in ("", style):
            raise aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
        self._style = style


class _StreamRequest(SimCall):
    """A call with many requests: from an iterator, or by `write` and `done_writing`."""

    @classmethod
    def start(cls, channel: CallChannel, spec: CallSpec, options: CallOptions, request: Any) -> Self:
        call = cls(channel, spec, options, None)
        call._feed_from(request)
        return call

    def _feed_from(self, requests: Requests | None) -> None:
        """Sends the requests of an iterator, in a task of the calling process."""
        if requests is not None:
            feeder = self._loop.create_task(self._feed(requests))

            def stop(_: object) -> None:
                feeder.cancel()

            self.add_done_callback(stop)

    async def write(self, request: Any) -> None:
        """Sends one request; waits while the server is behind."""
        if self.done():
            raise asyncio.InvalidStateError(RPC_ENDED)
        if self._half_closed:
            raise asyncio.InvalidStateError(HALF_CLOSED)
        data = self._spec.encode(request)
        await self._cancelling(self._until(lambda: self._connection is not None or self.done()))
        await self._cancelling(self._send_window.take(len(data)))
        if self.done():
            self.raise_for_status()
            raise asyncio.InvalidStateError(RPC_ENDED)
        assert self._connection is not None
        self._connection.send(Frame(FrameKind.DATA, self._stream, (), data))

    async def done_writing(self) -> None:
        """No more requests follow. Idempotent."""
        if self.done() or self._half_closed:
            return
        self._half_closed = True
        await self._cancelling(self._until(lambda: self._connection is not None or self.done()))
        if not self.done():
            assert self._connection is not None
            self._connection.send(Frame(FrameKind.DATA, self._stream, end=True))

    async def _feed(self, requests: Requests) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self.write(request)
            else:
                for request in requests:
                    await self.write(request)
            await self.done_writing()
        except (asyncio.InvalidStateError, aio.AioRpcError):
            pass  # the call ended first: its readers get the status
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": f"request iterator of {self._spec.method}", "exception": error}
            )
            self.cancel()


class SimUnaryUnaryCall(_UnaryResponse, aio.UnaryUnaryCall[Any, Any]):
    """A unary call."""


class SimUnaryStreamCall(_StreamResponse, aio.UnaryStreamCall[Any, Any]):
    """A call with one request and many responses."""


class SimStreamUnaryCall(_StreamRequest, _UnaryResponse, aio.StreamUnaryCall[Any, Any]):
    """A call with many requests and one response."""


class SimStreamStreamCall(_StreamRequest, _StreamResponse, aio.StreamStreamCall[Any, Any]):
    """A call with many requests and many responses, in any order."""
