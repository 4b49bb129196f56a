"""The index of running watches: from a change to the filters that it may concern, at a cost that does not grow with
their number.

A filter has a place: its type, namespace and name, as far as it gives them, and one label that it requires to have a
certain value, such as `node=worker-7`. A change concerns the filters at the places that its key and its labels name,
before or after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from rube.api.keys import ObjectKey
from rube.api.selectors import Operator
from rube.api.well_known import EVERY_TYPE
from rube.server.filters import ObjectFilter

T = TypeVar("T")
Labels = Mapping[str, str]
ChangedLabels = Callable[[], tuple[Labels | None, Labels | None]]
"""Returns an object's labels before and after a change; None where there is no object."""

PLACES_MAX = 16
"""A filter whose every requirement lists more values than these is found by its type, namespace and name alone."""


class Place(NamedTuple):
    """The requirements of a filter; empty: anything. Without a `label`, `value` is empty too."""

    namespace: str
    name: str
    label: str
    value: str


class Shape(NamedTuple):
    """The parts of their places that some filters of one type give."""

    namespace: bool
    name: bool
    label: str


class Topic(Generic[T]):
    """One filter, and the watches that have it. Topics are compared by identity."""

    __slots__ = ("members", "places", "wanted")

    def __init__(self, wanted: ObjectFilter, places: tuple[Place, ...]) -> None:
        self.wanted = wanted
        self.places = places
        # A dict for its order, which is that of their coming.
        self.members: dict[T, None] = {}


class _OfType(Generic[T]):
    """The topics of one type, or of all types."""

    def __init__(self) -> None:
        self.shapes: Counter[Shape] = Counter()
        self.topics: dict[Place, dict[Topic[T], None]] = {}

    def crowd(self, place: Place) -> int:
        return len(self.topics.get(place, ()))


class WatchIndex(Generic[T]):
    """The filters of the members that are in it. Nothing stays of a filter without members."""

    def __init__(self) -> None:
        self._topics: dict[ObjectFilter, Topic[T]] = {}
        self._types: dict[str, _OfType[T]] = {}

    def __len__(self) -> int:
        """The number of filters."""
        return len(self._topics)

    def add(self, wanted: ObjectFilter, member: T) -> Topic[T]:
        topic = self._topics.get(wanted)
        if topic is None:
            of_type = self._types.setdefault(wanted.type, _OfType())
            topic = self._topics[wanted] = Topic(wanted, places_of_filter(wanted, of_type.crowd))
            for place in topic.places:
                of_type.topics.setdefault(place, {})[topic] = None
                of_type.shapes[shape_of(place)] += 1
        topic.members[member] = None
        return topic

    def discard(self, topic: Topic[T], member: T) -> None:
        topic.members.pop(member, None)
        if topic.members or self._topics.get(topic.wanted) is not topic:
            return
        del self._topics[topic.wanted]
        of_type = self._types[topic.wanted.type]
        for place in topic.places:
            there = of_type.topics[place]
            del there[topic]
            if not there:
                del of_type.topics[place]
            of_type.shapes[shape_of(place)] -= 1
            if not of_type.shapes[shape_of(place)]:
                del of_type.shapes[shape_of(place)]
        if not of_type.topics:
            del self._types[topic.wanted.type]

    def concerned(self, key: bytes, labels: ChangedLabels) -> Iterable[Topic[T]]:
        """Returns, once each, the topics whose filter may match an object of that key with any of these labels.

        `labels` is called only if a filter of the type asks for one.
        """
        if not self._types:
            return ()
        object_key = ObjectKey.from_bytes(key)
        found: dict[Topic[T], None] = {}
        for type_name in (object_key.type, EVERY_TYPE):
            of_type = self._types.get(type_name)
            if of_type is not None:
                for place in places_of_object(object_key, of_type.shapes, labels):
                    found.update(of_type.topics.get(place, {}))
        return found


def places_of_object(key: ObjectKey, shapes: Iterable[Shape], labels: ChangedLabels) -> Iterator[Place]:
    """Yields the places, of these shapes, of the filters that an object concerns, before or after its change."""
    for shape in shapes:
        namespace, name = key.namespace if shape.namespace else "", key.name if shape.name else ""
        if not shape.label:
            yield Place(namespace, name, "", "")
            continue
        for of_object in labels():
            if of_object is not None and (value := of_object.get(shape.label)) is not None:
                yield Place(namespace, name, shape.label, value)


def _no_crowd(place: Place) -> int:
    return 0


def places_of_filter(wanted: ObjectFilter, crowd: Callable[[Place], int] = _no_crowd) -> tuple[Place, ...]:
    """Returns where to find a filter, all of one shape: by the requirement whose places have the fewest others, as
    `crowd` counts them."""
    choices = [
        [Place(wanted.namespace, wanted.name, requirement.key, value) for value in requirement.values]
        for requirement in wanted.selector.requirements
        if requirement.operator is Operator.IN and len(requirement.values) <= PLACES_MAX
    ]
    if not choices:
        return (Place(wanted.namespace, wanted.name, "", ""),)
    return tuple(min(choices, key=lambda places: sum(map(crowd, places))))


def shape_of(place: Place) -> Shape:
    return Shape(bool(place.namespace), bool(place.name), place.label)
