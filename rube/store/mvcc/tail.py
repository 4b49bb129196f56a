"""The newest rows, held once for all watches and reads, so that a watch costs the store a cursor and no buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rube.store.mvcc.log import Row
from rube.store.ports import Change

# Bytes of a change besides its key and value.
_CHANGE_OVERHEAD_BYTES = 200


class RowTail:
    """Rows of the newest commits, oldest first, up to a bound in bytes.

    Invariant: for every revision after `start_revision` all of its rows are here.
    """

    def __init__(self, start_revision: int) -> None:
        self.start_revision = start_revision
        self._bytes = 0
        self._rows: deque[Row] = deque()
        self._by_position: dict[int, Row] = {}
        # Changes, made when the first watch asks, since the previous value may have to be read.
        self._changes: dict[int, Change] = {}

    def extend(self, rows: Sequence[Row], tail_bytes_max: int) -> None:
        """Adds rows, and drops the oldest beyond that bound."""
        self._rows.extend(rows)
        for row in rows:
            self._by_position[row[0]] = row
            self._bytes += _cost_bytes(row)
        while self._bytes > tail_bytes_max:
            self._drop_oldest_revision()

    def row(self, position: int) -> Row | None:
        """Returns the row at that position if it is here."""
        return self._by_position.get(position)

    def changes(
        self,
        start: bytes,
        end: bytes,
        after_position: int,
        changes_max: int,
        newest: int,
        make: Callable[[Row], Change],
    ) -> tuple[list[Change], int]:
        """Returns the matching changes after that position, and the revision that they reach: whole revisions, in the
        end `newest`, which may be past the newest row.

        Stops at the end of the revision in which `changes_max` is reached. The caller makes sure that the tail reaches
        back far enough.
        """
        found: list[Change] = []
        revision = 0
        for row in self._newer(after_position):
            if len(found) >= changes_max and row.revision != revision:
                return found, revision
            revision = row.revision
            if start <= row.key < end:
                change = self._changes.get(row.position)
                if change is None:
                    change = self._changes[row.position] = make(row)
                    self._bytes += _previous_bytes(change)
                found.append(change)
        return found, newest

    def _newer(self, position: int) -> list[Row]:
        """Returns the rows after that position, oldest first: searched from the end, where a watch that keeps up
        reads."""
        newest = []
        for row in reversed(self._rows):
            if row.position <= position:
                break
            newest.append(row)
        newest.reverse()
        return newest

    def _drop_oldest_revision(self) -> None:
        revision = self._rows[0].revision
        while self._rows and self._rows[0].revision == revision:
            dropped = self._rows.popleft()
            del self._by_position[dropped.position]
            self._bytes -= _cost_bytes(dropped)
            if self._changes and (change := self._changes.pop(dropped.position, None)):
                self._bytes -= _previous_bytes(change)
        self.start_revision = revision


def _cost_bytes(row: Row) -> int:
    _, key, value, _ = row
    return len(key) + (len(value) if value else 0) + _CHANGE_OVERHEAD_BYTES


def _previous_bytes(change: Change) -> int:
    return len(change.previous.value) if change.previous else 0
