"""A client of etcd's protocol that adds nothing to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grpc import StatusCode, aio

from rube.host import Clock
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import AuthStub, KVStub, MaintenanceStub, WatchStub

DEADLINE_S = 5.0
SILENCE_S = 0.4
"""Longer than etcd takes to look after watches that are behind."""


class EtcdClient:
    """Stubs on one channel, and the requests that tests make most."""

    def __init__(self, channel: aio.Channel, clock: Clock) -> None:
        self.clock = clock
        self.kv: Any = KVStub(channel)
        self.watches: Any = WatchStub(channel)
        self.maintenance: Any = MaintenanceStub(channel)
        self.auth: Any = AuthStub(channel)

    async def put(self, key: bytes, value: bytes = b"", **fields: Any) -> etcd.PutResponse:
        response: etcd.PutResponse = await self.kv.Put(etcd.PutRequest(key=key, value=value, **fields))
        return response

    async def delete(self, key: bytes, end: bytes = b"", **fields: Any) -> etcd.DeleteRangeResponse:
        request = etcd.DeleteRangeRequest(key=key, range_end=end, **fields)
        response: etcd.DeleteRangeResponse = await self.kv.DeleteRange(request)
        return response

    async def range(self, key: bytes, end: bytes = b"", **fields: Any) -> etcd.RangeResponse:
        response: etcd.RangeResponse = await self.kv.Range(etcd.RangeRequest(key=key, range_end=end, **fields))
        return response

    async def txn(
        self,
        *success: etcd.RequestOp,
        compare: Sequence[etcd.Compare] = (),
        failure: Sequence[etcd.RequestOp] = (),
    ) -> etcd.TxnResponse:
        request = etcd.TxnRequest(compare=compare, success=success, failure=failure)
        response: etcd.TxnResponse = await self.kv.Txn(request)
        return response

    async def compact(self, revision: int) -> etcd.CompactionResponse:
        """Physically: what is forgotten is gone when it returns."""
        request = etcd.CompactionRequest(revision=revision, physical=True)
        response: etcd.CompactionResponse = await self.kv.Compact(request)
        return response

    async def revision(self) -> int:
        return (await self.range(b"x")).header.revision

    async def ready(self) -> None:
        """Waits until the etcd serves."""
        await self.kv.Range(etcd.RangeRequest(key=b"x"), wait_for_ready=True, timeout=20)

    @asynccontextmanager
    async def watch(self, *creates: etcd.WatchCreateRequest) -> AsyncIterator[WatchCall]:
        call = WatchCall(self.watches.Watch(), self.clock)
        for create in creates:
            await call.create(create)
        try:
            yield call
        finally:
            call.cancel()


class WatchCall:
    """One stream of watches."""

    def __init__(self, call: Any, clock: Clock) -> None:
        self._call = call
        self._clock = clock

    async def create(self, request: etcd.WatchCreateRequest) -> None:
        await self._call.write(etcd.WatchRequest(create_request=request))

    async def cancel_watch(self, number: int) -> None:
        request = etcd.WatchCancelRequest(watch_id=number)
        await self._call.write(etcd.WatchRequest(cancel_request=request))

    async def progress(self) -> None:
        await self._call.write(etcd.WatchRequest(progress_request=etcd.WatchProgressRequest()))

    async def read(self) -> etcd.WatchResponse:
        async with self._clock.timeout(DEADLINE_S):
            response: etcd.WatchResponse = await self._call.read()
        assert isinstance(response, etcd.WatchResponse), "the stream has ended"
        return response

    async def events(self, count: int) -> list[tuple[str, bytes, int]]:
        """Reads so many events, each as (PUT or DELETE, key, revision); they may come in several messages."""
        found: list[tuple[str, bytes, int]] = []
        while len(found) < count:
            found += told(await self.read())
        assert len(found) == count
        return found

    async def silent(self) -> bool:
        """True if no message comes for a while. The stream is of no use after that."""
        try:
            async with self._clock.timeout(SILENCE_S):
                await self._call.read()
        except TimeoutError:
            return True
        return False

    def cancel(self) -> None:
        self._call.cancel()


def told(response: etcd.WatchResponse) -> list[tuple[str, bytes, int]]:
    """A message in a few words."""
    kinds = ("PUT", "DELETE")
    return [(kinds[event.type], event.kv.key, event.kv.mod_revision) for event in response.events]


async def refused(call: Awaitable[object]) -> tuple[StatusCode, str | None]:
    """The status of a call that must fail."""
    try:
        await call
    except aio.AioRpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call succeeded")


def create(key: bytes, end: bytes = b"", **fields: Any) -> etcd.WatchCreateRequest:
    return etcd.WatchCreateRequest(key=key, range_end=end, **fields)


def put_op(key: bytes, value: bytes = b"", **fields: Any) -> etcd.RequestOp:
    return etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=value, **fields))


def range_op(key: bytes, end: bytes = b"", **fields: Any) -> etcd.RequestOp:
    return etcd.RequestOp(request_range=etcd.RangeRequest(key=key, range_end=end, **fields))


def delete_op(key: bytes, end: bytes = b"", **fields: Any) -> etcd.RequestOp:
    return etcd.RequestOp(request_delete_range=etcd.DeleteRangeRequest(key=key, range_end=end, **fields))


def txn_op(*success: etcd.RequestOp, **fields: Any) -> etcd.RequestOp:
    return etcd.RequestOp(request_txn=etcd.TxnRequest(success=success, **fields))
