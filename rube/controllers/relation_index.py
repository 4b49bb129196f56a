"""An index of all objects by their relations to others, updated with each change."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rube.api import Object
from rube.api.keys import ObjectKey
from rube.controllers.contract import Relation

_Place = tuple[Relation, str]


class RelationIndex:
    """The keys of objects by relation and value, each in the order in which they came to be so."""

    def __init__(self) -> None:
        self._keys: dict[_Place, dict[ObjectKey, None]] = {}
        # Invariant: a key is in `_keys[place]` if and only if the place is among its places.
        self._places: dict[ObjectKey, tuple[_Place, ...]] = {}

    def keys(self, relation: Relation, value: str) -> Collection[ObjectKey]:
        return self._keys.get((relation, value), {}).keys()

    def see(self, key: ObjectKey, obj: Object | None) -> None:
        """Takes the object as it is now; None: it is gone."""
        before = self._places.get(key, ())
        after = () if obj is None else tuple(dict.fromkeys(_places(obj)))
        if before == after:
            return
        for place in before:
            if place not in after:
                keys = self._keys[place]
                del keys[key]
                if not keys:
                    del self._keys[place]
        for place in after:
            self._keys.setdefault(place, {})[key] = None
        if after:
            self._places[key] = after
        else:
            self._places.pop(key, None)


def _places(obj: Object) -> Iterator[_Place]:
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
