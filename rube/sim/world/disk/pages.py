"""A simulated file that is written at offsets, and its state after a loss of power.

The page cache holds the written data; a sync carries it to the disk. Without one, chance decides how old each sector
is and whether it is torn, and the file's length is that of any moment since the last sync, as in ALICE (OSDI 2014) and
CrashMonkey (OSDI 2018). Pure: the caller passes the randomness.
"""

from __future__ import annotations

import random  # noqa: TID251 (a type; the generator is the world's)
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SECTOR_BYTES = 512
"""The unit that a disk writes as a whole, if it does not tear it."""
CACHE_PAGE_BYTES = 4096
"""The unit that the kernel writes as a whole: a written byte takes its page with it."""
# One sector in so many is torn.
_TORN_ONE_IN = 8


@dataclass(slots=True)
class _Change:
    """A write at a place; without data a truncation to it."""

    number: int
    place: int
    data: bytes | None
    end: int
    """The bytes that it may alter."""
    clean: bool = False
    """A sync of it has failed: it is in memory alone, and no later sync finds it to write."""


@dataclass(slots=True)
class PageContent:
    """A file's bytes: as processes see them, what of them is durable, and the changes between the two."""

    number: int
    data: bytearray = field(default_factory=bytearray)
    edits: int = 0
    """How often what is durable has changed."""
    holder: object = None
    _durable: bytearray = field(default_factory=bytearray)
    _changes: list[_Change] = field(default_factory=list)
    # The number of the last change.
    _number: int = 0
    # A sync reported the changes up to this one as durable, and lied.
    _reported: int = 0

    @property
    def unsynced_bytes(self) -> int:
        return sum(len(change.data or b"") for change in self._changes)

    def durable(self, start: int = 0) -> bytes:
        """Returns the durable content, from that byte on."""
        return bytes(self._durable[start:])

    def reported(self, start: int = 0) -> bytes:
        """Returns the content that syncs have reported as durable, truly or not, from that byte on."""
        content = bytearray(self._durable)
        for change in self._changes:
            if change.number <= self._reported:
                _apply(content, change)
        return bytes(content[start:])

    def write(self, place: int, data: bytes) -> None:
        _write(self.data, place, data)
        self._note(place, data, place + len(data))

    def truncate(self, length_bytes: int) -> None:
        """Cuts the file, or fills it up with zeros."""
        end = max(length_bytes, len(self.data))
        _cut(self.data, length_bytes)
        self._note(length_bytes, None, end)

    def undo_of(self, place: int) -> Callable[[], None]:
        """Returns the function that takes back the change that is made next, which alters nothing before that byte."""
        number, length_bytes, before = self._number + 1, len(self.data), bytes(self.data[place:])

        def undo() -> None:
            _cut(self.data, length_bytes)
            _write(self.data, min(place, length_bytes), before)
            self._changes = [change for change in self._changes if change.number != number]

        return undo

    def begin_sync(self) -> Callable[[], None]:
        """Begins a sync of what is written by now; once the returned function is called, all of that is durable that
        is not in memory alone."""
        number = self._number
        pages = self._dirty_pages() if any(change.clean for change in self._changes) else None
        length_bytes = len(self.data)

        def finish() -> None:
            covered = [change for change in self._changes if change.number <= number]
            if pages is None:
                for change in covered:
                    _apply(self._durable, change)
                left: list[_Change] = []
            else:
                _cut(self._durable, length_bytes)
                for page, data in pages.items():
                    _write(self._durable, page * CACHE_PAGE_BYTES, data)
                left = [change for change in covered if _is_left(change, pages)]
            self._changes = [*left, *(change for change in self._changes if change.number > number)]
            self.edits += 1

        return finish

    def begin_lie(self) -> Callable[[], None]:
        """Begins a sync that makes nothing durable; with the returned function it reports that it did."""
        number = self._number

        def finish() -> None:
            self._reported = max(self._reported, number)
            self.edits += 1

        return finish

    def fail_sync(self) -> None:
        """Fails a sync: readers see everything, and nothing of it will be written."""
        for change in self._changes:
            change.clean = True

    def flip(self, place: int, bit: int) -> None:
        """Flips a bit of the stored data."""
        self.data[place] ^= 1 << bit
        if place < len(self._durable):
            self._durable[place] ^= 1 << bit
        self.edits += 1

    def lose_power(self, chance: random.Random, *, tear: bool) -> None:
        """Drops the unsynced data, or with `tear` leaves a random part of it."""
        if tear and self._changes:
            self._durable = self._torn(chance)
        self._changes.clear()
        self._reported = 0
        self.data = bytearray(self._durable)
        self.edits += 1

    def _note(self, place: int, data: bytes | None, end: int) -> None:
        self._number += 1
        self._changes.append(_Change(self._number, place, data, end))

    def _dirty_pages(self) -> dict[int, bytes]:
        """Returns the pages that a sync writes, with all that they hold."""
        numbers = [page for change in self._changes if not change.clean for page in _blocks(change, CACHE_PAGE_BYTES)]
        return {page: bytes(self.data[page * CACHE_PAGE_BYTES : (page + 1) * CACHE_PAGE_BYTES]) for page in numbers}

    def _torn(self, chance: random.Random) -> bytearray:
        """The durable bytes after a loss of power: every sector as of some moment, whole or torn."""
        kept = chance.choice((0.0, 1.0, chance.random()))
        touched: dict[int, list[int]] = {}
        lengths = [len(self._durable)]
        seen = bytearray(self._durable)
        for number, change in enumerate(self._changes):
            _apply(seen, change)
            if not change.clean:
                lengths.append(len(seen))
                for sector in _blocks(change, SECTOR_BYTES):
                    touched.setdefault(sector, []).append(number)
        wanted: dict[int, list[tuple[int, int]]] = {}
        for sector, numbers in touched.items():
            moment = _draw(numbers, kept, chance)
            wanted.setdefault(moment, []).append((sector, SECTOR_BYTES))
            if chance.randrange(_TORN_ONE_IN) == 0:
                other = _draw(numbers, kept, chance)
                if other > moment:
                    wanted.setdefault(other, []).append((sector, chance.randrange(1, SECTOR_BYTES)))
        length = lengths[-1] if chance.random() < kept else chance.choice(lengths)
        return self._assembled(wanted, length)

    def _assembled(self, wanted: dict[int, list[tuple[int, int]]], length_bytes: int) -> bytearray:
        """The durable bytes with so many bytes of those sectors as they were after the change of that number."""
        seen, result = bytearray(self._durable), bytearray(self._durable)
        for number, change in enumerate(self._changes):
            _apply(seen, change)
            for sector, part_bytes in wanted.get(number, ()):
                place = sector * SECTOR_BYTES
                piece = bytes(seen[place : place + part_bytes])
                _write(result, place, piece.ljust(min(part_bytes, max(0, len(result) - place)), b"\0"))
        _cut(result, length_bytes)
        return result


def _is_left(change: _Change, pages: dict[int, bytes]) -> bool:
    """Returns whether a change that no sync will find stays in memory alone after a sync of these pages."""
    return change.clean and change.data is not None and not pages.keys() >= set(_blocks(change, CACHE_PAGE_BYTES))


def _draw(numbers: list[int], kept: float, chance: random.Random) -> int:
    """The change that a sector is as new as; -1: as before all of them."""
    return numbers[-1] if chance.random() < kept else chance.choice((-1, *numbers[:-1]))


def _blocks(change: _Change, block_bytes: int) -> Iterator[int]:
    return iter(range(change.place // block_bytes, -(-change.end // block_bytes)))


def _apply(content: bytearray, change: _Change) -> None:
    if change.data is None:
        _cut(content, change.place)
    else:
        _write(content, change.place, change.data)


def _write(content: bytearray, place: int, data: bytes) -> None:
    if place > len(content):
        content.extend(bytes(place - len(content)))
    content[place : place + len(data)] = data


def _cut(content: bytearray, length_bytes: int) -> None:
    if length_bytes < len(content):
        del content[length_bytes:]
    else:
        content.extend(bytes(length_bytes - len(content)))
