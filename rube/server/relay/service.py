"""The services of a relay: reads and watches by an apiserver's verbs over its copy; everything else is handed on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from google.protobuf.message import Message

from rube.api import (
    ApiServicer,
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    GetResponse,
    HistoryRequest,
    ListRequest,
    ListResponse,
    LogsRequest,
    NodeReply,
    NodeRequestsRequest,
    NodesServicer,
    PatchRequest,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    WatchRequest,
    WatchResponse,
)
from rube.api.errors import CompactedError, NotDoneError
from rube.api.unknown_fields import check_known
from rube.server.read import get, list_objects
from rube.server.relay.copy import Copy
from rube.server.relay.forwarding import Context, Forwarder, stopping
from rube.server.relay.store import BehindError, other_store
from rube.server.relay.upstream import Upstream
from rube.transport import Encoded

# Upstream knows more than the copy: it goes further back, or is ahead.
_HANDED_ON = (CompactedError, BehindError)


class RelayService(ApiServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses."""

    def __init__(self, upstream: Upstream, forwarder: Forwarder) -> None:
        self._upstream = upstream
        self._forwarder = forwarder
        self.copy: Copy | None = None
        """What it answers from; None: there is none yet, or upstream has another store."""
        self._draining = False

    async def Get(self, request: GetRequest, context: Context) -> Encoded:  # type: ignore[override]
        self._check()
        check_known(request)
        # The owners of fields are no objects: watches don't tell them.
        if (copy := self.copy) is not None and not request.include_owners:
            try:
                here = GetRequest()
                here.CopyFrom(request)
                if not (request.min_revision or request.revision):
                    here.min_revision = await copy.store.catch_up()
                answer = await get(copy.reads, here)
            except _HANDED_ON:
                pass
            else:
                return _beside(answer, GetResponse(freshness=self._upstream.freshness()))
        return await self._hand_on("Get", request, context)

    async def List(self, request: ListRequest, context: Context) -> Encoded:  # type: ignore[override]
        self._check()
        check_known(request)
        if (copy := self.copy) is not None:
            try:
                here = ListRequest()
                here.CopyFrom(request)
                if not (request.min_revision or request.revision or request.page_token):
                    here.min_revision = await copy.store.catch_up()
                answer = await list_objects(copy.reads, copy.watches.selection, here)
            except _HANDED_ON:
                pass
            else:
                return _beside(answer, ListResponse(freshness=self._upstream.freshness()))
        return await self._hand_on("List", request, context)

    async def Watch(self, request: WatchRequest, context: Context) -> AsyncGenerator[Encoded, None]:  # type: ignore[override]
        self._check()
        check_known(request)
        copy = await self._copy_for(request)
        here = WatchRequest()
        here.CopyFrom(request)
        if (
            request.after_revision < copy.replica.compact_revision
            and request.after_revision
            and not request.send_initial
        ):
            # Upstream may go further back: it answers until the copy can go on.
            async with aclosing(self._older(request, context)) as older:
                async for encoded in older:
                    yield encoded
                    here.after_revision = max(here.after_revision, WatchResponse.FromString(encoded.data).revision)
                    if here.after_revision >= copy.replica.compact_revision:
                        break
        async with aclosing(copy.watches.watch(here)) as responses:
            async for encoded in responses:
                yield encoded

    async def _copy_for(self, request: WatchRequest) -> Copy:
        """Returns the copy that answers a watch. Raises NotDoneError if the client's position is of a store that this
        relay may only not know yet."""
        copy = self.copy
        if copy is None:
            raise NotDoneError(
                "this relay has no copy of the apiservers' objects yet: ask another server, or try again"
            )
        if request.store_id and request.store_id != copy.replica.store_id:
            newest = await self._upstream.newest()
            if newest.store_id != copy.replica.store_id:
                raise other_store(newest.store_id)
        return copy

    async def _older(self, request: WatchRequest, context: Context) -> AsyncGenerator[Encoded, None]:
        """Yields upstream's responses; none if upstream is away, or has forgotten that too: the copy has the error."""
        if self._upstream.away:
            return
        async with aclosing(self._forwarder.stream("/api.Api/Watch", request, context)) as responses:
            async for response in responses:
                yield response

    def Logs(self, request: LogsRequest, context: Context) -> AsyncIterator[Encoded]:  # type: ignore[override]
        self._check()
        return self._forwarder.stream("/api.Api/Logs", request, context)

    async def Put(self, request: PutRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("Put", request, context)

    async def Patch(self, request: PatchRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("Patch", request, context)

    async def Apply(self, request: ApplyRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("Apply", request, context)

    async def History(self, request: HistoryRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("History", request, context)

    async def Delete(self, request: DeleteRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("Delete", request, context)

    async def UpdateStatus(self, request: UpdateStatusRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("UpdateStatus", request, context)

    async def UpdateLifecycle(self, request: UpdateLifecycleRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("UpdateLifecycle", request, context)

    async def RenewLease(self, request: RenewLeaseRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await self._hand_on("RenewLease", request, context)

    async def _hand_on(self, method: str, request: Message, context: Context) -> Encoded:
        self._check()
        return await self._forwarder.unary(f"/api.Api/{method}", request, context)

    def drain(self) -> None:
        """Refuses new calls."""
        self._draining = True

    def _check(self) -> None:
        if self._draining:
            raise stopping()


class RelayNodesService(NodesServicer):
    """Hands nodes' calls on: a node that is attached to a relay is attached to the apiserver behind it."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._draining = False

    def Requests(self, request: NodeRequestsRequest, context: Context) -> AsyncIterator[Encoded]:  # type: ignore[override]
        if self._draining:
            raise stopping()
        return self._forwarder.stream("/api.Nodes/Requests", request, context)

    async def Reply(self, request: NodeReply, context: Context) -> Encoded:  # type: ignore[override]
        return await self._forwarder.unary("/api.Nodes/Reply", request, context)

    def drain(self) -> None:
        """Refuses new calls."""
        self._draining = True


def _beside(answer: Encoded, more: GetResponse | ListResponse) -> Encoded:
    """Returns the answer with further fields: protobuf merges what is concatenated."""
    return Encoded(answer.data + more.SerializeToString())
