"""The key index: the revisions of each key. Synchronous and pure; it holds no values."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedList

from rube.store.mvcc.log import SUB_BITS, Row

# An entry is position << 1 | 1 for a delete, | 0 for a put: 64 bits.
_ENTRY_REVISION_SHIFT = SUB_BITS + 1


class Current(NamedTuple):
    """A key's newest write, if it is a put."""

    position: int
    create_revision: int

    @property
    def mod_revision(self) -> int:
        return self.position >> SUB_BITS


class KeyIndex:
    """Every key with its entries, in key order.

    A key that was written once costs an integer and three references, about 100 bytes beside its own; each further
    revision 8 bytes, after about 150 for the first.
    """

    def __init__(self) -> None:
        # The newest entry of every key.
        self._newest: dict[bytes, int] = {}
        # Its older entries, oldest first, if there are any. Entries strictly grow; two deletes are never neighbours.
        self._older: dict[bytes, array[int]] = {}
        # The create revision of every key whose newest entry is a put other than the one that created it.
        self._created: dict[bytes, int] = {}
        # The keys in order, without those that are new since the last read of a range: most new keys are not read in
        # order before more come, and sorting many at once costs a fraction of inserting each.
        self._sorted: SortedList[bytes] = SortedList()
        self._unsorted: list[bytes] = []

    def __len__(self) -> int:
        return len(self._newest)

    def count_current(self) -> int:
        """Returns the number of existing keys."""
        return sum(1 for entry in self._newest.values() if not entry & 1)

    def append(self, row: Row) -> None:
        """Adds a row; rows come in the order of their positions."""
        self.extend((row,))

    def extend(self, rows: Iterable[Row]) -> None:
        """Adds rows, in the order of their positions."""
        newest, older, created = self._newest, self._older, self._created
        for position, key, value, create_revision in rows:
            entry = position << 1 | (value is None)
            before = newest.get(key)
            newest[key] = entry
            if before is None:
                self._unsorted.append(key)
            else:
                assert before >> 1 < position
                entries = older.get(key)
                if entries is None:
                    older[key] = array("Q", (before,))
                else:
                    entries.append(before)
            if value is not None and create_revision != position >> SUB_BITS:
                created[key] = create_revision
            elif before is not None:
                created.pop(key, None)

    def current(self, key: bytes) -> Current | None:
        """Returns the key's newest put; None if the key does not exist."""
        entry = self._newest.get(key)
        if entry is None or entry & 1:
            return None
        return Current(entry >> 1, self._created.get(key, entry >> _ENTRY_REVISION_SHIFT))

    def newest_position(self, key: bytes) -> int:
        """Returns the position of the key's newest put; 0 if the key does not exist."""
        entry = self._newest.get(key)
        return 0 if entry is None or entry & 1 else entry >> 1

    def position_at(self, key: bytes, revision: int) -> int:
        """Returns the position of the key's value as of `revision`; 0 if it did not exist then."""
        entry = self._newest.get(key)
        if entry is None:
            return 0
        if entry >> _ENTRY_REVISION_SHIFT > revision:
            older = self._older.get(key)
            place = 0 if older is None else bisect_right(older, _last_entry_of(revision))
            if older is None or place == 0:
                return 0
            entry = older[place - 1]
        return 0 if entry & 1 else entry >> 1

    def positions_at(self, start: bytes, end: bytes, revision: int) -> Iterator[int]:
        """Yields the positions of all values with start <= key < end as of `revision`, in key order."""
        if start >= end:
            return
        for key in self._in_order().irange(start, end, inclusive=(True, False)):
            if position := self.position_at(key, revision):
                yield position

    def position_before(self, key: bytes, position: int) -> int:
        """Returns the position of the value that the write at `position` replaced; 0 if there was none."""
        older = self._older.get(key)
        if older is None:
            return 0
        place = bisect_left(older, position << 1)
        if place == 0 or older[place - 1] & 1:
            return 0
        return older[place - 1] >> 1

    def keys_from(self, start: bytes, count: int) -> list[bytes]:
        """Returns up to `count` keys that are not less than `start`, in order."""
        return list(islice(self._in_order().irange(start), count))

    def superseded(self, key: bytes, revision: int) -> list[int]:
        """Returns the positions, oldest first, that no read at or after `revision` can see."""
        newest = self._newest.get(key)
        if newest is None:
            return []
        entries = [*self._older.get(key, ()), newest]
        count = bisect_right(entries, _last_entry_of(revision))
        # A read at `revision` sees the newest entry at or before it, unless that is a delete.
        kept = 1 if count and not entries[count - 1] & 1 else 0
        return [entry >> 1 for entry in entries[: count - kept]]

    def forget(self, key: bytes, count: int) -> None:
        """Drops the key's oldest `count` entries, and the key with its last one."""
        older = self._older.get(key)
        entries = 0 if older is None else len(older)
        if count > entries:
            del self._newest[key]
            self._older.pop(key, None)
            self._created.pop(key, None)
            self._in_order().remove(key)
        elif older is not None and count == entries:
            del self._older[key]
        elif older is not None:
            del older[:count]

    def _in_order(self) -> SortedList[bytes]:
        if self._unsorted:
            self._sorted.update(self._unsorted)
            self._unsorted = []
        return self._sorted


def _last_entry_of(revision: int) -> int:
    return ((revision + 1) << _ENTRY_REVISION_SHIFT) - 1
