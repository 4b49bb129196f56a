"""The index of objects: from a label's value, or from a name, to the keys of the objects that have it.

It has keys and no objects, and of those labels alone that lists and watches have asked for. It only chooses candidates:
what is answered is read from the store at one revision, and filtered as if there were no index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from rube.api.selectors import Operator
from rube.api.times import NS_PER_S
from rube.api.well_known import EVERY_TYPE
from rube.host import Clock
from rube.server.filters import ObjectFilter
from rube.server.watch_index import ChangedLabels, Labels
from rube.store import Change, Record

RequiredValues = Mapping["Attribute", tuple[str, ...]]
"""The values, one of which a filter requires, of each attribute by which its objects may be found."""

NAME: Final = ""
"""The attribute that is no label: the object's name."""
ATTRIBUTES_MAX: Final = 16
"""Past this the attribute that was asked for longest ago makes room: each costs every put of its type a little."""
KEPT_NS_MIN: Final = 60 * NS_PER_S
"""An attribute makes no room for another one so long after it was asked for."""
ASKED_ONCE_MAX: Final = 256
"""The newest attributes that are remembered to have been asked for: the second request begins one."""
ATTRIBUTES_OF_FILTER_MAX: Final = 4
"""A filter that requires more labels is found by the first of them."""
SCAN_PART: Final = 8
"""A record that is read by its key costs as much as up to so many of a scan."""
CANDIDATES_MIN: Final = 16
"""So few are read by their keys, however few objects there are."""
DEPARTURES_MAX: Final = 10_000
"""The newest losses of a value that are kept, of each attribute, for reads at revisions before them."""


class Attribute(NamedTuple):
    """The label, or NAME, by which objects of a type are found; the type may be EVERY_TYPE."""

    type: str
    label: str


class Departure(NamedTuple):
    """An object's loss of a value."""

    revision: int
    value: str
    key: bytes


class Values:
    """The objects by the values of one attribute, as of the revision that the index has reached.

    While `begun`, it lacks objects that were written last before its first revision and that `add` has not brought.
    """

    def __init__(self, revision: int) -> None:
        self.oldest = revision
        """The candidates of reads at older revisions are not known."""
        self.begun = True
        self.asked_ns = 0
        """When it was asked for last."""
        self.count = 0
        self.objects = 0
        """How many objects of the type there are, with the attribute or without it."""
        self._keys: dict[str, set[bytes]] = {}
        # What was written since it was begun: `add` brings older states.
        self._written: set[bytes] = set()
        self._left: deque[Departure] = deque()

    def add(self, key: bytes, value: str | None) -> None:
        """Adds an object as it was at the first revision."""
        self.objects += 1
        if value is not None and key not in self._written:
            self._enter(key, value)

    def complete(self) -> None:
        self.begun = False
        self._written.clear()

    def move(self, key: bytes, before: str | None, after: str | None, revision: int) -> None:
        """Notes a change of an object's value; None: it has none, or there is no such object."""
        if self.begun:
            self._written.add(key)
        if before == after and not self.begun:
            return
        if before is not None and before != after:
            self._leave(Departure(revision, before, key))
        if after is not None:
            self._enter(key, after)

    def candidates(self, values: tuple[str, ...], revision: int) -> set[bytes] | None:
        """Returns the keys of all objects that had one of these values at a revision that the index has reached, and
        perhaps of others; None if that is not known."""
        if self.begun or revision < self.oldest:
            return None
        found: set[bytes] = set()
        for value in values:
            found |= self._keys.get(value, set())
        for departure in reversed(self._left):
            if departure.revision <= revision:
                break
            if departure.value in values:
                found.add(departure.key)
        return found

    def _enter(self, key: bytes, value: str) -> None:
        there = self._keys.setdefault(value, set())
        self.count += key not in there
        there.add(key)

    def _leave(self, departure: Departure) -> None:
        there = self._keys.get(departure.value, set())
        self.count -= departure.key in there
        there.discard(departure.key)
        if not there:
            self._keys.pop(departure.value, None)
        self._left.append(departure)
        if len(self._left) > DEPARTURES_MAX:
            self.oldest = self._left.popleft().revision


class ObjectIndex:
    """The attributes that were asked for. Its owner gives it every change after the revision at which one was begun."""

    def __init__(self, clock: Clock, *, keys_max: int) -> None:
        self._clock = clock
        self._keys_max = keys_max
        self._asked_once: dict[Attribute, None] = {}
        # The one that was asked for longest ago first.
        self._attributes: dict[Attribute, Values] = {}
        self._of_type: dict[str, dict[str, Values]] = {}
        # Those that alone have too many objects.
        self._too_large: set[Attribute] = set()

    def get(self, attribute: Attribute) -> Values | None:
        values = self._attributes.pop(attribute, None)
        if values is not None:
            values.asked_ns = self._clock.monotonic_ns()
            self._attributes[attribute] = values
        return values

    def begin(self, attribute: Attribute, revision: int) -> Values | None:
        """Adds an attribute, which the caller fills with the objects as of the index's revision; None at its first
        request, if it has turned out to be too large, or if all others are in use."""
        if attribute in self._too_large or not self._asked_before(attribute):
            return None
        now_ns = self._clock.monotonic_ns()
        if len(self._attributes) >= ATTRIBUTES_MAX:
            oldest, kept = next(iter(self._attributes.items()))
            if now_ns - kept.asked_ns < KEPT_NS_MIN:
                return None
            self._drop(oldest)
        values = self._attributes[attribute] = Values(revision)
        values.asked_ns = now_ns
        self._of_type.setdefault(attribute.type, {})[attribute.label] = values
        return values

    def _asked_before(self, attribute: Attribute) -> bool:
        before = attribute in self._asked_once
        self._asked_once.pop(attribute, None)
        self._asked_once[attribute] = None
        if len(self._asked_once) > ASKED_ONCE_MAX:
            del self._asked_once[next(iter(self._asked_once))]
        return before

    def candidates(self, attribute: Attribute, values: tuple[str, ...], revision: int) -> set[bytes] | None:
        """Returns those of `Values.candidates`; None also if the attribute is not kept up any more, or so many
        objects have such a value that reading the whole type costs less."""
        kept = self._attributes.get(attribute)
        found = None if kept is None else kept.candidates(values, revision)
        if kept is None or found is None or len(found) > max(CANDIDATES_MIN, kept.objects // SCAN_PART):
            return None
        return found

    def has_room(self, attribute: Attribute, values: Values) -> bool:
        """Makes room for the attribute. Returns whether it is still there."""
        self._shrink()
        return self._attributes.get(attribute) is values

    def _shrink(self) -> None:
        """Removes attributes until the rest has no more than `keys_max` keys: those that alone have more, and the one
        that was asked for longest ago."""
        while sum([values.count for values in self._attributes.values()]) > self._keys_max:
            large = [each for each, values in self._attributes.items() if values.count > self._keys_max]
            self._too_large.update(large)
            for attribute in large or [next(iter(self._attributes))]:
                self._drop(attribute)

    def discard(self, attribute: Attribute, values: Values) -> None:
        """Removes an attribute, unless it has been begun anew."""
        if self._attributes.get(attribute) is values:
            self._drop(attribute)

    def _drop(self, attribute: Attribute) -> None:
        del self._attributes[attribute]
        of_type = self._of_type[attribute.type]
        del of_type[attribute.label]
        if not of_type:
            del self._of_type[attribute.type]

    def clear(self) -> None:
        self._attributes.clear()
        self._of_type.clear()
        self._too_large.clear()
        self._asked_once.clear()

    def note(self, change: Change, labels: ChangedLabels) -> None:
        """Takes a change of an object. `labels` is called only if one is kept of its type."""
        if not self._of_type:
            return
        key, revision = change.record.key, change.record.mod_revision
        for type_name in (key.partition(b"/")[0].decode(), EVERY_TYPE):
            for label, values in self._of_type.get(type_name, _NOTHING).items():
                if label == NAME:
                    name = _name_of(key)
                    before, after = None if change.previous is None else name, None if change.deleted else name
                else:
                    before, after = (None if of_object is None else of_object.get(label) for of_object in labels())
                values.objects += (change.previous is None) - change.deleted
                values.move(key, before, after, revision)
        self._shrink()


_NOTHING: Final[Mapping[str, Values]] = {}


def _name_of(key: bytes) -> str:
    return key.rpartition(b"/")[2].decode()


def value_of(record: Record, label: str, labels: Callable[[Record], Labels]) -> str | None:
    """Returns a record's value of an attribute."""
    if label == NAME:
        return _name_of(record.key)
    return labels(record).get(label)


def required_values(wanted: ObjectFilter) -> RequiredValues:
    """Returns what a filter requires; nothing where it names one key."""
    if wanted.namespace and wanted.name:
        return {}
    found: dict[Attribute, tuple[str, ...]] = {}
    if wanted.name:
        found[Attribute(wanted.type, NAME)] = (wanted.name,)
    for requirement in wanted.selector.requirements:
        if requirement.operator is Operator.IN and len(found) < ATTRIBUTES_OF_FILTER_MAX:
            found[Attribute(wanted.type, requirement.key)] = requirement.values
    return found
