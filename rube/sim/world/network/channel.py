"""SimChannel: a client's channel in grpc.aio's shape, on simulated connections.

Its states are gRPC's (https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md): IDLE until a
call needs a connection; CONNECTING; READY; TRANSIENT_FAILURE from a failed attempt until the next success, with
attempts at growing intervals, in which calls fail at once unless they wait for ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc import ChannelConnectivity, aio

from rube.api.errors import InvalidArgumentError
from rube.host import ChannelTls
from rube.sim.world.kernel import SimProcess
from rube.sim.world.network.calls import CallSpec, SimCall
from rube.sim.world.network.connection import End
from rube.sim.world.network.fabric import SimFabric
from rube.sim.world.network.frames import Frame, FrameKind
from rube.sim.world.network.handshakes import ClientHandshake
from rube.sim.world.network.stubs import (
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from rube.sim.world.network.tap import Tap
from rube.sim.world.network.tls import TlsFiles
from rube.transport import ChannelOptions

BACKOFF_FACTOR = 1.6
BACKOFF_JITTER = 0.2

Serializer = Callable[[Any], bytes] | None
Deserializer = Callable[[bytes], Any] | None


class ClientConnection:
    """The client's side of HTTP/2 on one connection: its streams, by number."""

    def __init__(self, channel: SimChannel, end: End) -> None:
        self._channel = channel
        self._end = end
        self._calls: dict[int, SimCall] = {}
        self._next_stream = 1
        self._draining = False
        self.greeted = False
        self.handshake: ClientHandshake | None = None
        end.peer = self

    def open(self, call: SimCall) -> None:
        """Sends a call's request as a new stream."""
        number, self._next_stream = self._next_stream, self._next_stream + 2
        self._calls[number] = call
        call.opened(self, number)

    def send(self, frame: Frame) -> None:
        """Sends a frame of one of the streams."""
        self._end.send(frame)

    def done(self, number: int, tell_server: bool) -> None:
        """Ends the stream for the client; `tell_server` if the server does not know it yet."""
        if self._calls.pop(number, None) is not None and tell_server:
            self._end.send(Frame(FrameKind.RST, number))
        if self._draining and not self._calls:
            self.close()

    def close(self) -> None:
        """Closes the connection in order."""
        self._end.close()

    def reset(self) -> None:
        """Breaks the connection."""
        self._end.reset()

    def received(self, frame: Frame) -> None:
        if frame.kind is FrameKind.SETTINGS:
            if self.handshake is None or self.handshake.greeted():
                self.greeted = True
                self._channel.connected(self)
        elif frame.kind is FrameKind.TLS:
            if self.handshake is not None:
                self.handshake.received(frame)
        elif frame.kind is FrameKind.GOAWAY:
            self._draining = True
            self._channel.disconnected(self)
            if not self._calls:
                self.close()
        elif (call := self._calls.get(frame.stream)) is not None:
            call.received(frame)

    def lost(self, reason: str) -> None:
        calls, self._calls = self._calls, {}
        self._channel.disconnected(self, reason)
        for call in calls.values():
            call.finish(grpc.StatusCode.UNAVAILABLE, reason)


class SimChannel(aio.Channel):
    """A channel of one process to one address. Made by `SimNetwork.channel`."""

    _secured = False

    def __init__(
        self,
        fabric: SimFabric,
        process: SimProcess,
        target: str,
        host: str,
        address: str,
        options: ChannelOptions,
        interceptors: Sequence[Any],
        tap: Tap | None = None,
    ) -> None:
        self.process = process
        self.tap = tap
        self._interceptors = tuple(interceptors)
        self.options = options
        self._fabric = fabric
        self.target = target
        self._host = host
        self._address = address
        self._random = fabric.world.random(f"network/backoff/{process.host.name}")
        self._state = ChannelConnectivity.IDLE
        self._state_changed = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._greeting: ClientConnection | None = None
        """A connection that waits for the server's greeting; the side that gives up waiting breaks it."""
        self._attempt = 0
        """Number of the attempt to connect under way; a late answer to an earlier one is refused."""
        self._failed = False
        """True if the last attempt failed: until one succeeds, calls that don't wait fail at once."""
        self._failure = ""
        self._backoff_s = options.backoff_s_initial
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[SimCall, None] = {}
        self._calls: dict[SimCall, None] = {}

    # What users call

    async def __aenter__(self) -> SimChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds, cancels the rest, and closes the connection."""
        if self._state is ChannelConnectivity.SHUTDOWN:
            return
        self._enter(ChannelConnectivity.SHUTDOWN)
        if self._timer is not None:
            self._timer.cancel()
        if grace and self._calls:
            await asyncio.wait([asyncio.ensure_future(call.code()) for call in self._calls], timeout=grace)
        for call in list(self._calls):
            call.cancel()
        self._give_up_greeting()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        if try_to_connect and self._state is ChannelConnectivity.IDLE:
            self._connect()
        return self._state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        while self._state is last_observed_state:
            await self._state_changed.wait()

    async def channel_ready(self) -> None:
        while (state := self.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
            await self.wait_for_state_change(state)

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable:
        return UnaryUnaryMultiCallable(
            self, CallSpec(method, request_serializer, response_deserializer), self._interceptors
        )

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        return UnaryStreamMultiCallable(
            self, CallSpec(method, request_serializer, response_deserializer), self._interceptors
        )

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        return StreamUnaryMultiCallable(
            self, CallSpec(method, request_serializer, response_deserializer), self._interceptors
        )

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        return StreamStreamMultiCallable(
            self, CallSpec(method, request_serializer, response_deserializer), self._interceptors
        )

    # For calls

    def start(self, call: SimCall) -> None:
        """Sends a call, now or when there is a connection."""
        self.process.check_alive()
        if self._state is ChannelConnectivity.SHUTDOWN:
            raise aio.UsageError("Channel is closed.")
        self._calls[call] = None
        if self._connection is not None:
            self._connection.open(call)
        elif self._failed and not call.waits_for_ready:
            call.finish(grpc.StatusCode.UNAVAILABLE, self._failure)
        else:
            self._waiting[call] = None
            if self._state is ChannelConnectivity.IDLE:
                self._connect()

    def ended(self, call: SimCall) -> None:
        """A call is over."""
        self._calls.pop(call, None)
        self._waiting.pop(call, None)

    # For the connection

    def connected(self, connection: ClientConnection) -> None:
        """The server has greeted."""
        if self._timer is not None:
            self._timer.cancel()
        self._attempt += 1
        self._greeting = None
        self._failed = False
        self._backoff_s = self.options.backoff_s_initial
        self._connection = connection
        self._enter(ChannelConnectivity.READY)
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            connection.open(call)

    def disconnected(self, connection: ClientConnection, reason: str = "draining") -> None:
        """The connection takes no more calls."""
        if not connection.greeted:
            self._attempt_failed(self._attempt, f"the connection was closed before the server's greeting: {reason}")
        elif self._connection is connection:
            self._connection = None
            if self._state is ChannelConnectivity.READY:
                self._enter(ChannelConnectivity.IDLE)

    def _connect(self) -> None:
        self._attempt += 1
        attempt = self._attempt
        self._enter(ChannelConnectivity.CONNECTING)
        timeout_s = max(self.options.connect_timeout_s, self._backoff_s)
        self._later(timeout_s, self._attempt_failed, attempt, f"no answer within {timeout_s} s")
        host = self._fabric.find_host(self._host)
        if host is None:
            self.process.call_soon(self._attempt_failed, attempt, f"no host is called {self._host}")
            return

        def connected(end: End) -> None:
            connection = ClientConnection(self, end)
            if attempt != self._attempt or self._state is not ChannelConnectivity.CONNECTING:
                connection.reset()
            else:
                self._greeting = connection
                self._greet(connection, attempt)

        def refused() -> None:
            self.process.call_soon(self._attempt_failed, attempt, "connection refused")

        self._fabric.connect(self.process, host, self._address, self.options, connected, refused, secured=self._secured)

    def _greet(self, connection: ClientConnection, attempt: int) -> None:
        """Begins what comes before the server's greeting: nothing, in plain text."""

    def _attempt_failed(self, attempt: int, reason: str) -> None:
        if attempt != self._attempt or self._state is not ChannelConnectivity.CONNECTING:
            return
        self._attempt += 1
        self._give_up_greeting()
        self._failed = True
        self._failure = f"failed to connect to {self.target}: {reason}"
        self._enter(ChannelConnectivity.TRANSIENT_FAILURE)
        for call in [call for call in self._waiting if not call.waits_for_ready]:
            call.finish(grpc.StatusCode.UNAVAILABLE, self._failure)
        spread = 1 + BACKOFF_JITTER * (2 * self._random.random() - 1)
        self._later(self._backoff_s * spread, self._connect)
        self._backoff_s = min(self._backoff_s * BACKOFF_FACTOR, self.options.backoff_s_max)

    def _give_up_greeting(self) -> None:
        if self._greeting is not None:
            self._greeting.reset()
            self._greeting = None

    def _later(self, delay_s: float, callback: Callable[..., None], *args: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.process.loop.call_later(delay_s, callback, *args, context=self.process.context)

    def _enter(self, state: ChannelConnectivity) -> None:
        self._state = state
        self._state_changed.set()
        self._state_changed = asyncio.Event()


class SimTlsChannel(SimChannel):
    """A channel whose connections begin with a handshake, with its host's files as they are then."""

    _secured = True

    def __init__(self, files: TlsFiles, tls: ChannelTls, *args: Any) -> None:
        """The further arguments are SimChannel's. Raises InvalidArgumentError for unusable files."""
        files.check_channel(tls)
        super().__init__(*args)
        self._files, self._tls = files, tls
        self._fault = ""

    async def explain(self) -> str:
        """Returns why TLS refused the last connection; "" if it did not."""
        return self._fault

    def _greet(self, connection: ClientConnection, attempt: int) -> None:
        def failed(fault: str) -> None:
            self._fault = fault
            self._attempt_failed(attempt, fault)

        self._fault = ""
        try:
            connection.handshake = ClientHandshake(
                self.process, self._files, self._tls, self.target, connection.send, failed
            )
        except InvalidArgumentError as error:
            failed(str(error))
