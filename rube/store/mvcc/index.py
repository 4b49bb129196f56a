"""The key index: which revisions each key has. Synchronous and pure; values are not here."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from sortedcontainers import SortedList

from rube.store.mvcc.log import SUB_BITS, Row

# An entry is position << 1 | 1 for a delete, | 0 for a put: 64 bits.
_ENTRY_REVISION_SHIFT = SUB_BITS + 1


class History:
    """One key's entries, oldest first. Invariants: entries strictly grow; two deletes are never neighbours."""

    __slots__ = ("create_revision", "entries")

    def __init__(self) -> None:
        # Of the newest entry; 0 if that is a delete.
        self.create_revision = 0
        self.entries: array[int] = array("Q")


class Current(NamedTuple):
    """A key's newest write, if it is a put."""

    position: int
    create_revision: int

    @property
    def mod_revision(self) -> int:
        return self.position >> SUB_BITS


class KeyIndex:
    """Every key with its history, in key order. About 300 bytes a key with one revision, and 8 a further revision."""

    def __init__(self) -> None:
        self._histories: dict[bytes, History] = {}
        self._keys: SortedList[bytes] = SortedList()

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, row: Row) -> None:
        """Takes up a row; rows come in the order of their positions."""
        history = self._histories.get(row.key)
        if history is None:
            history = self._histories[row.key] = History()
            self._keys.add(row.key)
        assert not history.entries or history.entries[-1] >> 1 < row.position
        history.entries.append(row.position << 1 | (row.value is None))
        history.create_revision = row.create_revision

    def current(self, key: bytes) -> Current | None:
        """The key's newest put, or None if the key does not exist."""
        history = self._histories.get(key)
        if history is None or history.entries[-1] & 1:
            return None
        return Current(history.entries[-1] >> 1, history.create_revision)

    def newest_position(self, key: bytes) -> int:
        """The position of the key's newest put; 0 if the key does not exist."""
        history = self._histories.get(key)
        if history is None or history.entries[-1] & 1:
            return 0
        return history.entries[-1] >> 1

    def position_at(self, key: bytes, revision: int) -> int:
        """The position of the key's value as of `revision`; 0 if it did not exist then."""
        history = self._histories.get(key)
        return _position_at(history, revision) if history is not None else 0

    def positions_at(self, start: bytes, end: bytes, revision: int) -> Iterator[int]:
        """The positions of all values with start <= key < end as of `revision`, in key order."""
        if start >= end:
            return
        for key in self._keys.irange(start, end, inclusive=(True, False)):
            if position := _position_at(self._histories[key], revision):
                yield position

    def position_before(self, key: bytes, position: int) -> int:
        """The position of the value that the write at `position` replaced; 0 if there was none."""
        entries = self._histories[key].entries
        place = bisect_left(entries, position << 1)
        if place == 0 or entries[place - 1] & 1:
            return 0
        return entries[place - 1] >> 1

    def keys_from(self, start: bytes, count: int) -> list[bytes]:
        """Up to `count` keys that are not less than `start`, in order."""
        keys = self._keys.irange(start)
        return [key for key, _ in zip(keys, range(count), strict=False)]

    def superseded(self, key: bytes, revision: int) -> list[int]:
        """The positions, oldest first, that no read at or after `revision` can see."""
        history = self._histories.get(key)
        if history is None:
            return []
        entries = history.entries
        count = bisect_right(entries, _last_entry_of(revision))
        # The newest at or before `revision` is what a read there sees, unless it is a delete.
        kept = 1 if count and not entries[count - 1] & 1 else 0
        return [entry >> 1 for entry in entries[: count - kept]]

    def forget(self, key: bytes, count: int) -> None:
        """Drops the key's oldest `count` entries, and the key with its last one."""
        history = self._histories[key]
        del history.entries[:count]
        if not history.entries:
            del self._histories[key]
            self._keys.remove(key)


def _position_at(history: History, revision: int) -> int:
    entries = history.entries
    last = entries[-1]
    if last >> _ENTRY_REVISION_SHIFT > revision:
        place = bisect_right(entries, _last_entry_of(revision))
        if place == 0:
            return 0
        last = entries[place - 1]
    return 0 if last & 1 else last >> 1


def _last_entry_of(revision: int) -> int:
    return ((revision + 1) << _ENTRY_REVISION_SHIFT) - 1
