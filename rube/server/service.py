"""The gRPC service api.Api: one method a verb, each carried out by the module of its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message
from grpc import aio

from rube.api import (
    ApiServicer,
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    HistoryRequest,
    HistoryResponse,
    ListRequest,
    LogsRequest,
    LogsResponse,
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
)
from rube.api.errors import NotDoneError
from rube.api.unknown_fields import check_known
from rube.host import Host
from rube.server.apply import apply
from rube.server.attachments import Attachments
from rube.server.backend import Backend
from rube.server.config import ApiServerConfig
from rube.server.delete import delete
from rube.server.first_answers import answered_once
from rube.server.history import history
from rube.server.known_types import KnownTypes
from rube.server.lifecycle import update_lifecycle
from rube.server.logs import LogRelay
from rube.server.namespaces import Namespaces
from rube.server.patch import patch
from rube.server.put import put
from rube.server.read import get, list_objects
from rube.server.renewals import Renewals
from rube.server.status import update_status
from rube.server.watch import Watches
from rube.server.writes import Writer
from rube.store import Store
from rube.transport import Encoded

Context = aio.ServicerContext[Any, Any]


class ApiService(ApiServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses. Objects leave as they are stored:
    Get, List and Watch return encoded responses of their types."""

    def __init__(
        self,
        host: Host,
        store: Store,
        types: KnownTypes,
        namespaces: Namespaces,
        config: ApiServerConfig,
        attachments: Attachments,
    ) -> None:
        writer = Writer(
            store, namespaces, retries_max=config.retries_max, waiters_per_key_max=config.waiters_per_key_max
        )
        self._backend = Backend(host=host, store=store, writer=writer, types=types, config=config)
        self.renewals = Renewals(self._backend)
        """Its task is the owner's to run."""
        self._watches = Watches(host.clock, store, types, config)
        self._logs = LogRelay(host, store, attachments)
        self._draining = False

    async def Put(self, request: PutRequest, context: Context) -> PutResponse:
        self._check(request)
        return await answered_once(self._backend, request, PutResponse, put)

    async def Patch(self, request: PatchRequest, context: Context) -> PatchResponse:
        self._check(request)
        return await answered_once(self._backend, request, PatchResponse, patch)

    async def Apply(self, request: ApplyRequest, context: Context) -> ApplyResponse:
        self._check(request)
        return await answered_once(self._backend, request, ApplyResponse, apply)

    async def Get(self, request: GetRequest, context: Context) -> Encoded:  # type: ignore[override]
        self._check(request)
        return await get(self._backend, request)

    async def List(self, request: ListRequest, context: Context) -> Encoded:  # type: ignore[override]
        self._check(request)
        return await list_objects(self._backend, self._watches.selection, request)

    async def History(self, request: HistoryRequest, context: Context) -> HistoryResponse:
        self._check(request)
        return await history(self._backend, request)

    async def Delete(self, request: DeleteRequest, context: Context) -> DeleteResponse:
        self._check(request)
        return await answered_once(self._backend, request, DeleteResponse, delete)

    def Watch(self, request: WatchRequest, context: Context) -> AsyncIterator[Encoded]:  # type: ignore[override]
        self._check(request)
        return self._watches.watch(request)

    def Logs(self, request: LogsRequest, context: Context) -> AsyncIterator[LogsResponse]:
        self._check(request)
        return self._logs.read(request)

    async def UpdateStatus(self, request: UpdateStatusRequest, context: Context) -> UpdateStatusResponse:
        self._check(request)
        return await answered_once(self._backend, request, UpdateStatusResponse, update_status)

    async def UpdateLifecycle(self, request: UpdateLifecycleRequest, context: Context) -> UpdateLifecycleResponse:
        self._check(request)
        return await answered_once(self._backend, request, UpdateLifecycleResponse, update_lifecycle)

    async def RenewLease(self, request: RenewLeaseRequest, context: Context) -> RenewLeaseResponse:
        self._check(request)
        return await self.renewals.renew(request)

    def drain(self) -> None:
        """Ends the watches and refuses new calls, both with UNAVAILABLE, so that clients move on at once."""
        self._draining = True
        self._watches.stop()

    async def close(self) -> None:
        """Ends what reads the store for the watches."""
        await self._watches.close()

    def _check(self, request: Message) -> None:
        check_known(request)
        if self._draining:
            raise NotDoneError("this apiserver is stopping: ask another one, or try again")
