"""Indexes of objects by what they say: owners, labels, fields. Updated with each change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from rube.api import Object
from rube.api.keys import ObjectKey, key_of
from rube.controllers.contract import Relation

Value = TypeVar("Value", bound=Hashable)


class KeysByValue(Generic[Value]):
    """The keys of objects by each of their values, in the order in which they came to have it."""

    def __init__(self, values_of: Callable[[Object], Iterable[Value]], objects: Iterable[Object] = ()) -> None:
        """`values_of` is pure."""
        self._values_of = values_of
        self._keys: dict[Value, dict[ObjectKey, None]] = {}
        # Invariant: a key is in `_keys[value]` if and only if the value is among its values.
        self._values: dict[ObjectKey, tuple[Value, ...]] = {}
        for obj in objects:
            self.see(key_of(obj), obj)

    def keys(self, value: Value) -> Collection[ObjectKey]:
        return self._keys.get(value, {}).keys()

    def see(self, key: ObjectKey, obj: Object | None) -> None:
        """Takes the object as it is now; None: it is gone."""
        before = self._values.get(key, ())
        after = () if obj is None else tuple(dict.fromkeys(self._values_of(obj)))
        if before == after:
            return
        for value in before:
            if value not in after:
                keys = self._keys[value]
                del keys[key]
                if not keys:
                    del self._keys[value]
        for value in after:
            self._keys.setdefault(value, {})[key] = None
        if after:
            self._values[key] = after
        else:
            self._values.pop(key, None)


def relations_of(obj: Object) -> Iterator[tuple[Relation, str]]:
    """Yields the relations of an object of any type to others, each with its value."""
    metadata = obj.metadata
    if metadata.namespace:
        yield Relation.IN_NAMESPACE, metadata.namespace
    if metadata.HasField("delete_time"):
        yield Relation.DELETED, ""
    for owner in metadata.owner_references:
        yield Relation.OWNED, ""
        yield Relation.OWNED, owner.uid
        if owner.block_deletion:
            yield Relation.BLOCKING, owner.uid
