"""The readable state of a store: reads at revisions and watches, over the log in its engine and the index in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

from rube.api.errors import CompactedError, DataLossError, InvalidArgumentError, RevisionAheadError, UnavailableError
from rube.host import Clock, EngineView
from rube.store.checksums import SALVAGE
from rube.store.config import StoreConfig
from rube.store.mvcc.log import SUB_BITS, DamagedRow, Row, decode_row, log_key, position_of, read_row
from rube.store.mvcc.recovery import StoreState
from rube.store.mvcc.tail import RowTail
from rube.store.mvcc.watch import follow
from rube.store.ports import Change, ChangeBatch, Lookup, Page, Record

RECORDS_PER_STEP_MAX = 256
"""A longer read lets others run once in so many records."""
READ_RETRIES_MAX = 3
"""A read of the newest revision starts again so often if compaction overtakes it."""
# The tail of a small store is small, so that it costs little compared with the stored data.
TAIL_BYTES_MIN = 2 * 1024 * 1024
TAIL_BYTES_PER_KEY_MAX = 300


class Versions:
    """The reading half of a store. The writer makes rows visible with `show`, and ends it with `close`."""

    def __init__(self, engine: EngineView, clock: Clock, state: StoreState, config: StoreConfig) -> None:
        self._engine = engine
        self._clock = clock
        self._config = config
        self.state = state
        self._tail = RowTail(state.revision)
        self._advanced = asyncio.Event()
        self.closed = False

    @property
    def revision(self) -> int:
        return self.state.revision

    def show(self, rows: Sequence[Row], revision: int) -> None:
        """Makes those rows visible as the store's newest."""
        self.state.index.extend(rows)
        tail_bytes_max = max(TAIL_BYTES_MIN, TAIL_BYTES_PER_KEY_MAX * len(self.state.index))
        self._tail.extend(rows, min(tail_bytes_max, self._config.tail_bytes_max))
        self.state.revision = revision
        self._wake()

    def close(self) -> None:
        """Ends watches and refuses reads."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._advanced = self._advanced, asyncio.Event()
        waiting.set()

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0) -> Lookup:
        self.check_reached(min_revision)
        index = self.state.index
        # Compaction keeps the newest rows, and nothing runs in between.
        return Lookup([self._at(index.newest_position(key)) for key in keys], self.state.revision)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        self.check_reached(revision)
        self.check_reached(min_revision)
        for _ in range(READ_RETRIES_MAX):
            at = revision or self.state.revision
            self._check_kept(at)
            positions = self._positions(start, end, at, limit)
            more = 0 < limit < len(positions)
            records = await self._read_all(positions[:limit] if more else positions)
            if records is not None:
                return Page(records, at, more)
        raise CompactedError(
            "compaction overtook the read: ask for fewer records at a time",
            oldest_revision=self.state.compact_revision,
        )

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return follow(self, self._clock, start, end, after_revision, self._config.bookmark_interval_s)

    async def check_resumable(self, after_revision: int) -> None:
        """Raises an error unless a watch can go on after that revision."""
        self.check_reached(after_revision)
        self._check_kept(after_revision)

    async def changes(self, start: bytes, end: bytes, after_revision: int) -> tuple[list[Change], int]:
        """Returns the next changes of a watch: from the tail, or from the log if the tail does not reach back so
        far."""
        after = position_of(after_revision + 1) - 1
        if after_revision >= self._tail.start_revision:
            return self._tail.changes(start, end, after, self._config.watch_changes_max, self.revision, self._change)
        return self._changes_from_log(start, end, after_revision)

    async def advanced(self, revision: int) -> None:
        """Returns when the store is past that revision, or closed."""
        while self.state.revision <= revision and not self.closed:
            await self._advanced.wait()

    def check_reached(self, revision: int) -> None:
        """Raises RevisionAheadError, UnavailableError once closed, InvalidArgumentError."""
        self.check_open()
        if revision < 0:
            raise InvalidArgumentError(f"revision {revision} is negative")
        if revision > self.state.revision:
            raise RevisionAheadError(
                f"revision {revision} is ahead of the store, which is at {self.state.revision}: was it restored?",
                revision=self.state.revision,
            )

    def check_open(self) -> None:
        if self.closed:
            raise UnavailableError("the store is closed")

    def _positions(self, start: bytes, end: bytes | None, revision: int, limit: int) -> list[int]:
        """Returns one more than `limit` positions, which shows whether there are more."""
        index = self.state.index
        if end is None:
            position = index.position_at(start, revision)
            return [position] if position else []
        found = index.positions_at(start, end, revision)
        return list(islice(found, limit + 1) if limit else found)

    async def _read_all(self, positions: list[int]) -> list[Record] | None:
        """Returns the records; None if compaction has deleted one meanwhile."""
        records = []
        for count, position in enumerate(positions, start=1):
            row = self._read(position)
            if row is None:
                return None
            records.append(row.to_record())
            if count % RECORDS_PER_STEP_MAX == 0:
                await self._clock.sleep(0)
                self.check_open()
        return records

    def _read(self, position: int) -> Row | None:
        row = self._tail.row(position)
        if row is None:
            data = self._engine.get(log_key(position))
            row = decode_row(position, data) if data is not None else None
        return row

    def _at(self, position: int) -> Record | None:
        """Returns the record at a position that cannot have been compacted; None for position 0."""
        if not position:
            return None
        row = self._read(position)
        if row is None:
            raise DataLossError(f"the row of revision {position >> SUB_BITS} is missing: {SALVAGE}")
        return row.to_record()

    def _change(self, row: Row) -> Change:
        previous = self._at(self.state.index.position_before(row.key, row.position))
        return Change(row.to_record(), row.value is None, previous)

    def _changes_from_log(self, start: bytes, end: bytes, after_revision: int) -> tuple[list[Change], int]:
        found: list[Change] = []
        reached, rows, size_bytes = after_revision, 0, 0
        for row in self._rows_after(after_revision, start, end):
            full = rows >= self._config.watch_changes_max or size_bytes >= self._config.watch_bytes_max
            if full and row.revision != reached:
                return found, reached
            reached, rows, size_bytes = row.revision, rows + 1, size_bytes + len(row.value or b"")
            if start <= row.key < end:
                found.append(self._change(row))
        return found, self.state.revision

    def _rows_after(self, revision: int, first: bytes, last: bytes) -> Iterator[Row]:
        """Yields the log's rows after that revision, read in steps. A damaged row of a key outside `first` to `last` is
        ignored."""
        start, end = position_of(revision + 1), position_of(self.state.revision + 1)
        while start < end:
            count = 0
            for key, data in self._engine.scan(log_key(start), log_key(end), limit=RECORDS_PER_STEP_MAX):
                start = int.from_bytes(key, "big")
                row = read_row(start, data)
                if isinstance(row, DamagedRow):
                    if row.head is None or first <= row.key < last:
                        raise row.error()
                    row = row.head
                yield row
                count += 1
            if count < RECORDS_PER_STEP_MAX:
                return
            start += 1

    def _check_kept(self, revision: int) -> None:
        if revision < self.state.compact_revision:
            raise CompactedError(
                f"revision {revision} is compacted; the oldest is {self.state.compact_revision}: list again",
                oldest_revision=self.state.compact_revision,
            )
