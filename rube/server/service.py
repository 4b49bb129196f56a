"""The gRPC service api.Api: one method a verb, each carried out by the module of its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
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
from rube.server.entrance.call import Call
from rube.server.feed import ChangeFeed
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
from rube.server.rights import running
from rube.server.rights.gate import Gate
from rube.server.status import update_status
from rube.server.watch import Watches
from rube.server.writes import IntentWriter, Writer
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
        gate: Gate | None = None,
    ) -> None:
        """No gate: callers may do everything."""
        writer = Writer(
            store, namespaces, retries_max=config.retries_max, waiters_per_key_max=config.waiters_per_key_max
        )
        self._backend = Backend(host=host, store=store, writer=writer, types=types, config=config)
        self.renewals = Renewals(self._backend)
        """Its task is the owner's to run."""
        self._watches = Watches(host.clock, store, types, config)
        self._logs = LogRelay(host, store, attachments)
        self._gate = gate
        self._draining = False

    @property
    def writer(self) -> IntentWriter:
        return self._backend.writer

    @property
    def feed(self) -> ChangeFeed:
        """The one reader of the store, for what else follows its changes."""
        return self._watches.feed

    async def Put(self, request: PutRequest, context: Context) -> PutResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, PutResponse, put)

    async def Patch(self, request: PatchRequest, context: Context) -> PatchResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, PatchResponse, patch)

    async def Apply(self, request: ApplyRequest, context: Context) -> ApplyResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, ApplyResponse, apply)

    async def Get(self, request: GetRequest, context: Context) -> Encoded:  # type: ignore[override]
        return await get(await self._enter(request, context), request)

    async def List(self, request: ListRequest, context: Context) -> Encoded:  # type: ignore[override]
        self._check(request)
        narrow = None if self._gate is None else self._gate.narrowing("list", context)
        return await list_objects(self._backend, self._watches.selection, request, narrow)

    async def History(self, request: HistoryRequest, context: Context) -> HistoryResponse:
        return await history(await self._enter(request, context), request)

    async def Delete(self, request: DeleteRequest, context: Context) -> DeleteResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, DeleteResponse, delete)

    def Watch(self, request: WatchRequest, context: Context) -> AsyncIterator[Encoded]:  # type: ignore[override]
        self._check(request)
        if self._gate is None:
            return self._watches.watch(request)
        return running.watch(self._gate, self._backend, self._watches, request, context)

    def Logs(self, request: LogsRequest, context: Context) -> AsyncIterator[LogsResponse]:
        self._check(request)
        output = self._logs.read(request)
        return output if self._gate is None else running.logs(self._gate, self._backend, output, request, context)

    async def UpdateStatus(self, request: UpdateStatusRequest, context: Context) -> UpdateStatusResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, UpdateStatusResponse, update_status)

    async def UpdateLifecycle(self, request: UpdateLifecycleRequest, context: Context) -> UpdateLifecycleResponse:
        backend = await self._enter(request, context)
        return await answered_once(backend, request, UpdateLifecycleResponse, update_lifecycle)

    async def RenewLease(self, request: RenewLeaseRequest, context: Context) -> RenewLeaseResponse:
        await self._enter(request, context)
        return await self.renewals.renew(request)

    def drain(self) -> None:
        """Ends the watches and refuses new calls, both with UNAVAILABLE, so that clients move on at once."""
        self._draining = True
        self._watches.stop()

    async def close(self) -> None:
        """Ends what reads the store for the watches."""
        await self._watches.close()

    async def _enter(self, request: Message, context: Context) -> Backend:
        """Returns what carries out the request for its caller. Raises the errors of `_check` and of the gate."""
        self._check(request)
        backend = self._backend if self._gate is None else await self._gate.enter(self._backend, request, context)
        if isinstance(context, Call) and context.is_noted:
            return replace(backend, writer=context.noting(backend.writer))
        return backend

    def _check(self, request: Message) -> None:
        check_known(request)
        if self._draining:
            raise NotDoneError("this apiserver is stopping: ask another one, or try again")
