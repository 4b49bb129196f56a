"""SimServer: a server in grpc.aio's shape; its handlers run in its own process."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from grpc import StatusCode, aio

from rube.api.addresses import ANY_HOSTS, check_host_port, is_loopback
from rube.api.errors import InvalidArgumentError
from rube.host import ServerOptions, ServerTls
from rube.sim.world.kernel import SimProcess
from rube.sim.world.network.connection import End
from rube.sim.world.network.context import SimServicerContext
from rube.sim.world.network.fabric import Listener, SimFabric
from rube.sim.world.network.frames import Frame, FrameKind
from rube.sim.world.network.handshakes import ServerHandshake
from rube.transport.addresses import UNIX_PATH_BYTES_MAX, cannot_listen
from rube.transport.servicer import check_interceptors

if TYPE_CHECKING:
    from rube.sim.world.network.context import Handler

_LOG = logging.getLogger("rube.sim.world.network")


class ServerConnection:
    """The server's side of HTTP/2 on one connection."""

    def __init__(self, server: SimServer, end: End, peer: str) -> None:
        self.process = server.process
        self.message_bytes_max = server.message_bytes_max
        self._server = server
        self._end = end
        self._peer = peer
        self._calls: dict[int, SimServicerContext] = {}
        self.handshake: ServerHandshake | None = None
        end.peer = self

    def send(self, frame: Frame) -> None:
        """Sends a frame."""
        self._end.send(frame)

    def greet(self) -> None:
        """Tells the client that the server serves, unless a handshake is still to end."""
        if self.handshake is None or self.handshake.is_done:
            self._end.send(Frame(FrameKind.SETTINGS))

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The client's certificate; empty in plain text."""
        return {} if self.handshake is None else self.handshake.auth_context()

    def ended(self, stream: int) -> None:
        """A call is over."""
        self._calls.pop(stream, None)

    def close(self) -> None:
        """Closes in order: trailers sent before still arrive."""
        self._end.close()

    def received(self, frame: Frame) -> None:
        if frame.kind is FrameKind.TLS:
            if self.handshake is not None:
                self.handshake.received(frame)
            else:
                self.lost("a handshake in plain text")
                self.close()
            return
        if frame.kind is not FrameKind.REQUEST:
            if (call := self._calls.get(frame.stream)) is not None:
                call.received(frame)
            return
        call = SimServicerContext(self, frame, self._peer)
        self._calls[frame.stream] = call
        self._server.accepted(call)

    def lost(self, _: str) -> None:
        self._server.disconnected(self)
        for call in list(self._calls.values()):
            call.cancel()


class SimServer(aio.Server):
    """A server of one process. Users get it inside a `rube.transport.LevelServer`, which wraps its handlers."""

    def __init__(self, fabric: SimFabric, process: SimProcess, options: ServerOptions) -> None:
        check_interceptors(options.interceptors)
        self.process = process
        self._fabric = fabric
        self.message_bytes_max = options.message_bytes_max
        self._options = options
        self._interceptors = tuple(options.interceptors)
        self._generic: list[Any] = []
        self._registered: dict[str, Handler] = {}
        self._addresses: list[tuple[str, str]] = []
        self._connections: dict[ServerConnection, None] = {}
        self._running: dict[SimServicerContext, None] = {}
        """The calls whose handlers have not ended, in the order of their arrival."""
        self._started = False
        self._stopping = False
        self._idle = asyncio.Event()
        self._terminated = asyncio.Event()

    # What users call

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        self._generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Handler]) -> None:
        for name, handler in method_handlers.items():
            self._registered[f"/{service_name}/{name}"] = handler

    def add_port(self, address: str, tls: ServerTls | None) -> int:
        """Listens from `start` on; FailedPreconditionError if the address is taken or another host's."""
        if tls is not None:
            self._fabric.tls_files(self.process.host).check_server(tls)
            if address.startswith("unix:"):
                raise InvalidArgumentError(f"a Unix socket takes no TLS: add {address} with add_insecure_port")
        host = self.process.host
        if address.startswith("unix:"):
            key, loopback, port = address, True, 1
            if len(address) > UNIX_PATH_BYTES_MAX:
                raise cannot_listen(address, f"the path has more than {UNIX_PATH_BYTES_MAX} bytes")
        else:
            name, port = check_host_port(address)
            if name not in (*ANY_HOSTS, host.name) and not is_loopback(name):
                raise cannot_listen(address, f"it is not an address of host {host.name}")
            port = port or self._fabric.free_port(host)
            key, loopback = str(port), is_loopback(name)
        listener = Listener(self.process, self._options, partial(self._connected, tls), loopback)
        if not self._fabric.listen(host, key, listener):
            raise cannot_listen(address, f"it is in use on host {host.name}")
        self._addresses.append((host.name, key))
        return port

    def add_insecure_port(self, address: str) -> int:
        return self.add_port(address, None)

    def add_secure_port(self, address: str, server_credentials: Any) -> int:
        return self.add_port(address, server_credentials)

    async def start(self) -> None:
        if self._started:
            raise aio.UsageError("the server was started before")
        self._started = True
        for connection in self._connections:
            connection.greet()

    async def stop(self, grace: float | None = None) -> None:
        if self._stopping:
            await self._terminated.wait()
            return
        self._stopping = True
        for address in self._addresses:
            self._fabric.unlisten(address)
        for connection in list(self._connections):
            connection.send(Frame(FrameKind.GOAWAY))
        if grace and self._running:
            try:
                async with asyncio.timeout(grace):
                    await self._idle.wait()
            except TimeoutError:
                pass
        tasks = [call.task for call in self._running if call.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()
        self._terminated.set()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._terminated.wait()
        except TimeoutError:
            return True
        return False

    # For connections

    def accepted(self, call: SimServicerContext) -> None:
        """A request has arrived: run its handler in a task of this process."""
        if self._stopping:
            call.finish(StatusCode.UNAVAILABLE, "the server is shutting down")
        else:
            self._running[call] = None
            call.task = self.process.create_task(self._serve(call), name=call.method)

    def disconnected(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)

    def _connected(self, tls: ServerTls | None, end: End, peer: str, secured: bool) -> None:
        connection = ServerConnection(self, end, peer)
        if self._stopping or (tls is not None and not secured):
            connection.close()
            return
        self._connections[connection] = None
        if tls is not None:
            connection.handshake = self._handshake(connection, tls)
        if self._started:
            connection.greet()

    def _handshake(self, connection: ServerConnection, tls: ServerTls) -> ServerHandshake:
        def done() -> None:
            if self._started:
                connection.greet()

        def refused() -> None:
            self._connections.pop(connection, None)
            connection.close()

        files = self._fabric.tls_files(self.process.host)
        return ServerHandshake(self.process, files, tls, connection.send, done, refused)

    async def _serve(self, call: SimServicerContext) -> None:
        try:
            call.handler = await self._handler(call)
            if call.handler is None:
                call.finish(StatusCode.UNIMPLEMENTED, "Method not found!")
            else:
                await self._run(call, call.handler)
        except aio.AbortError:
            pass  # the status is sent
        except asyncio.CancelledError:
            if not call.cancelled() and not self._stopping:
                call.finish(StatusCode.CANCELLED, "Cancelled")
        except Exception as error:
            _LOG.exception("unexpected error in %s", call.method)
            call.finish(StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")
        finally:
            call.close()
            self._running.pop(call, None)
            if self._stopping and not self._running:
                self._idle.set()

    async def _run(self, call: SimServicerContext, handler: Handler) -> None:
        request: Any = None
        if handler.request_streaming:
            request = call.requests()
        else:
            data = await call.next_bytes()
            if data is None:
                call.finish(StatusCode.INTERNAL, "the client sent no request")
                return
            request = call.decode(data)
        outcome = _behavior(handler)(request, call)
        response: Any = None
        if inspect.isasyncgen(outcome):
            async with aclosing(outcome) as messages:
                async for item in messages:
                    await call.write(item)
        elif inspect.isawaitable(outcome):
            response = await outcome
        else:
            response = outcome
        self._answer(call, handler, response)

    def _answer(self, call: SimServicerContext, handler: Handler, response: Any) -> None:
        if handler.response_streaming or call.code() is not StatusCode.OK:
            call.finish(call.code(), call.details())
        else:
            call.finish(StatusCode.OK, call.details(), call.encode(response))

    async def _handler(self, call: SimServicerContext) -> Handler | None:
        """The call's handler, as the interceptors hand it on."""

        async def intercept(index: int, details: grpc.HandlerCallDetails) -> Any:
            if index < len(self._interceptors):
                return await self._interceptors[index].intercept_service(
                    lambda changed: intercept(index + 1, changed), details
                )
            return self._find(details)

        details = _CallDetails(call.method, call.invocation_metadata())
        if not self._interceptors:
            return self._find(details)
        handler: Handler | None = await intercept(0, details)
        return handler

    def _find(self, details: grpc.HandlerCallDetails) -> Handler | None:
        registered = self._registered.get(details.method)
        if registered is not None:
            return registered
        for generic in self._generic:
            handler: Handler | None = generic.service(details)
            if handler is not None:
                return handler
        return None


class _CallDetails(grpc.HandlerCallDetails):
    """The details of a call for interceptors and generic handlers."""

    def __init__(self, method: str, invocation_metadata: Any) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


def _behavior(handler: Handler) -> Any:
    requests = "stream" if handler.request_streaming else "unary"
    responses = "stream" if handler.response_streaming else "unary"
    return getattr(handler, f"{requests}_{responses}")
