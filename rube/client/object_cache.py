"""A copy of a set of objects, kept up by the responses of a watch: the informer's pure core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

from rube.api import Object, WatchResponse
from rube.api.keys import ObjectKey, key_of


class Change(NamedTuple):
    """A change of one object. `old` None: it is new here; `new` None: it was deleted, or stopped matching.

    `revision` is that of the change; for an object found missing when listing again, that of the list.
    """

    key: ObjectKey
    old: Object | None
    new: Object | None
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes, in order, after which the copy is as the store's objects were at `revision`. It is immutable."""

    changes: tuple[Change, ...]
    revision: int
    store_id: str
    relisted: bool = False
    """True if a new list made it: objects that it does not name are unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """A persisted copy, from which an informer can resume."""

    objects: tuple[Object, ...] = ()
    revision: int = 0
    store_id: str = ""


class PackedObjects(MutableMapping[ObjectKey, Object]):
    """Objects by key, kept as bytes: a quarter of the memory, for 5 us at each look-up. The caller owns the returned
    object."""

    def __init__(self) -> None:
        self._packed: dict[ObjectKey, bytes] = {}

    def __getitem__(self, key: ObjectKey) -> Object:
        return Object.FromString(self._packed[key])

    def __setitem__(self, key: ObjectKey, obj: Object) -> None:
        self._packed[key] = obj.SerializeToString(deterministic=True)

    def __delitem__(self, key: ObjectKey) -> None:
        del self._packed[key]

    def __contains__(self, key: object) -> bool:
        return key in self._packed  # without parsing

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class ObjectCache:
    """A copy in which `prepare` makes a batch of a response and changes nothing visible, and `commit` makes it visible.

    Invariant: `objects` is the matching set of the store as of `revision`, or empty at revision 0.
    """

    def __init__(self, state: CacheState, transform: Callable[[Object], Object] | None = None) -> None:
        """With `transform` it keeps the transformed objects, packed."""
        self._transform = transform
        self._objects = self._none()
        self._objects.update((key_of(obj), obj) for obj in state.objects)
        self.revision = state.revision
        self.store_id = state.store_id
        # The objects of a list in progress; None: no list.
        self._listed: MutableMapping[ObjectKey, Object] | None = None
        self._lost = False

    @property
    def objects(self) -> Mapping[ObjectKey, Object]:
        return self._objects

    @property
    def resumable(self) -> bool:
        """True if a watch can go on from here. Not from 0, which asks for changes from now on."""
        return self.revision > 0 and not self._lost

    @property
    def listing(self) -> bool:
        """True while a list has begun that is not yet complete."""
        return self._listed is not None

    def lose_position(self) -> None:
        """Notes that the revision cannot be resumed from: the next watch lists. Until that is complete, the copy
        stays."""
        self._lost = True

    def begin(self) -> None:
        """Begins a watch: with a list unless the position is resumable. Drops what an interrupted list had."""
        self._listed = None if self.resumable else self._none()

    def prepare(self, response: WatchResponse) -> Batch | None:
        """Returns the batch that this response completes; None while a list goes on, and if the response has nothing
        new."""
        changes: list[Change] = []
        relisted = False
        known = _Overlay(self._objects)
        for event in response.events:
            match event.WhichOneof("event"):
                case "update" if self._listed is not None:
                    self._listed[key_of(event.update)] = self._copied(event.update)
                case "update":
                    changes.append(known.put(key_of(event.update), self._copied(event.update)))
                case "delete":
                    changes += known.remove(event.delete)
                case "bookmark" if event.bookmark.initial_end and self._listed is not None:
                    changes += self._difference(self._listed, event.bookmark.revision)
                    known = _Overlay(self._listed)
                    self._listed, relisted = None, True
        if self._listed is not None:
            return None
        if not changes and not relisted and response.revision == self.revision:
            return None
        return Batch(changes=tuple(changes), revision=response.revision, store_id=response.store_id, relisted=relisted)

    def commit(self, batch: Batch) -> None:
        for change in batch.changes:
            if change.new is None:
                self._objects.pop(change.key, None)
            else:
                self._objects[change.key] = change.new
        self.revision = batch.revision
        self.store_id = batch.store_id
        if batch.relisted:
            self._lost = False

    def _none(self) -> MutableMapping[ObjectKey, Object]:
        return {} if self._transform is None else PackedObjects()

    def _copied(self, obj: Object) -> Object:
        """Returns a copy of the object: the original would keep all of a large response in memory."""
        if self._transform is not None:
            return self._transform(obj)
        kept = Object()
        kept.CopyFrom(obj)
        return kept

    def _difference(self, listed: Mapping[ObjectKey, Object], revision: int) -> Iterable[Change]:
        """Returns the changes that make the copy equal to the list: in the order of keys, the vanished first."""
        for key in sorted(self._objects.keys() - listed.keys()):
            yield Change(key, self._objects[key], None, revision)
        for key in sorted(listed):
            old, new = self._objects.get(key), listed[key]
            if old is None or old != new:
                yield Change(key, old, new, new.metadata.revision)


class _Overlay:
    """The objects after the changes of one response so far."""

    def __init__(self, base: Mapping[ObjectKey, Object]) -> None:
        self._base = base
        self._changed: dict[ObjectKey, Object | None] = {}

    def put(self, key: ObjectKey, obj: Object) -> Change:
        old = self._get(key)
        self._changed[key] = obj
        return Change(key, old, obj, obj.metadata.revision)

    def remove(self, obj: Object) -> list[Change]:
        """Returns the change; none if the object is not here: it came and went between two watches."""
        key = key_of(obj)
        old = self._get(key)
        self._changed[key] = None
        return [] if old is None else [Change(key, old, None, obj.metadata.revision)]

    def _get(self, key: ObjectKey) -> Object | None:
        return self._changed[key] if key in self._changed else self._base.get(key)
