"""etcd's own gRPC API behind the calls that the benches make of a store, so that one client measures both."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grpc import aio

from rube.store import Page, Record, Txn
from rube.store.etcd import rpc_pb2, rpc_pb2_grpc
from rube.store.ports import Change, ChangeBatch

MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class DirectEtcd:
    """`commit`, `range` and `watch` of rube.store.Store, each one call of etcd's and nothing more.

    A watch is of the keys asked for alone, while a store on etcd follows all of its prefix, for all of its watches.
    """

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
        self._channel = aio.insecure_channel(address, options=options)
        self._kv = rpc_pb2_grpc.KVStub(self._channel)  # type: ignore[no-untyped-call, unused-ignore]
        self._watch = rpc_pb2_grpc.WatchStub(self._channel)  # type: ignore[no-untyped-call, unused-ignore]
        self.revision = 0

    async def commit(self, txn: Txn) -> int:
        response = await self._kv.Txn(transaction(txn))
        assert response.succeeded
        self.revision = response.header.revision
        return self.revision

    async def range(self, start: bytes, end: bytes, *, revision: int = 0, limit: int = 0) -> Page:
        request = rpc_pb2.RangeRequest(key=start, range_end=end, revision=revision, limit=limit)
        response = await self._kv.Range(request)
        records = [Record(kv.key, kv.value, kv.create_revision, kv.mod_revision) for kv in response.kvs]
        return Page(records, revision or response.header.revision, response.more)

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        call = self._watch.Watch()  # type: ignore[call-arg]  # grpc-stubs lag behind
        create = rpc_pb2.WatchCreateRequest(key=start, range_end=end, start_revision=after_revision + 1)
        await call.write(rpc_pb2.WatchRequest(create_request=create))
        async for response in call:
            records = [
                Record(event.kv.key, event.kv.value, event.kv.create_revision, event.kv.mod_revision)
                for event in response.events
            ]
            yield ChangeBatch([Change(record, False, None) for record in records], response.header.revision)

    async def close(self) -> None:
        await self._channel.close()  # type: ignore[call-arg]  # grpc-stubs lag behind


def transaction(txn: Txn) -> rpc_pb2.TxnRequest:
    """Puts alone: the benches delete nothing."""
    request = rpc_pb2.TxnRequest()
    for key, revision in txn.compares:
        request.compare.add(key=key, target=rpc_pb2.Compare.MOD, result=rpc_pb2.Compare.EQUAL, mod_revision=revision)
    for key, value in txn.ops:
        assert value is not None
        request.success.add().request_put.CopyFrom(rpc_pb2.PutRequest(key=key, value=value))
    return request
