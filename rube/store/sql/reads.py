"""Reads, each a single statement, so that head and rows are of one state."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from rube.api.errors import CompactedError
from rube.store.mvcc.log import SUB_BITS, position_of
from rube.store.ports import Change, Record
from rube.store.sql.durability import Barrier
from rube.store.sql.identity import Identity
from rube.store.sql.pool import Pool
from rube.store.sql.rows import (
    COLUMNS,
    COLUMNS_COUNT,
    HEAD_BYTES,
    Where,
    decode_change,
    decode_record,
    where_keys,
    where_range,
)
from rube.store.sql.schema import NO_HEAD, Head

ROWS_PER_STATEMENT_MAX = 4096
"""A longer range takes several statements, all at the first one's revision."""
KEYS_PER_STATEMENT_MAX = 256

# The number of the head row's columns after the first, which is the kind of row; they are numbers.
_HEAD_COUNT = 5
# The places of a key's head and tail in rows.COLUMNS.
_HEAD, _TAIL = 4, 5


class Chunk(NamedTuple):
    """Records in key order, as of `revision`, and the head row when they were read."""

    head: Head
    revision: int
    records: list[Record]
    more: bool


class Reads:
    """The reads of one store. They raise the errors of `Identity.check`."""

    def __init__(self, pool: Pool, identity: Identity, barrier: Barrier) -> None:
        self._pool = pool
        self._identity = identity
        self._barrier = barrier

    async def head(self) -> Head:
        return (await self._ask())[0]

    async def range(self, start: bytes, end: bytes | None, at: int, limit: int) -> Chunk:
        """Returns up to `limit` (0: all) records of start <= key < end as of `at` (0: newest). Raises
        CompactedError."""
        first = chunk = await self._range(start, end, at, _next_limit(limit, 0))
        records = chunk.records
        while chunk.more and (not limit or len(records) < limit):
            missing = _next_limit(limit, len(records))
            chunk = await self._range(records[-1].key + b"\0", end, first.revision, missing)
            records += chunk.records
        return first._replace(records=records, more=chunk.more)

    async def _range(self, start: bytes, end: bytes | None, at: int, limit: int) -> Chunk:
        """Returns the range by one statement; `limit` is not 0."""
        head, rows = await self._rows(where_range(start, end), at, f"ORDER BY {{0}}.head LIMIT {limit + 1}")
        at = at or head.revision
        rows.sort(key=_key)
        if len(rows) > limit and _is_long(rows[limit]) and rows[limit][_HEAD] == rows[limit - 1][_HEAD]:
            rows = await self._with_whole_group(rows, where_range(start, end), at, limit)
        return Chunk(head, at, [decode_record(row) for row in rows[:limit]], len(rows) > limit)

    async def _with_whole_group(self, rows: list[Any], within: Where, at: int, limit: int) -> list[Any]:
        """Reads again, by tail, the keys that share a whole head, if the statement has cut among them: they are not in
        key order."""
        head = rows[limit][_HEAD]
        before = [row for row in rows if row[_HEAD] != head]
        where = Where(f"{within.sql} AND {{0}}.head = %s", (*within.params, head))
        _, group = await self._rows(where, at, f"ORDER BY {{0}}.tail LIMIT {limit + 1 - len(before)}")
        return before + sorted(group, key=_key)

    async def lookup(self, keys: Sequence[bytes], at: int) -> Chunk:
        """Returns the records of the keys that exist as of `at` (0: newest)."""
        head, rows = await self._rows(where_keys(keys), at, "")
        return Chunk(head, at or head.revision, [decode_record(row) for row in rows], False)

    async def changes(
        self, where: Where, after_revision: int, changes_max: int, bytes_max: int
    ) -> tuple[Head, list[Change], int]:
        """Returns changes of those keys after that revision, and the revision that they reach.

        Whole revisions; they end with the revision that reaches either maximum. Raises CompactedError.
        """
        after = position_of(after_revision + 1) - 1
        head, sizes = await self._ask(
            f"SELECT 1, l.position, l.size, 0, 0, NULL FROM rube_log l "
            f"WHERE l.position > %s AND {where.sql.format('l')} ORDER BY l.position LIMIT {changes_max}",
            (after, *where.params),
            columns=_HEAD_COUNT,
        )
        _check_kept(head, after_revision)
        if not sizes:
            return head, [], max(head.revision, after_revision)
        last = _end_of(sorted((row[0], row[1]) for row in sizes), changes_max, bytes_max)
        reached = head.revision if last is None else last
        head, rows = await self._ask(
            f"SELECT 1, {COLUMNS.format('l')}, {COLUMNS.format('p')} FROM rube_log l "
            "LEFT JOIN rube_log p ON p.position = l.previous "
            f"WHERE l.position > %s AND l.position < %s AND {where.sql.format('l')} ORDER BY l.position",
            (after, position_of(reached + 1), *where.params),
            columns=2 * COLUMNS_COUNT,
        )
        _check_kept(head, after_revision)
        return head, [decode_change(row) for row in sorted(rows, key=itemgetter(0))], reached

    async def _rows(self, where: Where, at: int, order: str) -> tuple[Head, list[Any]]:
        if at and at == self._identity.revision:  # further pages of a list, while there are no writes
            head, rows = await self._newest_rows(where, order)
            if head.revision == at:
                return head, rows
        if at:
            before = position_of(at + 1)
            head, rows = await self._ask(
                f"SELECT 1, {COLUMNS.format('l')} FROM rube_log l "
                f"WHERE {where.sql.format('l')} AND l.position < %s AND l.value IS NOT NULL AND NOT EXISTS ("
                "SELECT 1 FROM rube_log n WHERE n.head = l.head AND n.tail = l.tail "
                f"AND n.position > l.position AND n.position < %s) {order.format('l')}",
                (*where.params, before, before),
            )
            _check_kept(head, at)
            return head, rows
        return await self._newest_rows(where, order)

    async def _newest_rows(self, where: Where, order: str) -> tuple[Head, list[Any]]:
        return await self._ask(
            f"SELECT 1, {COLUMNS.format('l')} FROM rube_current c JOIN rube_log l ON l.position = c.position "
            f"WHERE {where.sql.format('c')} {order.format('c')}",
            where.params,
        )

    async def _ask(
        self, select: str = "", params: Sequence[int | bytes] = (), columns: int = COLUMNS_COUNT
    ) -> tuple[Head, list[Any]]:
        """Returns the head and the rows of `select` (a 1, then so many columns) of one state, once they are durable."""
        statement = (
            f"SELECT 0, revision, compact_revision, swept_revision, 0, store_id{', NULL' * (columns - _HEAD_COUNT)}"
        )
        statement += " FROM rube_head WHERE id = 1"
        if select:
            statement += f" UNION ALL ({select})"
        known_revision = self._identity.revision
        rows = await self._pool.read(statement, params)
        heads = [Head(row[5].decode(), *row[1:4]) for row in rows if row[0] == 0]
        head = heads[0] if heads else NO_HEAD
        self._identity.check(head.store_id, head.revision, known_revision)
        await self._barrier.reach(head.revision)
        return head, [row[1:] for row in rows if row[0] == 1]


def _next_limit(limit: int, done: int) -> int:
    return min(limit - done, ROWS_PER_STATEMENT_MAX) if limit else ROWS_PER_STATEMENT_MAX


def _key(row: Sequence[Any]) -> bytes:
    return bytes(row[_HEAD] + row[_TAIL])


def _is_long(row: Sequence[Any]) -> bool:
    return len(row[_HEAD]) == HEAD_BYTES


def _check_kept(head: Head, revision: int) -> None:
    if revision < head.compact_revision:
        raise CompactedError(
            f"revision {revision} is compacted; the oldest is {head.compact_revision}: list again",
            oldest_revision=head.compact_revision,
        )


def _end_of(sizes: Sequence[tuple[int, int]], changes_max: int, bytes_max: int) -> int | None:
    """Returns the revision at which positions and sizes reach a maximum; None if they never do."""
    total_bytes = 0
    for number, (position, size_bytes) in enumerate(sizes, 1):
        total_bytes += size_bytes
        if number >= changes_max or total_bytes >= bytes_max:
            return position >> SUB_BITS
    return None
