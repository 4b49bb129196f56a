"""The API at the other end: calls that end in time, or with an error that says the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import click
from grpc import aio

from rube import api_pb2, api_pb2_grpc
from rube.api.errors import DeadlineExceededError, NotFoundError, RubeError, UnavailableError, UnimplementedError
from rube.api.keys import ObjectKey
from rube.transport import GrpcNetwork, rube_error
from rube.transport.errors import DETAILS_KEY, Pairs
from ructl.options import Target
from ructl.query import Query

T = TypeVar("T")
PAGES_MAX = 100_000
# What gRPC's messages say when there was no connection to begin with.
_CONNECT_FAILURES = (
    "connection refused",
    "no route to host",
    "network is unreachable",
    "DNS resolution failed",
    "permission denied",
    "http1.x server",
)


class Connection:
    """The service api.Api at one address. Every method raises RubeError."""

    def __init__(self, channel: aio.Channel, target: Target) -> None:
        self.api = api_pb2_grpc.ApiStub(channel)
        self.target = target

    async def put(self, request: api_pb2.PutRequest) -> api_pb2.PutResponse:
        return await self._answer(self.api.Put(request, timeout=self.target.timeout_s))

    async def delete(self, request: api_pb2.DeleteRequest) -> api_pb2.DeleteResponse:
        return await self._answer(self.api.Delete(request, timeout=self.target.timeout_s))

    async def get(self, key: ObjectKey) -> api_pb2.Object:
        request = api_pb2.GetRequest(key=key.to_proto())
        response = await self._answer(self.api.Get(request, timeout=self.target.timeout_s))
        return response.object

    async def find(self, query: Query) -> list[api_pb2.Object]:
        """The objects that match, by key; a name that the query asks for and that is not there is NotFoundError."""
        if keys := query.keys():
            return [await self.get(key) for key in keys]
        found = await self.list(query)
        for name in query.names:
            if all(obj.metadata.name != name for obj in found):
                raise NotFoundError(f"{query}: there is no object {name!r}", key=name)
        return found

    async def list(self, query: Query) -> list[api_pb2.Object]:
        """All pages of the objects that match, as of one revision."""
        request = query.list_request()
        found: list[api_pb2.Object] = []
        for _ in range(PAGES_MAX):
            page = await self._answer(self.api.List(request, timeout=self.target.timeout_s))
            found.extend(obj for obj in page.items if query.matches(obj))
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        return found

    async def watch(self, request: api_pb2.WatchRequest) -> AsyncGenerator[api_pb2.WatchResponse, None]:
        """The responses of one watch. The first has to come within the time an answer may take."""
        call = self.api.Watch(request)
        try:
            responses = aiter(call)
            try:
                async with asyncio.timeout(self.target.timeout_s):
                    first = await anext(responses)
            except TimeoutError:
                raise _slow(self.target) from None
            yield first
            async for response in responses:
                yield response
        except aio.AioRpcError as error:
            raise explain(error, self.target) from error
        except StopAsyncIteration:
            pass
        finally:
            call.cancel()
        raise UnavailableError(f"{self.target} ended the watch")

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except aio.AioRpcError as error:
            raise explain(error, self.target) from error


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Connection]:
    """A connection to the target; made when it is first used."""
    async with GrpcNetwork().channel(target.address) as channel:
        yield Connection(channel, target)


def run(target: Target, main: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """Runs `main` with a connection. A RubeError becomes a click.ClickException: one line for the user."""

    async def connected() -> T:
        async with connect(target) as connection:
            return await main(connection)

    try:
        return asyncio.run(connected())
    except RubeError as error:
        raise click.ClickException(one_line(error)) from error


def one_line(error: RubeError) -> str:
    return " ".join(error.message.split())


def explain(ended: aio.AioRpcError, target: Target) -> RubeError:
    """What a call ended with; where no server of Rube worded it, what that means and the remedy."""
    error = rube_error(ended)
    if any(key == DETAILS_KEY for key, _ in cast(Pairs, ended.trailing_metadata() or ())):
        return error
    remedy = (
        "is its rubelet running?"
        if target.is_node
        else "start one with 'rube up' or 'rube apiserver', or name another with --server HOST:PORT or RUBE_SERVER"
    )
    if isinstance(error, UnavailableError):
        reason = _reason(error.message)
        if not reason:
            return UnavailableError(f"the connection to {target} was lost; try again")
        return UnavailableError(f"no server answers at {target} ({reason}): {remedy}")
    if isinstance(error, DeadlineExceededError):
        return _slow(target)
    if isinstance(error, UnimplementedError):
        return UnimplementedError(f"what answers at {target} does not offer this of api.Api: {remedy}")
    return error


def _slow(target: Target) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"{target} did not answer within {target.timeout_s:g} s: it hangs or is no Rube server; "
        "look at its log, name another with --server, or wait longer with --timeout SECONDS"
    )


def _reason(message: str) -> str:
    """Why it was not possible to connect, in gRPC's words but fewer; "" if a connection that stood was lost."""
    for known in _CONNECT_FAILURES:
        if known.lower() in message.lower():
            return known
    return message.rpartition("last error: ")[2] if "failed to connect" in message.lower() else ""
