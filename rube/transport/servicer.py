"""The layer that makes h2corn's, grpcio's and the simulated server behave alike towards handlers and clients.

Every handler added to a `LevelServer` is wrapped:

- a RubeError becomes its status with details; NotImplementedError becomes UNIMPLEMENTED; any other exception becomes
  INTERNAL with a short message, and its traceback is logged; cancellation and `context.abort` pass; a handler that
  ends cancelled without having been cancelled gives CANCELLED;
- a request that cannot be parsed becomes INVALID_ARGUMENT before the handler sees it, and one line of the log. Whatever
  is sent, each method logs one line (or traceback) an interval, with the number of those that were left out;
- a call past the server's `calls_max` is refused with RESOURCE_EXHAUSTED, and never waits in silence;
- a write or read after the end of the call (cancelled, past its deadline, connection lost) raises
  `grpc.aio.UsageError`, also where the server beneath would swallow it;
- a plain function runs on the event loop (the servers would need threads); it must not block;
- a response may be `Encoded`: its bytes are sent as they are, the same ones to many clients if need be;
- large messages are packed for clients that ask for it, if zstandard is installed (rube.transport.packing).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from rube.api.errors import (
    InvalidArgumentError,
    ResourceExhaustedError,
    RubeError,
    UnauthenticatedError,
    UnimplementedError,
)
from rube.host import ServerOptions
from rube.host.network import ServerTls
from rube.transport.errors import abort_with
from rube.transport.packing.form import MARK, PACKED_BYTES_MIN, asks
from rube.transport.peers import is_unproven
from rube.transport.running import Running
from rube.transport.strangers import Strangers
from rube.transport.tls_faults import TlsFault

_LOG = logging.getLogger("rube.transport")

Behavior = Callable[..., Any]
if TYPE_CHECKING:  # gRPC's classes are generic in the stubs alone
    from rube.transport.packing.codec import Packer

    Handler = grpc.RpcMethodHandler[Any, Any]
    GenericHandler = grpc.GenericRpcHandler[Any, Any]
    ServiceHandler = grpc.ServiceRpcHandler[Any, Any]
else:
    ServiceHandler = grpc.ServiceRpcHandler
RPC_ENDED = "RPC already finished."
REASON_CHARS_MAX = 200


class Encoded:
    """A response that is serialized already. Its packed form is kept, too, for the next client."""

    __slots__ = ("data", "packed")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.packed: bytes | None = None


class EndedError(aio.UsageError):
    """The call has ended: its client is gone, or its handler."""

    def __init__(self) -> None:
        super().__init__(RPC_ENDED)


class UnparsableError(InvalidArgumentError):
    """The bytes of a request do not parse as its type."""


class Level:
    """The state that the handlers of one server share."""

    def __init__(self, options: ServerOptions) -> None:
        self.running = Running(options.calls_max)
        self.strangers = Strangers(_LOG)
        self.message_bytes_max = options.message_bytes_max
        self.admission = options.admission
        self.open_methods: frozenset[str] = frozenset()
        self.is_guarded = options.admission is not None
        """Callers are looked at before their handlers run."""
        self._expelled: dict[asyncio.Task[Any], str] = {}
        if options.admission is not None:
            options.admission.subscribe(self.judge_again)

    def open(self, methods: Iterable[str]) -> None:
        """Lets callers without a certificate call these methods, where TLS lets them in at all."""
        self.open_methods |= frozenset(methods)
        self.is_guarded |= bool(self.open_methods)

    def admit(self, method: str, context: Any) -> None:
        """Raises UnauthenticatedError for a caller that may not call."""
        if self.open_methods and method not in self.open_methods and is_unproven(context):
            raise UnauthenticatedError(
                f"{method[:200]} takes no caller without a certificate: {TlsFault.NO_CERTIFICATE.value}"
            )
        if self.admission is not None and (why := self.admission.refusal(context)):
            raise UnauthenticatedError(why)

    def judge_again(self) -> None:
        """Ends the calls that run, whose callers are not let in any more."""
        assert self.admission is not None, "it has called this"
        for task, context in self.running.contexts():
            if task not in self._expelled and (why := self.admission.refusal(context)):
                self._expelled[task] = why
                task.cancel()

    def expulsion(self) -> UnauthenticatedError | None:
        """Returns why the current task was cancelled by `judge_again`; None: it was not."""
        task = asyncio.current_task()
        if task is None or (why := self._expelled.pop(task, None)) is None:
            return None
        task.uncancel()
        return UnauthenticatedError(why)

    @cached_property
    def packer(self) -> Packer | None:
        """None if zstandard is not installed."""
        try:
            from rube.transport.packing.codec import Packer
        except ModuleNotFoundError:
            return None
        return Packer()


class LevelContext:
    """The servicer context of a streaming call: the server's own, but reads and writes after the end raise."""

    __slots__ = ("_context", "_ended", "_method", "_packs", "_refuses", "abort", "cancelled", "done")

    def __init__(self, context: aio.ServicerContext[Any, Any], method: Method) -> None:
        self._context = context
        self._method = method
        self._packs: bool | None = None
        self._ended = False
        # It raises EndedError by itself.
        self._refuses: bool = getattr(context, "REFUSES_AFTER_END", False)
        self.abort = context.abort
        self.cancelled = context.cancelled
        self.done = context.done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Sends one message; waits while the client is behind. Raises UsageError once the call has ended."""
        if not self._refuses or self._ended:
            self._check_open()
        data = self._method.encode(message)
        if len(data) >= PACKED_BYTES_MIN:
            if self._packs is None:
                self._packs = self._method.packs(self._context)
            if self._packs:
                data = self._method.pack(message, data)
        try:
            await self._context.write(data)
        except aio.InternalError as error:  # grpcio's, if the end overtook the write
            raise EndedError from error

    async def read(self) -> Any:
        """Returns the client's next message, or `grpc.aio.EOF`. Raises UsageError once the call has ended."""
        self._check_open()
        try:
            message = await self._context.read()
        except aio.InternalError as error:
            raise EndedError from error
        return message if message is EOF else self._method.decode(message)

    def end(self) -> None:
        """Notes that the call has ended, for this handler at least."""
        self._ended = True

    def _check_open(self) -> None:
        if self._ended or self.cancelled() or self.done():
            raise EndedError


class Method:
    """One method of one server: its name, for messages (`/package.Service/Name`), the parser of its requests, and the
    serializer of its responses."""

    def __init__(self, name: str, handler: Handler, level: Level) -> None:
        self.name = name
        self.level = level
        self.streams_requests: bool = handler.request_streaming
        self._deserializer: Callable[[bytes], Any] | None = handler.request_deserializer
        self._serializer: Callable[[Any], bytes] | None = handler.response_serializer

    def decode(self, data: bytes) -> Any:
        """Returns one request, which may be packed. Raises UnparsableError."""
        if self._deserializer is None:
            return data
        try:
            return self._deserializer(data)
        except Exception as error:
            if data[:1] == MARK and (packer := self.level.packer) is not None:
                return self._unpacked(data, packer)
            raise self._unparsable(error) from error

    def encode(self, response: Any) -> bytes:
        """Returns the bytes of a response."""
        if isinstance(response, Encoded):
            return response.data
        data: bytes = response if self._serializer is None else self._serializer(response)
        return data

    def is_large(self, data: Any) -> bool:
        """Returns whether a request that came whole would have been packed."""
        return not self.streams_requests and len(data) >= PACKED_BYTES_MIN

    def packs(self, context: aio.ServicerContext[Any, Any]) -> bool:
        """Returns whether large responses of this call are packed."""
        return asks(context.invocation_metadata()) and self.level.packer is not None

    def pack(self, response: Any, data: bytes) -> bytes:
        """Returns the packed form of a response that has these bytes."""
        packer = self.level.packer
        assert packer is not None, "the call packs"
        if not isinstance(response, Encoded):
            return packer.pack(data)
        if response.packed is None:
            response.packed = packer.pack(data)
        return response.packed

    def _unpacked(self, data: bytes, packer: Packer) -> Any:
        from rube.transport.packing.codec import TooLongError, UnpackError

        assert self._deserializer is not None, "it has refused the data"
        try:
            return self._deserializer(packer.unpack(data, self.level.message_bytes_max))
        except TooLongError as error:
            raise ResourceExhaustedError(
                f"the request of {self.name} is packed, and {error}: send less at a time",
                limit=self.level.message_bytes_max,
            ) from error
        except (UnpackError, DecodeError) as error:
            raise self._unparsable(error) from error

    def _unparsable(self, error: Exception) -> UnparsableError:
        reason = " ".join(str(error).split())[:REASON_CHARS_MAX]
        return UnparsableError(f"the request of {self.name} cannot be parsed: {reason}")

    def requests(self, data: Any) -> Any:
        """Returns the handler's argument: a request, or an iterator of them."""
        return self._decoded(data) if self.streams_requests else self.decode(data)

    async def _decoded(self, messages: AsyncIterable[bytes]) -> AsyncIterator[Any]:
        async for message in messages:
            yield self.decode(message)


def level_handler(handler: Handler, name: str, level: Level) -> Handler:
    """Returns the handler, wrapped as this module promises."""
    kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
    behavior: Behavior = getattr(handler, "_".join(kind))
    wrap = _streaming if handler.response_streaming else _unary
    factory = getattr(grpc, f"{kind[0]}_{kind[1]}_rpc_method_handler")
    # The servers pass the bytes on: each has a status and a traceback of its own for requests that do not parse.
    leveled: Handler = factory(wrap(behavior, Method(name, handler, level)), None, None)
    return leveled


def _unary(behavior: Behavior, method: Method) -> Behavior:
    is_coroutine = inspect.iscoroutinefunction(behavior)
    running = method.level.running

    async def call(data: Any, context: aio.ServicerContext[Any, Any]) -> Any:
        try:
            running.begin(method.name, context)
            if method.level.is_guarded:
                method.level.admit(method.name, context)
            given = LevelContext(context, method) if method.streams_requests else context
            response = behavior(method.requests(data), given)
            if is_coroutine or inspect.isawaitable(response):
                response = await response
            if response is None:
                return None  # the handler has set a status
            encoded = method.encode(response)
            # The answer to a large request is packed, too: its client learns from it that this server unpacks.
            is_large = len(encoded) >= PACKED_BYTES_MIN or method.is_large(data)
            return method.pack(response, encoded) if is_large and method.packs(context) else encoded
        except asyncio.CancelledError:
            await _end_cancelled(context, method)
        except Exception as error:
            await _end(context, error, method)
        finally:
            running.end()

    return call


def _streaming(behavior: Behavior, method: Method) -> Behavior:
    running = method.level.running

    async def call(data: Any, context: aio.ServicerContext[Any, Any]) -> None:
        leveled = LevelContext(context, method)
        try:
            running.begin(method.name, context)
            if method.level.is_guarded:
                method.level.admit(method.name, context)
            await _respond(behavior(method.requests(data), leveled), leveled)
        except asyncio.CancelledError:
            leveled.end()
            await _end_cancelled(context, method)
        except Exception as error:
            leveled.end()
            await _end(context, error, method)
        finally:
            running.end()
        leveled.end()

    return call


async def _respond(responses: Any, context: LevelContext) -> None:
    """Writes the messages that the handler yields, or waits for it to end if it writes itself."""
    if inspect.isasyncgen(responses):
        try:
            async for response in responses:
                await context.write(response)
        finally:
            await responses.aclose()
    elif inspect.isawaitable(responses):
        await cast(Awaitable[None], responses)
    else:
        for response in cast(Iterable[Any], responses):
            await context.write(response)


async def _end_cancelled(context: aio.ServicerContext[Any, Any], method: Method) -> NoReturn:
    """Passes a cancellation on. If there was none, the handler has awaited something cancelled: grpcio would then send
    no status, and leave the client waiting."""
    if (expulsion := method.level.expulsion()) is not None:
        await _end(context, expulsion, method)
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise asyncio.CancelledError
    await context.abort(grpc.StatusCode.CANCELLED, "cancelled by the server")


async def _end(context: aio.ServicerContext[Any, Any], error: Exception, method: Method) -> NoReturn:
    strangers = method.level.strangers
    if isinstance(error, aio.AbortError):
        raise error
    if isinstance(error, UnparsableError):
        strangers.tell(f"unparsable request of {method.name}", f"from {context.peer()}: {error.__cause__}")
    if isinstance(error, RubeError):
        await abort_with(context, error)
    if isinstance(error, EndedError):  # in grpcio a failed write shows it before the context does
        raise asyncio.CancelledError from error  # the client is gone
    if isinstance(error, NotImplementedError):
        await abort_with(context, UnimplementedError(f"{method.name} is not implemented by this server"))
    strangers.tell(f"unexpected error in {method.name}", repr(error), level=logging.ERROR, error=error)
    await context.abort(
        grpc.StatusCode.INTERNAL, f"internal error in {method.name}: {type(error).__name__}; see the server's log"
    )


class _LevelGenericHandler(ServiceHandler):
    """A service's handlers, each wrapped at its first call."""

    def __init__(self, inner: GenericHandler, level: Level) -> None:
        self._inner = inner
        self._level = level
        self._leveled: dict[str, tuple[Handler, Handler]] = {}

    def service_name(self) -> str:
        return self._inner.service_name() if isinstance(self._inner, grpc.ServiceRpcHandler) else ""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        handler = self._inner.service(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._leveled.get(method)
        if known is None or known[0] is not handler:
            known = self._leveled[method] = (handler, level_handler(handler, method, self._level))
        return known[1]


class LevelServer(aio.Server):
    """A server in the shape of grpc.aio's, over another one: its handlers are wrapped as this module promises."""

    def __init__(self, inner: aio.Server, bind: Callable[[str, ServerTls | None], int], options: ServerOptions) -> None:
        """`bind(address, tls)` makes `inner` listen and returns the port; it raises a RubeError that names the
        remedy."""
        self._inner = inner
        self._bind = bind
        self._level = Level(options)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[GenericHandler]) -> None:
        self._inner.add_generic_rpc_handlers(
            tuple(_LevelGenericHandler(inner, self._level) for inner in generic_rpc_handlers)
        )

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Handler]) -> None:
        """Accepts the second call of generated code beside `add_generic_rpc_handlers`."""
        leveled = {
            name: level_handler(h, f"/{service_name}/{name}", self._level) for name, h in method_handlers.items()
        }
        self._inner.add_registered_method_handlers(service_name, leveled)  # type: ignore[attr-defined]  # stubs lack it

    def describe(self, **shown: Any) -> None:
        """Gives a server that answers more than gRPC what its pages and its JSON show (rube.transport.h2.H2Server)."""
        if (describe := getattr(self._inner, "describe", None)) is not None:
            describe(**shown)

    def add_insecure_port(self, address: str) -> int:
        """Listens on `host:port` (0: a free one, returned) or `unix:/path`. Raises a RubeError if that is not
        possible."""
        return self._bind(address, None)

    def add_secure_port(  # type: ignore[override]  # files in place of gRPC's credentials: they may change
        self, address: str, server_credentials: ServerTls
    ) -> int:
        """Listens with mutual TLS on `host:port`. Raises a RubeError if that is not possible, or the files are
        unusable."""
        if not isinstance(server_credentials, ServerTls):
            raise TypeError(f"{server_credentials!r} is no rube.host.ServerTls")
        self._level.open(server_credentials.open_methods)
        return self._bind(address, server_credentials)

    async def start(self) -> None:
        await self._inner.start()

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds, then cancels them. Returns when all handlers
        have ended, their `finally` blocks included, and none can begin: their resources may be closed then."""
        await self._inner.stop(grace)
        await self._level.running.close()
        self._level.strangers.tell_rest()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        return await self._inner.wait_for_termination(timeout)


def check_interceptors(interceptors: Sequence[object]) -> None:
    """Raises TypeError for an object that is no interceptor of an asyncio server."""
    for interceptor in interceptors:
        if not isinstance(interceptor, aio.ServerInterceptor):
            raise TypeError(f"{interceptor!r} is no grpc.aio.ServerInterceptor")
