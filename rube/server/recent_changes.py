"""The newest changes of a store, found by what watches select by: a watch that resumes gets those that concern it, and
reads none of the others.

After a server's restart all clients resume at about the same revision. If each of them read the store's log, the cost
of a client would grow with the number of clients, since each has written to the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rube.api.keys import ObjectKey
from rube.api.well_known import EVERY_TYPE
from rube.server.filters import ObjectFilter
from rube.server.watch_index import ChangedLabels, Place, Shape, places_of_filter, places_of_object, shape_of
from rube.store import Change

LabelsOf = Callable[[Change], ChangedLabels]

SHAPES_MAX = 16
"""Past this the shape that was asked for first makes room: each costs every change of its type a little."""
# Bytes of a change besides its keys and values.
_OVERHEAD_BYTES = 500


class _Kept(NamedTuple):
    """A change, and its order among all."""

    order: int
    change: Change
    size_bytes: int


class _ByPlace:
    """The changes of one type, or of all, by the places of filters of one shape."""

    def __init__(self, type_name: str, shape: Shape, labels_of: LabelsOf) -> None:
        self._type = type_name
        self._shape = shape
        self._labels_of = labels_of
        self._kept: dict[Place, deque[_Kept]] = {}
        # Where each change is, oldest first.
        self._places: deque[tuple[int, tuple[Place, ...]]] = deque()

    def add(self, kept: _Kept) -> None:
        key = ObjectKey.from_bytes(kept.change.record.key)
        if self._type not in (key.type, EVERY_TYPE):
            return
        places = tuple(dict.fromkeys(places_of_object(key, (self._shape,), self._labels_of(kept.change))))
        for place in places:
            self._kept.setdefault(place, deque()).append(kept)
        if places:
            self._places.append((kept.order, places))

    def drop_oldest(self, dropped: _Kept) -> None:
        if not self._places or self._places[0][0] != dropped.order:
            return
        for place in self._places.popleft()[1]:
            there = self._kept[place]
            there.popleft()
            if not there:
                del self._kept[place]

    def at(self, place: Place) -> Iterable[_Kept]:
        """Returns the changes at a place, the newest first."""
        return reversed(self._kept.get(place, deque()))


class RecentChanges:
    """All changes after `oldest`, up to a bound of bytes. Its owner adds each change, in the order of revisions."""

    def __init__(self, labels_of: LabelsOf, *, bytes_max: int) -> None:
        self.oldest = 0
        self._labels_of = labels_of
        self._bytes_max = bytes_max
        self._bytes = 0
        self._next = 0
        self._kept: deque[_Kept] = deque()
        # Made when a watch asks for the first one of its shape.
        self._shapes: dict[tuple[str, Shape], _ByPlace] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, revision: int) -> None:
        """Forgets everything: there are the changes after that revision from now on."""
        self._kept.clear()
        self._shapes.clear()
        self._bytes = 0
        self.oldest = revision

    def add(self, changes: Iterable[Change]) -> None:
        """Adds newer ones, whole revisions, and drops the oldest past the bound."""
        for change in changes:
            kept = _Kept(self._next, change, _size_bytes(change))
            self._next += 1
            self._kept.append(kept)
            self._bytes += kept.size_bytes
            for by_place in self._shapes.values():
                by_place.add(kept)
        while self._bytes > self._bytes_max:
            self._drop_oldest_revision()

    def prepend(self, changes: Sequence[Change], oldest: int) -> None:
        """Adds all those after `oldest` and up to the present `oldest`, as far as there is room."""
        newer = [kept.change for kept in self._kept]
        self.begin(oldest)
        self.add([*changes, *newer])

    def since(self, wanted: ObjectFilter, revision: int, bytes_max: int) -> list[Change] | None:
        """Returns the changes after a revision among which are all that concern a filter; None if they are not here, or
        are more than so many bytes."""
        if revision < self.oldest:
            return None
        places = places_of_filter(wanted)
        by_place = self._of_shape(wanted.type, shape_of(places[0]))
        # By their order: an object whose label has changed from one of the values to another is at two places.
        found: dict[int, Change] = {}
        size_bytes = 0
        for place in places:
            for kept in by_place.at(place):
                if kept.change.record.mod_revision <= revision:
                    break
                size_bytes += kept.size_bytes
                if size_bytes > bytes_max:
                    return None
                found[kept.order] = kept.change
        return [found[order] for order in sorted(found)]

    def _of_shape(self, type_name: str, shape: Shape) -> _ByPlace:
        known = self._shapes.get((type_name, shape))
        if known is None:
            if len(self._shapes) >= SHAPES_MAX:
                del self._shapes[next(iter(self._shapes))]
            known = self._shapes[type_name, shape] = _ByPlace(type_name, shape, self._labels_of)
            for kept in self._kept:
                known.add(kept)
        return known

    def _drop_oldest_revision(self) -> None:
        self.oldest = self._kept[0].change.record.mod_revision
        while self._kept and self._kept[0].change.record.mod_revision == self.oldest:
            dropped = self._kept.popleft()
            self._bytes -= dropped.size_bytes
            for by_place in self._shapes.values():
                by_place.drop_oldest(dropped)


def _size_bytes(change: Change) -> int:
    record, _, previous = change
    return _OVERHEAD_BYTES + len(record.key) + len(record.value) + (len(previous.value) if previous else 0)
