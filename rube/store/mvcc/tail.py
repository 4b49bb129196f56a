"""The newest rows, held once for all watchers and readers, so that a watch costs the store a cursor and no buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rube.store.mvcc.log import Row
from rube.store.ports import Change

# What a change costs beside its key and value.
_CHANGE_OVERHEAD_BYTES = 200


class _Entry:
    __slots__ = ("change", "cost_bytes", "row")

    def __init__(self, row: Row, cost_bytes: int) -> None:
        self.row = row
        self.cost_bytes = cost_bytes
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
        self._entries: deque[_Entry] = deque()
        self._rows: dict[int, Row] = {}

    def extend(self, rows: Sequence[Row]) -> None:
        for row in rows:
            cost_bytes = _cost_bytes(row)
            self._entries.append(_Entry(row, cost_bytes))
            self._rows[row.position] = row
            self._bytes += cost_bytes
        while self._bytes > self._tail_bytes_max:
            self._drop_oldest_revision()

    def row(self, position: int) -> Row | None:
        """The row at that position if it is here."""
        return self._rows.get(position)

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
        reaches back far enough and holds something newer.
        """
        found: list[Change] = []
        revision = 0
        for entry in self._newer(after_position):
            row = entry.row
            if len(found) >= changes_max and row.revision != revision:
                break
            revision = row.revision
            if start <= row.key < end:
                if entry.change is None:
                    entry.change = make(row)
                    previous_bytes = len(entry.change.previous.value) if entry.change.previous else 0
                    entry.cost_bytes += previous_bytes
                    self._bytes += previous_bytes
                found.append(entry.change)
        return found, revision

    def _newer(self, position: int) -> list[_Entry]:
        """The entries after that position, oldest first: found from the end, where a watch that keeps up reads."""
        newest = []
        for entry in reversed(self._entries):
            if entry.row.position <= position:
                break
            newest.append(entry)
        newest.reverse()
        return newest

    def _drop_oldest_revision(self) -> None:
        revision = self._entries[0].row.revision
        while self._entries and self._entries[0].row.revision == revision:
            dropped = self._entries.popleft()
            del self._rows[dropped.row.position]
            self._bytes -= dropped.cost_bytes
        self.start_revision = revision


def _cost_bytes(row: Row) -> int:
    return len(row.key) + len(row.value or b"") + _CHANGE_OVERHEAD_BYTES
