"""The check of a store's rows against their checksums and against each other, past all damage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from rube.api.errors import DataLossError
from rube.host import Clock, Engine, EngineView
from rube.store.backends import Checked, Damage
from rube.store.mvcc.log import SUB_BITS, DamagedRow, Row, log_key, read_row
from rube.store.mvcc.recovery import LOG_RANGE, check_format, read_header

ROWS_PER_STEP_MAX = 256


class _Unreadable(NamedTuple):
    """A part of the log, start <= position < end, that the engine cannot read."""

    start: int
    end: int
    why: str


async def check_engine(engine: Engine, clock: Clock, name: str) -> AsyncIterator[Checked]:
    """Runs `Backend.verify` on the store in that engine. Raises FailedPreconditionError if there is none, or another
    kind of data."""
    compact_revision = 0
    for finding in engine.inspect():
        yield Checked(0, 0, Damage(name, finding))
    try:
        check_format(engine)
        header = read_header(engine)
        compact_revision = header.compact_revision if header else 0
    except DataLossError as error:
        yield Checked(0, 0, Damage(name, error.message))
    history = _History(compact_revision)
    progress = _Progress(engine)
    records = 0
    for found in _rows(engine):
        if isinstance(found, _Unreadable):
            history.lose()
            first, last = found.start >> SUB_BITS, found.end - 1 >> SUB_BITS
            where = f"revisions {first} to {last}" if first < last else f"a part of revision {first}"
            yield Checked(records, 0, Damage(where, f"cannot be read: {found.why}"))
            continue
        position, data = found
        records += 1
        row = read_row(position, data)
        if not isinstance(row, DamagedRow):
            wrong = history.add(row)
        else:
            wrong = history.add(row.head) if row.head is not None else history.lose(position)
            wrong.append(Damage(f"revision {row.revision}, key {row.key[:256]!r}", _CHECKSUM))
        for damage in wrong:
            yield Checked(records, progress.total(records, position), damage)
        if records % ROWS_PER_STEP_MAX == 0:
            yield Checked(records, progress.total(records, position))
            await clock.sleep(0)
    yield Checked(records, records)


_CHECKSUM = "the stored row does not match its checksum"


class _History:
    """The history of the rows read so far, which decides whether the next row can follow."""

    def __init__(self, compact_revision: int) -> None:
        self._compact_revision = compact_revision
        # The create revision of each key; 0 for a deleted one.
        self._created: dict[bytes, int] = {}
        self._position = 0
        # Rows are missing, so other rows may lack those that they follow.
        self._lost = False

    def lose(self, position: int = 0) -> list[Damage]:
        """Notes that a row is damaged, or (position 0) an unknown number of rows."""
        self._lost = True
        self._position = position
        return []

    def add(self, row: Row) -> list[Damage]:
        where = f"revision {row.revision}, key {row.key[:256]!r}"
        wrong = [Damage(where, what) for what in (self._gap(row), self._misfit(row)) if what]
        self._position = row.position
        self._created[row.key] = row.create_revision
        return wrong

    def _gap(self, row: Row) -> str:
        """Returns the missing rows before this one: after the compaction revision none is deleted, and revisions and
        the positions in one have no gaps."""
        before, revision = self._position, row.revision
        if revision <= self._compact_revision or (not before and self._lost):
            return ""
        newest = max(before >> SUB_BITS, self._compact_revision)
        expected = before + 1 if before >> SUB_BITS == revision else newest + 1 << SUB_BITS
        if row.position == expected:
            return ""
        self._lost = True
        return f"rows before it are missing, from revision {expected >> SUB_BITS} on"

    def _misfit(self, row: Row) -> str:
        if self._lost:
            return ""
        created, revision = self._created.get(row.key), row.revision
        if row.value is None:
            if created == 0 or (created is None and revision > self._compact_revision):
                return "is a delete of what did not exist"
        elif not 0 < row.create_revision <= revision:
            return f"says that it was created at revision {row.create_revision}"
        elif created and row.create_revision != created:
            return f"says that it was created at revision {row.create_revision}, but earlier rows say {created}"
        elif not created and row.create_revision != revision and row.create_revision > self._compact_revision:
            return f"says that it was created at revision {row.create_revision}, but no row confirms that"
        return ""


class _Progress:
    """An estimate of the number of all rows, from the last position read."""

    def __init__(self, engine: EngineView) -> None:
        try:
            first = next(engine.scan(*LOG_RANGE, limit=1), None)
            last = next(engine.scan(*LOG_RANGE, limit=1, reverse=True), None)
        except DataLossError:
            first = last = None
        self._first = int.from_bytes(first[0], "big") if first else 0
        self._span = int.from_bytes(last[0], "big") - self._first if last else 0

    def total(self, records: int, position: int) -> int:
        if not self._span:
            return 0
        return max(records, round(records * self._span / max(1, position - self._first)))


def _rows(engine: EngineView) -> Iterator[tuple[int, bytes] | _Unreadable]:
    """Yields the log's rows, and the parts that the engine cannot read."""
    start, end = (int.from_bytes(bound, "big") for bound in LOG_RANGE)
    limit = ROWS_PER_STEP_MAX
    while start < end:
        count = 0
        try:
            for key, data in engine.scan(log_key(start), log_key(end), limit=limit):
                start = int.from_bytes(key, "big") + 1
                count += 1
                yield start - 1, data
        except DataLossError as error:
            if limit > 1:
                limit = 1  # an engine reads ahead: the rows before the damage are readable
                continue
            hole = _Unreadable(start, _readable_from(engine, start, end), error.message)
            yield hole
            start, limit = hole.end, ROWS_PER_STEP_MAX
            continue
        if count < limit:
            return


def _readable_from(engine: EngineView, start: int, end: int) -> int:
    """Returns about the first position after `start` from which the engine can be read again; `end` if there is
    none."""
    bad, step = start, 1
    while (good := min(bad + step, end)) < end and not _is_readable(engine, good, end):
        bad, step = good, step * 2
    while good - bad > 1:
        middle = (good + bad) // 2
        if _is_readable(engine, middle, end):
            good = middle
        else:
            bad = middle
    return good


def _is_readable(engine: EngineView, start: int, end: int) -> bool:
    try:
        next(engine.scan(log_key(start), log_key(end), limit=1), None)
    except DataLossError:
        return False
    return True
