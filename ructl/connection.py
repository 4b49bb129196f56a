"""The API at the other end: calls that end in time, or with an error that says the remedy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from rube.api.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotDoneError,
    NotFoundError,
    NotSentError,
    RubeError,
    UnavailableError,
    UnimplementedError,
)
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from ructl.ground import given_ground, randomness
from ructl.options import Target
from ructl.places import hint_of_type_word, short_name
from ructl.query import Query

if TYPE_CHECKING:  # gRPC is loaded by a command that calls a server, and by no help page
    from rube.api import (
        ApplyRequest,
        ApplyResponse,
        AuditRequest,
        AuditResponse,
        DeleteRequest,
        DeleteResponse,
        FieldOwners,
        GetResponse,
        HistoryRequest,
        HistoryResponse,
        ListRequest,
        ListResponse,
        LogsRequest,
        LogsResponse,
        Object,
        PatchRequest,
        PatchResponse,
        PutRequest,
        PutResponse,
        UpdateLifecycleRequest,
        UpdateLifecycleResponse,
        WatchRequest,
        WatchResponse,
    )
    from rube.client import Client
    from rube.host import Engine, Host
    from rube.transport.errors import Pairs

# Past this age, stderr tells the age of a relay's answer.
_OLD_S = 5.0
T = TypeVar("T")
W = TypeVar("W", "PutRequest", "ApplyRequest", "PatchRequest", "DeleteRequest", "UpdateLifecycleRequest")


class Connection:
    """The service api.Api at one target, as commands need it. Every error is a RubeError that `explain` has worded."""

    def __init__(self, client: Client, target: Target) -> None:
        self._client = client
        self.target = target
        self._told_age = False

    async def put(self, request: PutRequest) -> PutResponse:
        return await self._answer(self._client.put(self._named(request)))

    async def apply(self, request: ApplyRequest) -> ApplyResponse:
        return await self._answer(self._client.apply(self._named(request)))

    async def patch(self, request: PatchRequest) -> PatchResponse:
        return await self._answer(self._client.patch(self._named(request)))

    async def owners(self, key: ObjectKey, *, revision: int = 0) -> FieldOwners:
        """The owners of an object's fields."""
        from rube.api import GetRequest

        request = GetRequest(key=key.to_proto(), include_owners=True, revision=revision)
        return (await self._answer(self._client.get(request))).owners

    async def delete(self, request: DeleteRequest) -> DeleteResponse:
        return await self._answer(self._client.delete(self._named(request)))

    async def update_lifecycle(self, request: UpdateLifecycleRequest) -> UpdateLifecycleResponse:
        return await self._answer(self._client.update_lifecycle(self._named(request)))

    async def get(self, key: ObjectKey, *, revision: int = 0) -> Object:
        """The object, at that revision if it is not 0."""
        from rube.api import GetRequest

        request = GetRequest(key=key.to_proto(), revision=revision, min_revision=self._min_revision(revision))
        response = await self._answer(self._client.get(request))
        self._tell_age(response)
        return response.object

    async def history(self, request: HistoryRequest) -> HistoryResponse:
        """One page of an object's versions."""
        return await self._answer(self._client.history(request))

    async def list_page(self, request: ListRequest) -> ListResponse:
        """One page; not more, however much there is."""
        return await self._answer(self._client.list_page(request))

    async def list_objects(self, query: Query) -> list[Object]:
        """The objects that match, by key, as of one revision."""
        request = query.list_request()
        request.min_revision = self._min_revision(request.revision)
        response = await self._answer(self._client.list_objects(request))
        self._tell_age(response)
        return [obj for obj in response.items if query.matches(obj)]

    async def find(self, query: Query) -> list[Object]:
        """Does what `list_objects` does, but raises NotFoundError for a missing name of the query."""
        if keys := query.exact_keys():
            return [await self._get_named(key, query) for key in keys]
        found = await self.list_objects(query)
        names = {obj.metadata.name for obj in found}
        for name in query.names:
            if name not in names:
                raise self._absent(query, name)
        return found

    async def _get_named(self, key: ObjectKey, query: Query) -> Object:
        try:
            return await self.get(key, revision=query.at_revision)
        except NotFoundError as error:
            raise self._absent(query, key.name) from error

    def _absent(self, query: Query, name: str) -> NotFoundError:
        wanted = f"{short_name(query.type).lower()} {name!r}"
        if query.namespace:
            wanted += f" in namespace {query.namespace!r}"
        if query.labels.requirements:
            wanted += f" with {query.labels}"
        here = " on this node" if self.target.is_node else ""
        there = "is"
        if query.at_revision:
            here, there = f"{here} at revision {query.at_revision}", "was"
        then = f" --at-revision {query.at_revision}" if query.at_revision else ""
        return NotFoundError(
            f"there {there} no {wanted}{here}: 'ructl list -t {short_name(query.type)}{then}' shows which there "
            f"{'were' if then else 'are'}"
            f"{hint_of_type_word(name)}",
            name=name,
        )

    async def watch(self, request: WatchRequest) -> AsyncGenerator[WatchResponse, None]:
        """The responses of one watch; ends with an error. The first has to come within the target's time."""
        try:
            async with aclosing(self._client.watch(request)) as responses:
                async for response in responses:
                    yield response
        except RubeError as error:
            raise explain(error, self.target) from error

    async def logs(self, request: LogsRequest) -> AsyncGenerator[LogsResponse, None]:
        """Yields a unit's output; ends with its end, or with an error."""
        try:
            async with aclosing(self._client.logs(request)) as responses:
                async for response in responses:
                    yield response
        except RubeError as error:
            raise explain(error, self.target) from error

    async def audit(self, request: AuditRequest) -> AsyncGenerator[AuditResponse, None]:
        """Yields the lines of a server's audit log; ends with its end, or with an error."""
        try:
            async with aclosing(self._client.audit(request)) as responses:
                async for response in responses:
                    yield response
        except RubeError as error:
            raise explain(error, self.target) from error

    def _min_revision(self, revision: int) -> int:
        """Returns a read's `min_revision`: any is new enough where old answers may be; a read of the past has none."""
        return int(self.target.stale and not revision)

    def _tell_age(self, response: GetResponse | ListResponse) -> None:
        """Says, once, that a relay has answered without its apiservers, or long after it heard from them."""
        freshness = response.freshness
        age_s = freshness.age.ToNanoseconds() / NS_PER_S
        if self._told_age or not (freshness.upstream_away or age_s > _OLD_S):
            return
        self._told_age = True
        why = "whose apiservers are away" if freshness.upstream_away else "which is behind its apiservers"
        click.echo(
            f"ructl: {self.target} is a relay {why}: this is as of revision {response.revision}, {age_s:.0f} s ago",
            err=True,
        )

    def _named(self, request: W) -> W:
        """Returns a write with an id where it needs one, so that the next server may be asked after a lost answer."""
        from rube.client.retries import is_conditional

        if len(self.target.endpoints) == 1 or is_conditional(request):
            return request
        named = type(request)()
        named.CopyFrom(request)
        named.request_id = randomness().uid()
        return named

    async def _answer(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except RubeError as error:
            raise explain(error, self.target) from error


def ask(target: Target, main: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """Does what `run` does, in half of the time, for a `main` that waits for nothing but answers: it neither sleeps nor
    watches."""
    if given_ground() is not None:
        return run(target, main)
    from rube.client.blocking import BlockingClient

    try:
        with BlockingClient(target.endpoints, target.timeout_s, target.tls) as client:
            main(Connection(cast("Client", client), target)).send(None)
    except StopIteration as ended:
        return cast(T, ended.value)
    except RubeError as error:
        raise click.ClickException(one_line(error)) from error
    raise AssertionError("it waits for something: use `run`")


def run(target: Target, main: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """Runs `main` with a connection, in an event loop. A RubeError becomes a click.ClickException: one line for the
    user."""
    import asyncio

    from rube.client import Client, ClientConfig

    ground = given_ground()
    host = _this_machine(target) if ground is None else ground.host

    async def connected() -> T:
        # Repeating what never reached one server is for the next one; a user sees an error sooner than the last try.
        config = ClientConfig(
            deadline_s=target.timeout_s, attempt_s_max=target.timeout_s, retries_max=len(target.endpoints) - 1
        )
        async with Client(host, target.endpoints, config) as client:
            return await main(Connection(client, target))

    try:
        return asyncio.run(connected()) if ground is None else ground.run(connected)
    except RubeError as error:
        raise click.ClickException(one_line(error)) from error


def _this_machine(target: Target) -> Host:
    from rube.host import Host, RealClock, RealRandomness
    from rube.transport import GrpcNetwork

    network = GrpcNetwork(tls=target.tls)
    return Host(name="ructl", clock=RealClock(), network=network, storage=_NoStorage(), random=RealRandomness())


def one_line(error: RubeError) -> str:
    return " ".join(error.message.split())


def explain(error: RubeError, target: Target) -> RubeError:
    """Returns the same error; if no server of Rube worded it, with its meaning and the remedy."""
    if _is_from_server(error):
        return error
    match error:
        case NotSentError() if "tls" in error.metadata:
            return NotSentError(f"no connection to {target}: {error.metadata['why']}", **error.metadata)
        case NotSentError() if "silent" in error.metadata:
            return NotSentError(_hangs(target), **error.metadata)
        case NotSentError():
            why = shorten(error.metadata["why"])
            return NotSentError(f"no server answers at {target} ({why}): {_remedy(target)}", why=why)
        case NotDoneError():
            return error
        case UnavailableError():
            return UnavailableError(f"the connection to {target} was lost before it answered: try again")
        case DeadlineExceededError():
            return DeadlineExceededError(_hangs(target))
        case UnimplementedError():
            return UnimplementedError(f"what answers at {target} does not offer this of api.Api: {_remedy(target)}")
        case _:
            return error


def _is_from_server(error: RubeError) -> bool:
    from rube.transport.unary import EndedCall

    ended = error.__cause__
    if isinstance(ended, EndedCall):
        return ended.details is not None
    from grpc import aio

    from rube.transport.statuses import DETAILS_KEY

    if not isinstance(ended, aio.AioRpcError):
        return False
    return any(key == DETAILS_KEY for key, _ in cast("Pairs", ended.trailing_metadata() or ()))


def _hangs(target: Target) -> str:
    return (
        f"{target} did not answer within {target.timeout_s:g} s: it hangs or is no Rube server; "
        "look at its log, name another with --server, or wait longer with --timeout SECONDS"
    )


def _remedy(target: Target) -> str:
    if target.is_node:
        return "is this node's rubelet running?"
    return "start one with 'rube up' or 'rube apiserver', or name another with --server HOST:PORT or RUBE_SERVER"


def shorten(why: str) -> str:
    """Returns why it was not possible to connect: the last of gRPC's nested reasons, which is the operating system's or
    the name service's."""
    last = why.rpartition(": ")[2].rstrip("]) ") or why
    return last[:1].lower() + last[1:]


class _NoStorage:
    """A client keeps nothing (rube.host.Storage)."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        raise InvalidArgumentError(f"ructl keeps nothing and cannot open {url}")
