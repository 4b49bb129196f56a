"""The loader that fills a new store in etcd with a copy of another store's records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.descriptor import LOADING, READY, encode_descriptor
from rube.store.etcd.reads import EtcdReads
from rube.store.etcd.requests import OPS_MAX, REQUEST_BYTES_MAX, mod_revision_is, put_descriptor, put_record
from rube.store.ports import Record

# Bytes of a transaction of the copy, and how many are under way at once.
TXN_BYTES = 1024 * 1024
TXNS_MAX = 4
REMOVED_MAX = 5000
"""Records removed in one transaction before a copy begins again."""


class EtcdLoader:
    """The `rube.store.backends.Loader` of etcd, which gives the records revisions of its own.

    The store's descriptor says "loading" until `finish`, and every transaction compares its revision, so that the
    older one of two loaders stops. Every write here may be carried out twice, so a lost answer does no harm.
    """

    def __init__(self, reads: EtcdReads, store_id: str, descriptor_revision: int) -> None:
        self._reads = reads
        self._store_id = store_id
        self._descriptor_revision = descriptor_revision

    @classmethod
    async def open(cls, reads: EtcdReads, store_id: str) -> EtcdLoader:
        """Raises FailedPreconditionError if there is a store already."""
        descriptor = await reads.descriptor()
        if descriptor is not None and descriptor.state != LOADING:
            raise FailedPreconditionError(
                f"{reads.client.url} holds a store already: choose another prefix, or remove it "
                f"(etcdctl del --prefix {reads.layout.start.decode()})"
            )
        if descriptor is None:
            await reads.check_no_records()
        before = descriptor.mod_revision if descriptor else 0
        await reads.client.txn(
            rpc.TxnRequest(
                compare=[mod_revision_is(reads.layout.descriptor_key, before)],
                success=[put_descriptor(reads.layout, encode_descriptor(store_id, LOADING))],
            ),
            repeatable=True,
        )
        descriptor = await reads.descriptor()
        if descriptor is None or descriptor.store_id != store_id:
            raise _overtaken(reads)
        loader = cls(reads, store_id, descriptor.mod_revision)
        await loader._remove_records()
        return loader

    async def load(self, records: Sequence[Record]) -> None:
        """Raises ResourceExhaustedError for a record that etcd's requests cannot hold."""
        places = asyncio.Semaphore(TXNS_MAX)

        async def write(puts: list[rpc.RequestOp]) -> None:
            async with places:
                await self._write(puts)

        try:
            async with asyncio.TaskGroup() as group:
                for puts in self._transactions(records):
                    group.create_task(write(puts))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def finish(self, revision: int) -> str:
        layout = self._reads.layout
        await self._reads.client.txn(
            rpc.TxnRequest(
                compare=[mod_revision_is(layout.descriptor_key, self._descriptor_revision)],
                success=[put_descriptor(layout, encode_descriptor(self._store_id, READY))],
            ),
            repeatable=True,
        )
        descriptor = await self._reads.descriptor()
        if descriptor is None or descriptor.store_id != self._store_id or descriptor.state != READY:
            raise _overtaken(self._reads)
        return descriptor.store_id

    async def close(self) -> None:
        await self._reads.client.close()

    def _transactions(self, records: Sequence[Record]) -> Iterator[list[rpc.RequestOp]]:
        puts: list[rpc.RequestOp] = []
        size_bytes = 0
        for record in records:
            if not record.key:
                raise DataLossError("the copy holds a record without a key")
            put = put_record(self._reads.layout, record.key, record.value)
            if put.ByteSize() > REQUEST_BYTES_MAX:
                raise ResourceExhaustedError(
                    f"key {record.key.decode('utf-8', 'backslashreplace')} has a value of {len(record.value)} bytes, "
                    f"and etcd takes requests of {REQUEST_BYTES_MAX}: make it smaller, or choose another kind of store",
                    limit="value_bytes_max",
                    value=REQUEST_BYTES_MAX,
                )
            if puts and (len(puts) == OPS_MAX or size_bytes + put.ByteSize() > TXN_BYTES):
                yield puts
                puts, size_bytes = [], 0
            puts.append(put)
            size_bytes += put.ByteSize()
        if puts:
            yield puts

    async def _write(self, ops: Sequence[rpc.RequestOp]) -> None:
        fence = mod_revision_is(self._reads.layout.descriptor_key, self._descriptor_revision)
        answer = await self._reads.client.txn(rpc.TxnRequest(compare=[fence], success=ops), repeatable=True)
        if not answer.succeeded:
            raise _overtaken(self._reads)

    async def _remove_records(self) -> None:
        """Removes the records that an interrupted copy has left."""
        while keys := await self._reads.first_keys(REMOVED_MAX):
            remove = rpc.DeleteRangeRequest(key=keys[0], range_end=keys[-1] + b"\0")
            await self._write([rpc.RequestOp(request_delete_range=remove)])


def _overtaken(reads: EtcdReads) -> FailedPreconditionError:
    return FailedPreconditionError(f"another process fills or removes store {reads.client.url}: let one of you do it")
