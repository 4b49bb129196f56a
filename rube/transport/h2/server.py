"""A server in the shape of grpc.aio's, on h2corn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from grpc import StatusCode, aio

from rube.api.addresses import is_loopback, split_host_port
from rube.api.errors import InvalidArgumentError, NotDoneError
from rube.host import ServerOptions, ServerTls
from rube.transport.h2.call import Call
from rube.transport.h2.connect import JSON, PROTO, ConnectCall
from rube.transport.h2.connections import cut_connections
from rube.transport.h2.identity import TLS_1_3
from rube.transport.h2.json_codec import JsonCodec, Pools
from rube.transport.h2.listening import Listening, bind, until_answered
from rube.transport.h2.messages import StatusError
from rube.transport.h2.metadata import to_metadata
from rube.transport.h2.pages import OTHER_METHOD, PATHS, TEXT, Page, Pages
from rube.transport.h2.serving import Serving, serve
from rube.transport.h2.web import GRPC_WEB, WebCall
from rube.transport.tls import Stamp, check_server_tls, server_paths, stamp

GRPC = b"application/grpc"
WEB_TYPES = frozenset(GRPC_WEB + text + codec for text in (b"", b"-text") for codec in (b"", b"+proto"))
UNKNOWN_CONTENT = (
    b"this port takes POSTs of gRPC (application/grpc), gRPC-Web (application/grpc-web, application/grpc-web-text) "
    b"and Connect's unary calls (application/json, application/proto)\n"
)
FOREIGN_ORIGIN = b"this port takes no calls from pages of other origins\n"
NO_CERTIFICATE_SHOWN = b"this port shows its pages to clients with a certificate of the cluster\n"
NOT_FOUND = f"no such page: there are {', '.join(PATHS)}\n".encode()
METHOD_CHARS_MAX = 200
STOPPING = "the server is stopping"
OLD_TLS = "this server speaks TLS 1.3 alone: have the client speak it, too"
WRITTEN_S_MAX = 2.0
"""A stop waits so long for its last answers to be written, to clients that read them."""
AGAIN_S = 0.1
"""A server that has ended serves again after so long."""
RELOAD_S = 1.0
"""A server looks so often whether its TLS files have changed."""
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
        self._listening: dict[ServerTls | None, list[Listening]] = {}
        self._calls: dict[Call, str] = {}
        """The calls that run, and the methods that they are counted for."""
        self._idle = asyncio.Event()
        self._accepts = False
        self._serving: dict[Serving, None] = {}
        self._keeping: list[asyncio.Task[None]] = []
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
        return self._add_port(address, None)

    def add_secure_port(  # type: ignore[override]  # as LevelServer's
        self, address: str, server_credentials: ServerTls
    ) -> int:
        """Listens with mutual TLS. Raises FailedPreconditionError and InvalidArgumentError."""
        check_server_tls(server_credentials)
        return self._add_port(address, server_credentials)

    async def start(self) -> None:
        """Returns once connections are answered."""
        self._accepts = True
        for tls, listening in self._listening.items():
            seen = stamp(server_paths(tls)) if tls else ()
            serving = await self._begin(listening, tls)
            await until_answered(listening[0])
            self._keeping.append(asyncio.create_task(self._keep_serving(listening, tls, serving, seen)))

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds and cancels the rest. Returns when their
        answers are written, or their clients have not read them in time, or a handler does not end."""
        self._accepts = False
        for task in self._keeping:
            task.cancel()
        for place in self._places():
            place.close()
            place.remove()
        if not self._serving:
            self._ended.set()
            return
        for serving in self._serving:
            serving.finish()
        own = self._own_call()
        await self._calls_end(grace or 0.0, own)
        why = StatusError(StatusCode.UNAVAILABLE, STOPPING)
        for call in list(self._calls):
            if call is not own:
                call.cancel(why)
        if own is None:
            await self._written()
        if self._serving:
            cut_connections(self._places())
            if own is None:
                await self._written()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Returns whether the timeout has passed before the server has ended."""
        try:
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        except TimeoutError:
            return True
        return False

    def _add_port(self, address: str, tls: ServerTls | None) -> int:
        place = bind(address, self._options)
        self._listening.setdefault(tls, []).append(place)
        return place.port

    def _places(self) -> list[Listening]:
        return [place for listening in self._listening.values() for place in listening]

    async def _begin(self, listening: list[Listening], tls: ServerTls | None) -> Serving:
        serving = await serve(self._serve, listening, self._options, tls)
        self._serving[serving] = None
        serving.task.add_done_callback(lambda _: self._has_ended(serving))
        return serving

    def _has_ended(self, serving: Serving) -> None:
        self._serving.pop(serving, None)
        if not self._serving and not self._accepts:
            self._ended.set()

    async def _keep_serving(
        self, listening: list[Listening], tls: ServerTls | None, serving: Serving, seen: Stamp
    ) -> None:
        """Takes changed files: new connections get them, and the calls of open ones go on until they end.

        h2corn ends, and its connections with it, when it cannot take one more (for want of files, say). Then it serves
        again, on the same sockets.
        """
        while True:
            await asyncio.wait([serving.task], timeout=RELOAD_S if tls else None)
            if serving.task.done():
                serving = await self._begin_again(listening, tls, serving)
                continue
            assert tls is not None  # without it there is no timeout
            now = stamp(server_paths(tls))
            if now == seen:
                continue
            try:
                successor = await self._begin(listening, tls)
            except InvalidArgumentError as error:
                _LOG.error("the TLS files have changed, and the ones before stay in use: %s", error)
                seen = now
                continue
            except Exception as error:
                _LOG.error("the TLS files have changed, and cannot be used yet, trying again: %s", error)
                continue
            seen = now
            serving.finish()
            serving = successor
            _LOG.info("the TLS files have changed: new connections use them (%s)", tls.cert)

    async def _begin_again(self, listening: list[Listening], tls: ServerTls | None, ended: Serving) -> Serving:
        _LOG.error("h2corn has ended, and all its connections: %s; serving again", ended.task.exception())
        while True:
            await asyncio.sleep(AGAIN_S)
            try:
                for place in listening:
                    place.listen()
                return await self._begin(listening, tls)
            except Exception as error:
                _LOG.error("cannot serve yet, trying again: %s", error)

    async def _written(self) -> None:
        """Waits until what was answered is written, but not past WRITTEN_S_MAX."""
        await asyncio.wait([serving.task for serving in self._serving], timeout=WRITTEN_S_MAX)

    def _own_call(self) -> Call | None:
        """Returns the call whose handler stops the server, if one does."""
        task = asyncio.current_task()
        return next((call for call in self._calls if call.runs_in(task)), None)

    async def _calls_end(self, grace_s: float, own: Call | None) -> None:
        try:
            async with asyncio.timeout(grace_s):
                while self._calls.keys() - {own}:
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
        self._calls[call] = OTHER_METHOD
        try:
            if not self._accepts:
                await call.refuse(StatusCode.UNAVAILABLE, STOPPING, NotDoneError(STOPPING))
                return
            if (tls := scope["extensions"].get("tls")) and tls["tls_version"] != TLS_1_3:
                await call.refuse(StatusCode.UNAUTHENTICATED, OLD_TLS)
                return
            handler = await self._handler(call) if self._interceptors else self._found(call.method, scope)
            if handler is None:
                await call.refuse(StatusCode.UNIMPLEMENTED, f"Method not found: {call.method[:METHOD_CHARS_MAX]}")
            else:
                self._calls[call] = call.method
                await call.run(handler)
        finally:
            self._pages.count(self._calls.pop(call), call.code())
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
        if (tls := scope["extensions"].get("tls")) and not tls["client_cert_chain"]:
            await _answer(send, Page(401, TEXT, NO_CERTIFICATE_SHOWN))
            return
        if scope["method"] in ("GET", "HEAD"):
            page = self._pages.page(scope["path"], self._calls.values())
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
