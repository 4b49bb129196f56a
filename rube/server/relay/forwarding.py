"""Calls that a relay hands on: the same request upstream, with the caller's deadline and metadata, and its answer or
its error as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NoReturn, cast

from google.protobuf.message import Message
from grpc import aio

from rube.api.errors import DeadlineExceededError, NotDoneError, NotSentError, UnavailableError
from rube.client.endpoints import Endpoints
from rube.host import Host
from rube.transport import Encoded, rube_error
from rube.transport.packing.form import ASKED_KEY

Context = aio.ServicerContext[Any, Any]
Pairs = list[tuple[str, str | bytes]]
# Metadata of one connection, which is not the next one's.
_OF_CONNECTIONS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connect-protocol-version",
        "connect-timeout-ms",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "user-agent",
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "grpc-status",
        "grpc-message",
        "x-grpc-web",
        ASKED_KEY,
    }
)
# A longer deadline is none.
_DEADLINE_S_MAX: Final = 10.0**8


def forwarded_metadata(context: Context) -> Pairs:
    """Returns the metadata that a call goes upstream with: the caller's. What else a relay says of its caller, such as
    who it is, belongs here."""
    return _kept(context.invocation_metadata())


def _kept(metadata: Any) -> Pairs:
    pairs = cast(Pairs, metadata or ())
    return [(key, value) for key, value in pairs if key not in _OF_CONNECTIONS and not key.startswith(":")]


class Forwarder:
    """Hands calls on to the current one of several servers; after a failure to the next one. It repeats none.

    Methods go by their names, such as `/api.Api/Put`. Answers are passed on as they come, and not parsed.
    """

    def __init__(self, host: Host, targets: Sequence[str], connect_s_max: float) -> None:
        self._clock = host.clock
        self._endpoints = Endpoints(host.network, targets)
        self._connect_s_max = connect_s_max
        # The calls whose answers are streams; a dict for its order.
        self._streams: dict[aio.UnaryStreamCall[Any, Any], None] = {}
        self._stopping = False

    async def unary(self, method: str, request: Message, context: Context) -> Encoded:
        """Returns the answer. Raises NotDoneError if there is no connection."""
        channel, target = await self._connected(context)
        call = channel.unary_unary(method, type(request).SerializeToString, Encoded)
        try:
            answer: Encoded = await call(request, timeout=_timeout_s(context), metadata=forwarded_metadata(context))
            return answer
        except aio.AioRpcError as error:
            await self._pass_on(error, target, context)

    async def stream(self, method: str, request: Message, context: Context) -> AsyncGenerator[Encoded, None]:
        """Yields the answers, until the call has ended."""
        channel, target = await self._connected(context)
        begin = channel.unary_stream(method, type(request).SerializeToString, Encoded)
        call = begin(request, timeout=_timeout_s(context), metadata=forwarded_metadata(context))
        self._streams[call] = None
        try:
            while isinstance(answer := await call.read(), Encoded):
                yield answer
        except aio.AioRpcError as error:
            await self._pass_on(error, target, context)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stopping and task is not None and not task.cancelling():
                raise stopping() from None
            raise
        finally:
            del self._streams[call]
            call.cancel()

    def stop(self) -> None:
        """Ends all streams with UNAVAILABLE."""
        self._stopping = True
        for call in self._streams:
            call.cancel()

    async def close(self) -> None:
        await self._endpoints.close()

    async def _connected(self, context: Context) -> tuple[aio.Channel, str]:
        """Returns the channel of the first server that there is a connection to: begin the call before the next
        await."""
        for attempts_left in reversed(range(self._endpoints.count)):
            target = self._endpoints.current
            limit_s = min(context.time_remaining(), self._connect_s_max)
            try:
                return await self._endpoints.connected_channel(self._clock, limit_s), target
            except NotSentError as error:
                self._endpoints.rotate(target)
                if not attempts_left:
                    raise NotDoneError(f"this relay could not hand the call on: {error.message}") from error
        raise AssertionError("the last attempt returns or raises")

    async def _pass_on(self, error: aio.AioRpcError, target: str, context: Context) -> NoReturn:
        """Ends the call as upstream has ended it: code, message and details."""
        if isinstance(rube_error(error), (UnavailableError, DeadlineExceededError)):
            self._endpoints.rotate(target)
        await context.abort(error.code(), error.details() or "", tuple(_kept(error.trailing_metadata())))
        raise AssertionError("abort raises")


def _timeout_s(context: Context) -> float | None:
    """Returns the caller's deadline; None if it has none."""
    left_s = context.time_remaining()
    return left_s if left_s < _DEADLINE_S_MAX else None


def stopping() -> NotDoneError:
    return NotDoneError("this relay is stopping: ask another server, or try again")
