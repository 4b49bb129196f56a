"""The node's own copy, served as a read-only api.Api: the node's state, even while no apiserver can be reached.

A status that has not been reported yet is shown in place of the one the apiserver last had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from google.protobuf import any_pb2
from grpc import aio

from rube.api import (
    ApiServicer,
    ApplyRequest,
    ApplyResponse,
    Bookmark,
    DeleteRequest,
    DeleteResponse,
    Event,
    GetRequest,
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
    RenewLeaseRequest,
    RenewLeaseResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    UpdateStatusRequest,
    UpdateStatusResponse,
    WatchRequest,
    WatchResponse,
    selectors,
)
from rube.api.errors import (
    CompactedError,
    FailedPreconditionError,
    NotFoundError,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.unknown_fields import check_known
from rube.controllers.ports import Cache, Position
from rube.rubelet.logs import NodeLogs
from rube.rubelet.node_pages import check_past, check_revision, check_store, page_of, responses_of

if TYPE_CHECKING:  # gRPC's classes are generic in the stubs alone
    Context = aio.ServicerContext[Any, Any]


class UnsentStatus(Protocol):
    """The runtime's statuses that are still to be reported."""

    def unsent_status(self, key: ObjectKey) -> any_pb2.Any | None: ...

    def subscribe(self, listener: Callable[[ObjectKey], None]) -> None: ...

    def unsubscribe(self, listener: Callable[[ObjectKey], None]) -> None: ...


class NodeApi(ApiServicer):
    """The read-only API: Get, List and Watch from the local copy, and Logs from the driver; a write is refused with the
    remedy.

    The local copy has no history: a watch resumes only from the revision that it is at, and shows only the last of
    several changes in a row.
    """

    def __init__(self, cache: Cache, unsent: Mapping[str, UnsentStatus], logs: NodeLogs, node: str) -> None:
        """`unsent`: by type."""
        self._logs = logs
        self._cache = cache
        self._unsent = unsent
        self._node = node

    async def Get(self, request: GetRequest, context: Context) -> GetResponse:
        check_known(request)
        key = ObjectKey.from_proto(request.key)
        position = self._position(key.type)
        check_revision(position, request.min_revision)
        check_past(position, request.revision)
        obj = self._object(key)
        if obj is None:
            raise NotFoundError(f"{key} is not in the copy of node {self._node}", key=str(key))
        return GetResponse(object=obj, revision=position.revision, store_id=position.store_id)

    async def List(self, request: ListRequest, context: Context) -> ListResponse:
        check_known(request)
        return page_of(self._matching(request), request, self._position(request.type))

    async def Watch(self, request: WatchRequest, context: Context) -> AsyncIterator[WatchResponse]:
        check_known(request)
        self._check_resumable(request)
        unsent = self._unsent[request.type]
        shown = {key_of(obj): obj for obj in self._matching(request)}
        changed = asyncio.Event()

        def on_change(_: object) -> None:
            changed.set()

        self._cache.subscribe(on_change)
        unsent.subscribe(on_change)
        try:
            position = self._position(request.type)
            events = [Event(update=obj) for obj in shown.values()] if request.send_initial else []
            bookmark = Bookmark(revision=position.revision, initial_end=request.send_initial)
            for response in responses_of([*events, Event(bookmark=bookmark)], before=0, position=position):
                yield response
            while True:
                await changed.wait()
                changed.clear()
                now = {key_of(obj): obj for obj in self._matching(request)}
                if events := _difference(shown, now):
                    before, position = position, self._position(request.type)
                    for response in responses_of(events, before=before.revision, position=position):
                        yield response
                shown = now
        finally:
            self._cache.unsubscribe(on_change)
            unsent.unsubscribe(on_change)

    async def History(self, request: HistoryRequest, context: Context) -> HistoryResponse:
        raise FailedPreconditionError(
            f"the copy of node {self._node} keeps no history: ask an apiserver instead (--server)"
        )

    def Logs(self, request: LogsRequest, context: Context) -> AsyncIterator[LogsResponse]:
        return self._logs.read(request)

    async def Put(self, request: PutRequest, context: Context) -> PutResponse:
        self._refuse()

    async def Patch(self, request: PatchRequest, context: Context) -> PatchResponse:
        self._refuse()

    async def Apply(self, request: ApplyRequest, context: Context) -> ApplyResponse:
        self._refuse()

    async def Delete(self, request: DeleteRequest, context: Context) -> DeleteResponse:
        self._refuse()

    async def UpdateStatus(self, request: UpdateStatusRequest, context: Context) -> UpdateStatusResponse:
        self._refuse()

    async def UpdateLifecycle(self, request: UpdateLifecycleRequest, context: Context) -> UpdateLifecycleResponse:
        self._refuse()

    async def RenewLease(self, request: RenewLeaseRequest, context: Context) -> RenewLeaseResponse:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise FailedPreconditionError(
            f"this is the read-only copy of node {self._node}: write to an apiserver instead (--server)"
        )

    def _position(self, type_name: str) -> Position:
        position = self._cache.position(type_name)
        if position is None:
            raise NotFoundError(f"node {self._node} keeps no objects of type {type_name!r}", type=type_name)
        return position

    def _object(self, key: ObjectKey) -> Object | None:
        obj = self._cache.get(key)
        status = None if obj is None else self._unsent[key.type].unsent_status(key)
        if obj is None or status is None:
            return obj
        return Object(metadata=obj.metadata, spec=obj.spec, status=status)

    def _matching(self, request: ListRequest | WatchRequest) -> list[Object]:
        self._position(request.type)
        selector = selectors.parse(request.label_selector)
        shown = (self._object(key_of(obj)) for obj in self._cache.list(request.type))
        return [
            obj
            for obj in shown
            if obj is not None
            and request.namespace in ("", obj.metadata.namespace)
            and request.name in ("", obj.metadata.name)
            and selector.matches(obj.metadata.labels)
        ]

    def _check_resumable(self, request: WatchRequest) -> None:
        position = self._position(request.type)
        check_store(position, request.store_id)
        check_revision(position, request.after_revision)
        if request.send_initial or not request.after_revision:
            return
        if request.after_revision < position.revision:
            raise CompactedError(
                f"a node's copy keeps no history: list again, or resume from {position.revision}",
                oldest_revision=position.revision,
            )


def _difference(before: dict[ObjectKey, Object], after: dict[ObjectKey, Object]) -> list[Event]:
    gone = [Event(delete=before[key]) for key in sorted(before.keys() - after.keys())]
    changed = [Event(update=obj) for key, obj in sorted(after.items()) if before.get(key) != obj]
    return gone + changed
