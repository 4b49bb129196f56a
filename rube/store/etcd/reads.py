"""Reads of one store in etcd, all linearizable: ranges in bounded pages at one revision, lookups, its descriptor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from grpc import StatusCode, aio

from rube.api.errors import CompactedError, FailedPreconditionError, InvalidArgumentError, RevisionAheadError
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.client import EtcdClient
from rube.store.etcd.descriptor import StoreDescriptor, decode_descriptor
from rube.store.etcd.errors import COMPACTED, FUTURE_REVISION, is_too_large_here
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.etcd.layout import Layout
from rube.store.etcd.log import LogReader, compacted
from rube.store.etcd.values import to_record
from rube.store.ports import Lookup, Page, Record

# One answer of etcd's aims at so many bytes; the first page of a range has so many records, later pages up to the
# maximum.
PAGE_BYTES = 4 * 1024 * 1024
PAGE_RECORDS_FIRST = 100
PAGE_RECORDS_MAX = 10_000
READ_RETRIES_MAX = 3
"""A read of the newest revision starts again so often if compaction overtakes it between two pages."""


class EtcdReads:
    """The reads of `rube.store.Store`. `revision` grows with every answer."""

    def __init__(self, client: EtcdClient, layout: Layout) -> None:
        self.client = client
        self.layout = layout
        # The newest revision in any answer.
        self.revision = 0

    async def descriptor(self) -> StoreDescriptor | None:
        """Returns the store's descriptor; None if there is no store. Raises the errors of `decode_descriptor`."""
        answer = await self._range(rpc.RangeRequest(key=self.layout.descriptor_key))
        return decode_descriptor(answer.kvs[0], str(self.client.url)) if answer.kvs else None

    async def newest_revision(self) -> int:
        """Returns the newest revision of the whole etcd, as of this call or later."""
        request = rpc.RangeRequest(key=self.layout.descriptor_key, count_only=True)
        return (await self._range(request)).header.revision

    async def check_kept(self, revision: int) -> None:
        """Raises CompactedError or RevisionAheadError unless that revision can be read."""
        await self._range(rpc.RangeRequest(key=self.layout.descriptor_key, revision=revision, count_only=True))

    async def oldest_revision(self) -> int:
        """Returns the oldest revision that can be read and resumed from; 0 if nothing was ever compacted.

        etcd answers it to a watch that begins too early. A watch that begins at 1 gets either that, or the creation of
        the store's descriptor.
        """
        reader = await LogReader.open(self.client, self.layout, 0)
        try:
            await reader.read()
        except CompactedError as error:
            return int(error.metadata["oldest_revision"])
        finally:
            reader.close()
        return 0

    async def count(self) -> tuple[int, int]:
        """Returns the number of records, and the revision of the count."""
        request = rpc.RangeRequest(key=self.layout.records, range_end=self.layout.records_end, count_only=True)
        answer = await self._range(request)
        return answer.count, answer.header.revision

    async def get(self, keys: Sequence[bytes], min_revision: int) -> Lookup:
        layout, revision = self.layout, 0
        found: list[Record | None] = []
        step = max(len(keys), 1)
        while not revision or len(found) < len(keys):
            part = keys[len(found) : len(found) + step]
            try:
                answer = await self._lookup([layout.key(key) for key in part] or [layout.descriptor_key], revision)
            except _TooLargeError:
                # Counted in parts, all at one revision.
                revision, step = revision or await self.newest_revision(), max(step // 4, 1)
                continue
            revision = revision or answer.header.revision
            for response in answer.responses[: len(part)]:
                kvs = response.response_range.kvs
                found.append(self._record(kvs[0]) if kvs else None)
        self.check_reached(min_revision)
        return Lookup(found, revision)

    async def range(self, start: bytes, end: bytes | None, revision: int, min_revision: int, limit: int) -> Page:
        check_not_negative(revision, min_revision)
        for _ in range(READ_RETRIES_MAX):
            try:
                return await self._range_at(start, end, revision, min_revision, limit)
            except CompactedError:
                if revision:
                    raise
        return await self._range_at(start, end, revision, min_revision, limit)

    async def keys(self, revision: int) -> AsyncIterator[Sequence[KeyValue]]:
        """Yields everything under the store's prefix page by page, including keys that are no records."""
        request = rpc.RangeRequest(key=self.layout.start, range_end=self.layout.end, revision=revision)
        size = PAGE_RECORDS_FIRST
        while True:
            answer = await self._page(request, size)
            yield answer.kvs
            if not answer.more:
                return
            request.key = answer.kvs[-1].key + b"\0"
            size = _next_page(answer)

    async def first_keys(self, limit: int) -> Sequence[bytes]:
        """Returns etcd's keys of the store's first records, at least one if there is one, whatever their values are."""
        layout = self.layout
        request = rpc.RangeRequest(key=layout.records, range_end=layout.records_end, keys_only=True)
        return [kv.key for kv in (await self._page(request, limit)).kvs]

    async def check_no_records(self) -> None:
        """Raises FailedPreconditionError if there are keys where a new store would have its records."""
        records, _ = await self.count()
        if records:
            raise FailedPreconditionError(
                f"etcd has {records} keys of another kind under {self.layout.records.decode()} "
                f"(store {self.client.url}): choose another prefix"
            )

    async def _range_at(self, start: bytes, end: bytes | None, revision: int, min_revision: int, limit: int) -> Page:
        layout = self.layout
        request = rpc.RangeRequest(key=layout.key(start), revision=revision)
        if end is None:
            answer = await self._range(request)
            self.check_reached(min_revision)
            return Page([self._record(kv) for kv in answer.kvs], revision or answer.header.revision, False)
        request.range_end = layout.key(end)
        records: list[Record] = []
        size = PAGE_RECORDS_FIRST
        while True:
            answer = await self._page(request, min(size, limit - len(records)) if limit else size)
            if not request.revision:
                self.check_reached(min_revision)
                request.revision = answer.header.revision
            records += [self._record(kv) for kv in answer.kvs]
            if not answer.more or len(records) == limit:
                return Page(records, request.revision, answer.more)
            request.key = answer.kvs[-1].key + b"\0"
            size = _next_page(answer)

    async def _page(self, request: rpc.RangeRequest, size: int) -> rpc.RangeResponse:
        """Returns so many keys, or fewer if they do not fit into one answer."""
        request.limit = size
        while True:
            try:
                return await self._range(request)
            except _TooLargeError:
                request.limit = max(request.limit // 4, 1)

    def check_reached(self, min_revision: int) -> None:
        """Raises RevisionAheadError if no answer has reached that revision; a linearizable read returns the newest."""
        if min_revision > self.revision:
            raise ahead(min_revision, self.revision)

    async def error_of(self, error: aio.AioRpcError, revision: int) -> Exception:
        """Returns the error for etcd's refusal of a request about that revision."""
        if error.code() is StatusCode.OUT_OF_RANGE and error.details() == COMPACTED:
            return compacted(await self.oldest_revision())
        if error.code() is StatusCode.OUT_OF_RANGE and error.details() == FUTURE_REVISION:
            return ahead(revision, await self.newest_revision())
        return self.client.meaning_of(error)

    async def _range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        try:
            answer = await self.client.call(lambda member: member.kv.Range, request)
        except aio.AioRpcError as error:
            if is_too_large_here(error) and request.limit > 1:
                raise _TooLargeError from error
            raise await self.error_of(error, request.revision) from error
        self.revision = max(self.revision, answer.header.revision)
        return answer

    async def _lookup(self, keys: Sequence[bytes], revision: int) -> rpc.TxnResponse:
        ranges = [rpc.RangeRequest(key=key, revision=revision) for key in keys]
        request = rpc.TxnRequest(success=[rpc.RequestOp(request_range=part) for part in ranges])
        try:
            answer = await self.client.call(lambda member: member.kv.Txn, request)
        except aio.AioRpcError as error:
            if is_too_large_here(error) and len(keys) > 1:
                raise _TooLargeError from error
            raise await self.error_of(error, revision) from error
        self.revision = max(self.revision, answer.header.revision)
        return answer

    def _record(self, kv: KeyValue) -> Record:
        return to_record(kv.key[len(self.layout.records) :], kv, self.client.url)


class _TooLargeError(Exception):
    """An answer did not fit into a message: ask for fewer records."""


def _next_page(answer: rpc.RangeResponse) -> int:
    """Returns how many records like those of this answer make a page."""
    record_bytes = max(answer.ByteSize() // len(answer.kvs), 1)
    return max(1, min(PAGE_BYTES // record_bytes, PAGE_RECORDS_MAX))


def ahead(revision: int, newest: int) -> RevisionAheadError:
    return RevisionAheadError(
        f"revision {revision} is ahead of the store, which is at {newest}: was it restored?", revision=newest
    )


def check_not_negative(*revisions: int) -> None:
    for revision in revisions:
        if revision < 0:
            raise InvalidArgumentError(f"revision {revision} is negative")
