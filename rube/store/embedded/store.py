"""The store on an engine: log, index, writer, tail and watches joined together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from rube.api.errors import RubeError
from rube.host import Clock, Engine, Randomness
from rube.store.config import StoreConfig
from rube.store.guard import never_failed
from rube.store.mvcc.compaction import delete_superseded
from rube.store.mvcc.evaluate import Group, check_txn
from rube.store.mvcc.log import encode_rows
from rube.store.mvcc.recovery import StoreState, compaction_mark, recover
from rube.store.mvcc.versions import Versions
from rube.store.mvcc.writer import Committed, GroupWriter
from rube.store.ports import ChangeBatch, Lookup, Page, StoreLimits, Txn


class MvccStore:
    """`rube.store.Store` on one engine. The only user of that engine; `close` closes both."""

    def __init__(self, engine: Engine, clock: Clock, state: StoreState, config: StoreConfig) -> None:
        self._engine = engine
        self._clock = clock
        self._config = config
        self._state = state
        self._versions = Versions(engine, clock, state, config)
        self._compacting = asyncio.Lock()
        self._writer = GroupWriter(self._commit_group)

    @classmethod
    async def open(
        cls, engine: Engine, *, clock: Clock, random: Randomness, config: StoreConfig | None = None
    ) -> MvccStore:
        """Reads the log and starts the writer. Closes the engine if that fails."""
        try:
            return cls(engine, clock, await recover(engine, random), config or StoreConfig())
        except BaseException:
            await engine.close()
            raise

    @property
    def limits(self) -> StoreLimits:
        return self._config.limits

    @property
    def store_id(self) -> str:
        return self._state.store_id

    @property
    def revision(self) -> int:
        return self._state.revision

    @property
    def compact_revision(self) -> int:
        """The oldest revision that can be read and resumed from."""
        return self._state.compact_revision

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        return await self._versions.get(keys, min_revision=min_revision)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        # This store is the only one: no other has reached a newer revision.
        return await self._versions.range(start, end, revision=revision, min_revision=min_revision, limit=limit)

    async def commit(self, txn: Txn) -> int:
        self._versions.check_open()
        return await self._writer.commit(txn, check_txn(txn, self._config.limits))

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return self._versions.watch(start, end, after_revision=after_revision)

    async def compact(self, revision: int) -> None:
        """Raises RevisionAheadError past the newest revision. Compacting again to an older one changes nothing."""
        self._versions.check_reached(revision)
        async with self._compacting:
            if revision > self._state.compact_revision:
                # First, and durable: from here on no read sees the rows that will be deleted.
                await self._engine.commit([compaction_mark(revision)])
                self._state.compact_revision = revision
            await delete_superseded(self._engine, self._state.index, self._clock, self._state.compact_revision)

    async def failed(self) -> RubeError:
        return await never_failed()

    async def close(self) -> None:
        if self._versions.closed:
            return
        self._versions.closed = True
        await self._writer.close()
        self._versions.close()
        async with self._compacting:
            await self._engine.close()

    async def _commit_group(self, txns: Sequence[Txn]) -> Committed:
        group = Group(self._state.index, self._state.revision)
        outcomes = [group.add(txn) for txn in txns]
        if group.rows:
            await self._engine.commit(encode_rows(group.rows, heads=self._state.heads))
            self._versions.show(group.rows, group.revision)
        return Committed(outcomes, wrote=bool(group.rows))
