"""A server in the shape of grpc.aio's, on h2corn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import grpc
from grpc import StatusCode, aio

from rube.api.addresses import is_loopback, split_host_port
from rube.api.errors import FailedPreconditionError
from rube.distribution import install_command
from rube.host import ServerOptions
from rube.transport.h2.call import Call
from rube.transport.h2.connect import JSON, PROTO, ConnectCall
from rube.transport.h2.connections import cut_connections
from rube.transport.h2.json_codec import JsonCodec, Pools
from rube.transport.h2.listening import Listening, bind, until_answered
from rube.transport.h2.messages import StatusError
from rube.transport.h2.metadata import to_metadata
from rube.transport.h2.pages import OTHER_METHOD, PATHS, TEXT, Page, Pages
from rube.transport.h2.web import GRPC_WEB, WebCall
from rube.transport.options import STREAMS_MAX, WINDOW_BYTES

GRPC = b"application/grpc"
WEB_TYPES = frozenset(GRPC_WEB + text + codec for text in (b"", b"-text") for codec in (b"", b"+proto"))
UNKNOWN_CONTENT = (
    b"this port takes POSTs of gRPC (application/grpc), gRPC-Web (application/grpc-web, application/grpc-web-text) "
    b"and Connect's unary calls (application/json, application/proto)\n"
)
FOREIGN_ORIGIN = b"this port takes no calls from pages of other origins\n"
NOT_FOUND = f"no such page: there are {', '.join(PATHS)}\n".encode()
STOPPING = "the server is stopping"
WRITTEN_S_MAX = 2.0
"""A stop waits so long for its last answers to be written, to clients that read them."""
GRACE_S_MAX = 30 * 24 * 3600.0
HEADER_BYTES_MAX = 64 * 1024
RESPONSE_STALL_S = 5.0
"""A response that its client takes nothing of for so long is reset: h2corn's bound on what a connection may have
under way is for all its streams, and a stuck one holds up the others until then."""
_LOG = logging.getLogger("rube.transport")


class Details(NamedTuple):
    """The grpc.HandlerCallDetails of one call."""

    method: str
    invocation_metadata: Any


class H2Server(aio.Server):
    """gRPC over h2corn. `LevelServer` wraps what is added, and this one's behaviour is promised only beneath it."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._interceptors = list(options.interceptors)
        self._generic: list[Any] = []
        self._methods: dict[str, Any] = {}
        self._listening: list[Listening] = []
        self._calls: set[Call] = set()
        self._idle = asyncio.Event()
        self._stopping: asyncio.Future[str] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._pages = Pages()
        self._codec = JsonCodec()

    def describe(
        self, is_serving: Callable[[], bool], pools: Pools, gauges: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        """Gives the pages and the JSON of this port what they show: the server's health, descriptors beside Python's
        own, and further metrics."""
        self._pages.is_serving, self._pages.gauges = is_serving, gauges
        self._codec = JsonCodec(pools)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        self._generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        for name, handler in method_handlers.items():
            self._methods[f"/{service_name}/{name}"] = handler

    def add_insecure_port(self, address: str) -> int:
        """Listens on the address; connections are answered once the server has started. Raises
        FailedPreconditionError."""
        listening = bind(address, self._options)
        self._listening.append(listening)
        return listening.port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        raise NotImplementedError

    async def start(self) -> None:
        """Returns once connections are answered."""
        fds = [bound.fileno() for listening in self._listening for bound in listening.sockets]
        config = _config(self._options, fds)
        from h2corn._lib import prepare_tls, serve_fds
        from h2corn._lifespan import PreparedApplication

        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()

        def ready(error: BaseException | None = None) -> None:
            if error is not None and not started.done():
                started.set_exception(error)
            elif not started.done():
                started.set_result(None)

        application = PreparedApplication(self._serve, False, "off")
        await application.startup(required=False)
        self._stopping = loop.create_future()
        serving = serve_fds(
            application,
            fds,
            config,
            self._stopping,
            None,
            ready,
            None,
            prepared_tls=prepare_tls(config, None),
        )
        self._serving = asyncio.create_task(_ended(serving), name="h2corn")
        self._serving.add_done_callback(lambda _: self._ended.set())
        await started
        if self._listening:
            await until_answered(self._listening[0])
        for listening in self._listening:
            listening.close()  # h2corn has duplicates

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds and cancels the rest. Returns when their
        answers are written, or their clients have not read them in time, or a handler does not end."""
        if self._stopping is None or self._serving is None:
            for listening in self._listening:
                listening.close()
                listening.remove()
            self._ended.set()
            return
        if not self._stopping.done():
            self._stopping.set_result("stop")
            for listening in self._listening:
                listening.remove()
        own = self._own_call()
        await self._calls_end(grace or 0.0, own)
        why = StatusError(StatusCode.UNAVAILABLE, STOPPING)
        for call in list(self._calls):
            if call is not own:
                call.cancel(why)
        if own is None:
            await asyncio.wait([self._serving], timeout=WRITTEN_S_MAX)
        if not self._serving.done():
            cut_connections(self._listening)
            if own is None:
                await asyncio.wait([self._serving], timeout=WRITTEN_S_MAX)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Returns whether the timeout has passed before the server has ended."""
        try:
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        except TimeoutError:
            return True
        return False

    def _own_call(self) -> Call | None:
        """Returns the call whose handler stops the server, if one does."""
        task = asyncio.current_task()
        return next((call for call in self._calls if call.runs_in(task)), None)

    async def _calls_end(self, grace_s: float, own: Call | None) -> None:
        try:
            async with asyncio.timeout(grace_s):
                while self._calls - {own}:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass

    async def _serve(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return  # a WebSocket: h2corn refuses it
        headers = dict(scope["headers"])
        if scope["method"] != "POST":
            await self._show_page(scope, send)
            return
        call = self._new_call(scope, receive, send, headers)
        if call is None:
            await _answer(send, Page(415, TEXT, UNKNOWN_CONTENT))
            return
        if type(call) is not Call and not _is_own_page(headers):
            await _answer(send, Page(403, TEXT, FOREIGN_ORIGIN))
            return
        self._calls.add(call)
        counted = call.method
        try:
            if self._stopping is None or self._stopping.done():
                await call.refuse(StatusCode.UNAVAILABLE, STOPPING)
                return
            handler = await self._handler(call) if self._interceptors else self._found(call.method, scope)
            if handler is None:
                counted = OTHER_METHOD
                await call.refuse(StatusCode.UNIMPLEMENTED, f"Method not found: {call.method}")
            else:
                await call.run(handler)
        finally:
            self._calls.discard(call)
            self._pages.count(counted, call.code())
            if not self._calls:
                self._idle.set()

    def _new_call(self, scope: Any, receive: Any, send: Any, headers: dict[bytes, bytes]) -> Call | None:
        """Returns the call in the protocol of its content type; None for another one."""
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        bytes_max = self._options.message_bytes_max
        if content_type == GRPC or content_type.startswith(GRPC + b"+"):
            return Call(scope, receive, send, headers, bytes_max)
        if content_type in WEB_TYPES:
            return WebCall(scope, receive, send, headers, bytes_max)
        if content_type in (JSON, PROTO):
            return ConnectCall(scope, receive, send, headers, bytes_max, self._codec)
        return None

    async def _show_page(self, scope: Any, send: Any) -> None:
        page = None
        if scope["method"] in ("GET", "HEAD"):
            page = self._pages.page(scope["path"], (call.method for call in self._calls))
        await _answer(send, page or Page(404, TEXT, NOT_FOUND))

    def _found(self, method: str, scope: Any) -> Any:
        handler = self._methods.get(method)
        return handler if handler is not None else self._generic_handler(Details(method, to_metadata(scope["headers"])))

    def _generic_handler(self, details: Any) -> Any:
        for generic in self._generic:
            if (handler := generic.service(details)) is not None:
                return handler
        return None

    async def _handler(self, call: Call) -> Any:
        """Returns the handler that the interceptors give."""

        async def found(details: Any) -> Any:
            handler = self._methods.get(details.method)
            return handler if handler is not None else self._generic_handler(details)

        continuation: Any = found
        for interceptor in reversed(self._interceptors):
            continuation = _intercepted(interceptor, continuation)
        return await continuation(Details(call.method, call.invocation_metadata()))


async def _ended(serving: Awaitable[None]) -> None:
    """Makes a task of h2corn's own future, which asyncio.wait does not take."""
    await serving


def _intercepted(interceptor: Any, continuation: Any) -> Any:
    async def call(details: Any) -> Any:
        return await interceptor.intercept_service(continuation, details)

    return call


async def _answer(send: Any, page: Page) -> None:
    headers = [(b"content-type", page.content_type), (b"content-length", b"%d" % len(page.body))]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": page.body})


def _is_own_page(headers: dict[bytes, bytes]) -> bool:
    """Returns whether a call comes from no browser, or from a page that was loaded from here by a number or localhost.

    A page of another origin, or of a name that its owner has pointed at this machine, must not reach a port that trusts
    whom it hears.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return True
    here = origin.partition(b"://")[2].decode("latin-1")
    return here.encode() == headers.get(b"host") and is_loopback(split_host_port(here)[0])


def _config(options: ServerOptions, fds: Iterable[int]) -> Any:
    """Returns h2corn's configuration. Raises FailedPreconditionError if h2corn is not installed."""
    try:
        from h2corn import Config
    except ImportError as error:
        raise FailedPreconditionError(
            f"the server h2corn is not installed: {install_command('server')}, or choose the server grpcio",
            extra="server",
        ) from error
    return Config(
        bind=tuple(f"fd://{fd}" for fd in fds),
        grpc=True,
        lifespan="off",
        access_log=False,
        date_header=False,
        # A connection's streams past a limit would wait at the client, in silence: `calls_max` refuses instead.
        max_concurrent_streams=STREAMS_MAX,
        h2_initial_stream_window_size=WINDOW_BYTES,
        h2_initial_connection_window_size=4 * WINDOW_BYTES,
        h2_max_header_list_size=HEADER_BYTES_MAX,
        h2_timeout_response_stall=RESPONSE_STALL_S,
        h2_timeout_write=0,
        timeout_keep_alive=0,
        timeout_graceful_shutdown=GRACE_S_MAX,
        max_request_body_size=2 * options.message_bytes_max,  # gRPC-Web's text is longer
    )
