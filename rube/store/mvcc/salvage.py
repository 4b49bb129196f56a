"""The salvage of a damaged engine: the newest value of every key, and what is lost, as far as it is known.

A value counts as a key's newest if it is the newest that is left. Lost writes of unknown keys may have changed or
deleted any key that was last written before them: such keys are kept, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rube.api.errors import FailedPreconditionError
from rube.host import Wreck
from rube.store.checksums import CHECKSUM_BYTES, checksum_of
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import REVISION_MAX, SUB_BITS, DamagedRow, Row, position_of, read_row
from rube.store.mvcc.recovery import COMPACT_KEY, FORMAT, FORMAT_KEY, LOADING, OLD_FORMAT, STORE_ID_KEY
from rube.store.ports import Record

KEYS_PER_STEP_MAX = 1000
LOSSES_MAX = 10_000
"""The number of losses that are listed; further ones are only counted."""
_COMPACT_BYTES = 8


class LostValue(NamedTuple):
    """The newest value of a key is damaged. `older_revision` is that of the newest whole value; 0 if there is none."""

    key: bytes
    revision: int
    older_revision: int


class LostWrites(NamedTuple):
    """Unreadable writes of these revisions, the last one included. `key` is the apparent key of one of them; empty if
    unknown."""

    first_revision: int
    last_revision: int
    key: bytes


class Salvage:
    """The rows of a wreck. It holds the key index, and the positions of rows that were found twice."""

    def __init__(self, wreck: Wreck) -> None:
        """Reads everything once. Raises FailedPreconditionError if there is no store of Rube's, or a part of one."""
        self._wreck = wreck
        stored_format = wreck.get(FORMAT_KEY)
        if stored_format == LOADING:
            raise FailedPreconditionError(
                "the store is the beginning of a copy that was interrupted: salvage what it was a copy of"
            )
        self.format_known = stored_format in (FORMAT, OLD_FORMAT)
        self.store_id = (_sealed(wreck, STORE_ID_KEY) or b"").decode("ascii", "backslashreplace")
        compact = _sealed(wreck, COMPACT_KEY)
        # The oldest revision whose rows may not be deleted; None: unknown.
        self.compact_revision = int.from_bytes(compact, "big") if compact and len(compact) == _COMPACT_BYTES else None
        self._index = KeyIndex()
        # Positions of damaged values; the index has what is known of them.
        self._damaged: set[int] = set()
        self.writes: list[LostWrites] = []
        # The number of damaged values that are not the newest of their keys.
        self.history = 0
        self.revision = self.compact_revision or 0
        self._read()
        if not len(self._index) and not self.writes and not self.format_known:
            raise FailedPreconditionError("it holds no part of a store: check the path")

    @property
    def keys(self) -> int:
        """About how many keys exist."""
        return self._index.count_current()

    @property
    def findings(self) -> list[str]:
        found = list(self._wreck.findings())
        if (
            found
        ):  # a gap in revisions tells of lost writes before one that is left, and nothing of those behind the last
            found.append(f"writes newer than revision {self.revision} may be lost, and their keys are unknown")
        if self.compact_revision is None:
            found.append("the store's compaction mark is lost: writes may be missing from its history unseen")
        return found

    def uncertain(self) -> int:
        """Returns how many keys lost writes may have changed or deleted."""
        if self._wreck.findings():
            return self.keys
        newest = max((writes.last_revision for writes in self.writes), default=0)
        return sum(1 for key in self._keys() if 0 < self._index.newest_position(key) >> SUB_BITS <= newest)

    def pages(self, *, older: bool) -> Iterator[tuple[list[Record], list[LostValue]]]:
        """Yields the remaining keys and the losses, in the order of keys. `older`: with older values in place of
        damaged ones."""
        records: list[Record] = []
        lost: list[LostValue] = []
        wanted: dict[int, int] = {}
        for key in self._keys():
            position = self._index.newest_position(key)
            if not position:
                continue
            if position in self._damaged:
                whole = self._older(key, position)
                lost.append(LostValue(key, position >> SUB_BITS, whole >> SUB_BITS))
                position = whole if older else 0
            if position:
                wanted[position] = len(wanted)
            if len(wanted) + len(lost) >= KEYS_PER_STEP_MAX:
                yield self._records(wanted), lost
                wanted, lost = {}, []
        records = self._records(wanted)
        if records or lost:
            yield records, lost

    def _older(self, key: bytes, position: int) -> int:
        """Returns the position of the newest whole value before that one; 0 if there is none."""
        while position and position in self._damaged:
            position = self._index.position_before(key, position)
        return position

    def _keys(self) -> Iterator[bytes]:
        start = b""
        while keys := self._index.keys_from(start, KEYS_PER_STEP_MAX):
            yield from keys
            start = keys[-1] + b"\0"

    def _records(self, wanted: dict[int, int]) -> list[Record]:
        """Returns the records at those positions, in the order of the numbers."""
        found: dict[int, Record] = {}
        for position in wanted:
            for data in self._wreck.read(position):
                row = read_row(position, data)
                if isinstance(row, Row):
                    found[position] = row.to_record()
                    break
        return [found[position] for position in wanted if position in found]

    def _read(self) -> None:
        position = position_of(self.compact_revision or 0)
        for found, row in self._rows():
            if isinstance(row, DamagedRow) and row.head is None:
                self._lose(row.revision, row.revision, row.key)
                position = max(position, found)
                continue
            if self.compact_revision is not None and found >> SUB_BITS > self.compact_revision:
                self._note_gap(position, found)
            if isinstance(row, DamagedRow):
                assert row.head is not None
                self._damaged.add(found)
                row = row.head
            self._index.append(row)
            position = max(position, found)
        self.revision = max(self.revision, position >> SUB_BITS)
        for start, end in self._wreck.holes():
            self._lose(start >> SUB_BITS, min(end - 1, position) >> SUB_BITS, b"")
        found_so_far, self.writes = sorted(self.writes), []
        for lost in found_so_far:
            self._lose(*lost)
        newest = {self._index.newest_position(key) for key in self._keys()}
        self.history = len(self._damaged - newest)

    def _note_gap(self, before: int, found: int) -> None:
        """Notes missing rows: after the compaction revision no row is deleted, and revisions and the positions in one
        have no gaps."""
        revision, begun = found >> SUB_BITS, before >> SUB_BITS
        if found not in (before + 1, begun + 1 << SUB_BITS):
            first_of_its = found == position_of(revision)
            self._lose(min(begun + 1, revision), revision - 1 if first_of_its else revision, b"")

    def _lose(self, first: int, last: int, key: bytes) -> None:
        newest = self.writes[-1] if self.writes else None
        if newest is not None and newest.key == key and first <= newest.last_revision and last >= newest.first_revision:
            first, last = min(first, newest.first_revision), max(last, newest.last_revision)
            self.writes.pop()
        self.writes.append(LostWrites(first, last, key))

    def _rows(self) -> Iterator[tuple[int, Row | DamagedRow]]:
        """Yields the best copy found of each position."""
        best: tuple[int, Row | DamagedRow] | None = None
        for number, data, proper in self._wreck.log():
            if not 0 < number < position_of(REVISION_MAX):
                continue
            row = read_row(number, data)
            # A row that is not current may be one that compaction has deleted.
            kept = self.compact_revision is not None and number >> SUB_BITS > self.compact_revision
            if not proper and not (kept and isinstance(row, Row)):
                continue
            if best is not None and best[0] != number:
                yield best
                best = None
            if best is None or _worth(row) > _worth(best[1]):
                best = (number, row)
        if best is not None:
            yield best


def _worth(row: Row | DamagedRow) -> int:
    if isinstance(row, Row):
        return 2
    return 1 if row.head is not None else 0


def _sealed(wreck: Wreck, key: bytes) -> bytes | None:
    sealed = wreck.get(key)
    if sealed is None or checksum_of(key, sealed[CHECKSUM_BYTES:]) != sealed[:CHECKSUM_BYTES]:
        return None
    return sealed[CHECKSUM_BYTES:]
