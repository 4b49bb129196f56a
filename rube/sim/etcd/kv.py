"""etcd's KV service on a member, and what all services share: errors, tokens, the need of a leader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from rube.sim.etcd import apply, errors, requests
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.member import Member
from rube.sim.etcd.raft_internal_pb2 import InternalRaftRequest
from rube.sim.etcd.tokens import AuthTokens
from rube.store.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from rube.store.etcd.rpc_pb2_grpc import KVServicer

Context = aio.ServicerContext[Any, Any]


class RequestChecks:
    """The checks that every request passes."""

    def __init__(self, member: Member, tokens: AuthTokens) -> None:
        self._member = member
        self._tokens = tokens

    @asynccontextmanager
    async def enter(self, context: Context) -> AsyncIterator[None]:
        """Refuses who may not ask, and turns EtcdError into the call's status."""
        try:
            self.check(context)
            yield
        except EtcdError as error:
            await context.abort(error.code, error.text)

    def check(self, context: Context) -> None:
        """Raises EtcdError for a bad token, or without a leader for a request that needs one."""
        self._tokens.check(metadata_of(context, "token"))
        if metadata_of(context, "hasleader") == "true" and not self._member.leader:
            raise errors.no_leader()


def metadata_of(context: Context, key: str) -> str | None:
    """A value of the call's metadata."""
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return value if isinstance(value, str) else value.decode()
    return None


class KV(KVServicer):
    """etcd's key-value service."""

    def __init__(self, member: Member, gate: RequestChecks) -> None:
        self._member = member
        self._gate = gate

    async def Range(self, request: RangeRequest, context: Context) -> RangeResponse:
        async with self._gate.enter(context):
            requests.check_range(request)
            if not request.serializable:
                await self._member.catch_up()
            response = apply.range_(self._member.keyspace, request)
        response.header.CopyFrom(self._member.header(response.header.revision))
        return response

    async def Put(self, request: PutRequest, context: Context) -> PutResponse:
        async with self._gate.enter(context):
            requests.check_size(request)
            requests.check_put(request)
            await self._member.check_room(request)
            response: PutResponse = await self._member.write(InternalRaftRequest(put=request))
        response.header.CopyFrom(self._member.header(response.header.revision))
        return response

    async def DeleteRange(self, request: DeleteRangeRequest, context: Context) -> DeleteRangeResponse:
        async with self._gate.enter(context):
            requests.check_delete_range(request)
            response: DeleteRangeResponse = await self._member.write(InternalRaftRequest(delete_range=request))
        response.header.CopyFrom(self._member.header(response.header.revision))
        return response

    async def Txn(self, request: TxnRequest, context: Context) -> TxnResponse:
        async with self._gate.enter(context):
            requests.check_size(request)
            requests.check_txn(request)
            if requests.is_write(request):
                await self._member.check_room(request)
                response: TxnResponse = await self._member.write(InternalRaftRequest(txn=request))
            else:
                if not requests.is_serializable(request):
                    await self._member.catch_up()
                response = apply.txn(self._member.keyspace, request)
        response.header.CopyFrom(self._member.header(response.header.revision))
        return response

    async def Compact(self, request: CompactionRequest, context: Context) -> CompactionResponse:
        async with self._gate.enter(context):
            response: CompactionResponse = await self._member.write(InternalRaftRequest(compaction=request))
        response.header.CopyFrom(self._member.header(response.header.revision))
        return response
