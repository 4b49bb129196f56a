"""The SQL store: pool, committer, reads and poller joined together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from rube.api.errors import CompactedError, InvalidArgumentError, RevisionAheadError, RubeError, UnavailableError
from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.mvcc.evaluate import check_txn
from rube.store.mvcc.watch import follow
from rube.store.mvcc.writer import Committed, GroupWriter
from rube.store.ports import ChangeBatch, Lookup, Page, Record, StoreLimits, Txn
from rube.store.sql import compaction
from rube.store.sql.durability import Barrier, NoBarrier
from rube.store.sql.identity import Identity
from rube.store.sql.poller import Poller
from rube.store.sql.pool import Pool
from rube.store.sql.reads import KEYS_PER_STATEMENT_MAX, Reads
from rube.store.sql.schema import Head, Server, value_bytes_max
from rube.store.sql.transaction import Committer

READ_TRIES_MAX = 3
"""A read of the newest revision starts again so often if compaction overtakes it."""


class SqlStore:
    """A `rube.store.Store` in one database, which other processes may use too. `close` closes its connections."""

    def __init__(self, host: Host, pool: Pool, head: Head, server: Server, config: StoreConfig) -> None:
        self._clock = host.clock
        self._pool = pool
        self._config = config
        self._limits = limits_of(config.limits, server)
        self._identity = Identity(head.store_id, pool.target.place)
        self._revision = head.revision
        barrier = (NoBarrier if server.is_tidb else Barrier)(pool, self._identity, slot=int(host.random.uid()[:4], 16))
        self._reads = Reads(pool, self._identity, barrier)
        self._committer = Committer(pool, host.clock, host.random, self._identity, barrier)
        self._poller = Poller(self._reads, self._identity, host.clock, config, head)
        self._writer = GroupWriter(self._commit_group)
        self._compacting = asyncio.Lock()
        self._closed = False

    @property
    def limits(self) -> StoreLimits:
        return self._limits

    @property
    def store_id(self) -> str:
        return self._identity.store_id

    @property
    def revision(self) -> int:
        """The newest revision that this process knows."""
        return max(self._revision, self._poller.revision)

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        self._check(min_revision)
        for _ in range(READ_TRIES_MAX):
            try:
                return await self._lookup(keys, min_revision)
            except CompactedError as error:
                overtaken = error
        raise overtaken

    async def _lookup(self, keys: Sequence[bytes], min_revision: int) -> Lookup:
        found: dict[bytes, Record] = {}
        at = 0
        for first in range(0, len(keys) or 1, KEYS_PER_STATEMENT_MAX):
            part = keys[first : first + KEYS_PER_STATEMENT_MAX]
            chunk = await self._reads.lookup(part, at)
            self._seen(chunk.head, min_revision)
            at = chunk.revision
            found |= {record.key: record for record in chunk.records}
        return Lookup([found.get(key) for key in keys], at)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        self._check(revision)
        self._check(min_revision)
        for _ in range(READ_TRIES_MAX):
            try:
                chunk = await self._reads.range(start, end, revision, limit)
            except CompactedError as error:
                if revision:
                    raise
                overtaken = error
            else:
                self._seen(chunk.head, max(revision, min_revision))
                return Page(chunk.records, chunk.revision, chunk.more)
        raise overtaken

    async def commit(self, txn: Txn) -> int:
        self._check(0)
        return await self._writer.commit(txn, check_txn(txn, self._limits))

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        self._check(after_revision)
        async with self._poller.watching():
            batches = follow(self._poller, self._clock, start, end, after_revision, self._config.bookmark_interval_s)
            async with aclosing(batches):
                async for batch in batches:
                    yield batch

    async def compact(self, revision: int) -> None:
        """Compacts. Raises RevisionAheadError past the newest revision. Compacting again to an older one changes
        nothing."""
        self._check(revision)
        async with self._compacting:
            self._seen(await self._reads.head(), revision)
            await compaction.mark(self._pool, self._clock, revision)
            head = await self._reads.head()
            self._poller.compacted(head.compact_revision)
            await compaction.sweep(self._pool, self._clock, head)

    async def failed(self) -> RubeError:
        """Returns when the database holds another store, or an older state of this one."""
        return await self._identity.over()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._poller.close()
        async with self._compacting:
            self._pool.close()

    async def _commit_group(self, txns: Sequence[Txn]) -> Committed:
        committed = await self._committer.commit(txns)
        newest = max((outcome for outcome in committed.outcomes if isinstance(outcome, int)), default=0)
        self._revision = max(self._revision, newest)
        if committed.wrote:
            self._poller.wake()
        return committed

    def _check(self, revision: int) -> None:
        if self._closed:
            raise UnavailableError("the store is closed")
        if revision < 0:
            raise InvalidArgumentError(f"revision {revision} is negative")

    def _seen(self, head: Head, min_revision: int) -> None:
        """Notes the database's state. Raises RevisionAheadError for a revision that it has not reached: no other store
        has."""
        self._revision = max(self._revision, head.revision)
        if min_revision > head.revision:
            raise RevisionAheadError(
                f"revision {min_revision} is ahead of the store, which is at {head.revision}: was it restored?",
                revision=head.revision,
            )


def limits_of(wanted: StoreLimits, server: Server) -> StoreLimits:
    return StoreLimits(
        txn_ops_max=wanted.txn_ops_max,
        txn_bytes_max=wanted.txn_bytes_max,
        value_bytes_max=min(wanted.value_bytes_max, value_bytes_max(server)),
    )
