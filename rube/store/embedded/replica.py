"""A store that follows another one: its newest revisions, in memory, under the numbers that they have there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from rube.api.errors import RubeError, UnimplementedError
from rube.host import Clock
from rube.store.config import StoreConfig
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from rube.store.guard import never_failed
from rube.store.mvcc.compaction import delete_superseded
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import Row, encode_rows, position_of
from rube.store.mvcc.recovery import StoreState
from rube.store.mvcc.versions import Versions
from rube.store.ports import ChangeBatch, Lookup, Page, Record, StoreLimits, Txn


class Written(NamedTuple):
    """One write of the other store. `value` None: a delete, whose `create_revision` is 0."""

    key: bytes
    value: bytes | None
    create_revision: int
    revision: int


class ReplicaStore:
    """A `rube.store.Store` without commits of its own: `apply` feeds it with what the other store has committed.

    Its reads and watches show what it has; how new that is, its owner knows. Revisions before the one that it began
    with count as compacted.
    """

    def __init__(self, engine: MemoryEngine, clock: Clock, state: StoreState, config: StoreConfig) -> None:
        self._engine = engine
        self._clock = clock
        self._config = config
        self._state = state
        self._versions = Versions(engine, clock, state, config)
        self._compacting = asyncio.Lock()

    @classmethod
    async def open(
        cls, clock: Clock, *, store_id: str, revision: int, records: Iterable[Record], config: StoreConfig | None = None
    ) -> ReplicaStore:
        """Begins with all records of the other store as of `revision`, in any order."""
        engine = await MemoryEngine.open(VolatileDisk(), "replica")
        begun = sorted(records, key=lambda record: record.mod_revision)
        rows = _rows(Written(key, value, created, modified) for key, value, created, modified in begun)
        await engine.commit(encode_rows(rows))
        index = KeyIndex()
        index.extend(rows)
        state = StoreState(store_id=store_id, revision=revision, compact_revision=revision, index=index)
        return cls(engine, clock, state, config or StoreConfig())

    async def apply(self, writes: Sequence[Written], revision: int) -> None:
        """Adds all writes after the present revision up to `revision`, in their order; none: only the revision has
        grown. One caller at a time."""
        if revision <= self.revision:
            return
        rows = _rows(writes)
        assert not rows or self.revision < rows[0].revision <= rows[-1].revision <= revision, "they follow"
        if rows:
            await self._engine.commit(encode_rows(rows))
        self._versions.show(rows, revision)

    async def reached(self, revision: int) -> None:
        """Returns once the store has that revision, or is closed."""
        await self._versions.advanced(revision - 1)

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
        return await self._versions.range(start, end, revision=revision, min_revision=min_revision, limit=limit)

    async def commit(self, txn: Txn) -> int:
        """Raises UnimplementedError: writes belong to the other store."""
        raise UnimplementedError("a copy of a store cannot be written to: write to the store")

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return self._versions.watch(start, end, after_revision=after_revision)

    async def compact(self, revision: int) -> None:
        self._versions.check_reached(revision)
        async with self._compacting:
            self._state.compact_revision = max(revision, self._state.compact_revision)
            await delete_superseded(self._engine, self._state.index, self._clock, self._state.compact_revision)

    async def failed(self) -> RubeError:
        return await never_failed()

    async def close(self) -> None:
        """Ends watches and refuses reads."""
        self._versions.close()
        async with self._compacting:
            await self._engine.close()


def _rows(writes: Iterable[Written]) -> list[Row]:
    """Returns the rows of writes, in the order of their revisions: each gets its place in its revision."""
    rows: list[Row] = []
    revision, sub = 0, 0
    for key, value, create_revision, written in writes:
        sub = sub + 1 if written == revision else 0
        revision = written
        rows.append(Row(position_of(revision, sub), key, value, create_revision))
    return rows
