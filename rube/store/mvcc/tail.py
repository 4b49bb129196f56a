"""The newest changes, held once for all watchers, so that a watch costs the store a cursor and no buffer."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence

from rube.store.mvcc.log import Row
from rube.store.ports import Change

# What a change costs beside its key and value.
_CHANGE_OVERHEAD_BYTES = 200


class _Entry:
    __slots__ = ("change", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        # Made when the first watcher asks, since the previous value may have to be read.
        self.change: Change | None = None


class Tail:
    """Rows of the newest commits, oldest first, up to `tail_bytes_max` in all.

    Invariant: for every revision after `start_revision` all of its rows are here.
    """

    def __init__(self, start_revision: int, tail_bytes_max: int) -> None:
        self.start_revision = start_revision
        self._tail_bytes_max = tail_bytes_max
        self._bytes = 0
        self._positions: list[int] = []
        self._entries: list[_Entry] = []
        # Entries before this place are dropped already; cut off in bulk.
        self._first = 0

    def extend(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._positions.append(row.position)
            self._entries.append(_Entry(row))
            self._bytes += _cost(row)
        while self._bytes > self._tail_bytes_max:
            self._drop_oldest_revision()
        if self._first > len(self._entries) // 2:
            del self._positions[: self._first], self._entries[: self._first]
            self._first = 0

    def changes(
        self,
        start: bytes,
        end: bytes,
        after_position: int,
        changes_max: int,
        make: Callable[[Row], Change],
    ) -> tuple[list[Change], int]:
        """The matching changes after that position, and the revision they reach: all of each revision.

        Stops at the end of the revision in which `changes_max` is reached. The caller makes sure that the tail
        reaches back far enough.
        """
        place = bisect_right(self._positions, after_position, lo=self._first)
        found: list[Change] = []
        revision = 0
        for entry in self._entries[place:]:
            row = entry.row
            if len(found) >= changes_max and row.revision != revision:
                return found, revision
            revision = row.revision
            if start <= row.key < end:
                if entry.change is None:
                    entry.change = make(row)
                found.append(entry.change)
        return found, revision

    def _drop_oldest_revision(self) -> None:
        revision = self._entries[self._first].row.revision
        while self._first < len(self._entries) and self._entries[self._first].row.revision == revision:
            self._bytes -= _cost(self._entries[self._first].row)
            # The entry's memory goes now, its place later.
            self._entries[self._first] = _DROPPED
            self._first += 1
        self.start_revision = revision


_DROPPED = _Entry(Row(0, b"", None, 0))


class RowCache:
    """Rows by position, the oldest dropped first once they hold more than `cache_bytes_max`."""

    def __init__(self, cache_bytes_max: int) -> None:
        self._cache_bytes_max = cache_bytes_max
        self._bytes = 0
        self._rows: dict[int, Row] = {}
        self._order: deque[int] = deque()

    def get(self, position: int) -> Row | None:
        return self._rows.get(position)

    def add(self, row: Row) -> None:
        if row.position in self._rows:
            return
        self._rows[row.position] = row
        self._order.append(row.position)
        self._bytes += _cost(row)
        while self._bytes > self._cache_bytes_max:
            self._bytes -= _cost(self._rows.pop(self._order.popleft()))


def _cost(row: Row) -> int:
    return len(row.key) + len(row.value or b"") + _CHANGE_OVERHEAD_BYTES
