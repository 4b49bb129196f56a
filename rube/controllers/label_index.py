"""An index of one label, updated with each change, so that a count needs no pass over all objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

from rube.api import Object
from rube.api.keys import ObjectKey, key_of

_NOBODY: frozenset[ObjectKey] = frozenset()


class LabelIndex:
    """The keys of one type's objects by the value of one label, "" without it: as seen, and as assumed until that is
    seen."""

    def __init__(self, label: str, objects: Iterable[Object]) -> None:
        self._label = label
        self._keys: dict[str, set[ObjectKey]] = defaultdict(set)
        # Invariant: a key is in `_keys[value]` if and only if `_values[key]` is that value.
        self._values: dict[ObjectKey, str] = {}
        # The seen value of keys that are assumed to have another.
        self._seen: dict[ObjectKey, str | None] = {}
        self._assumed_by: dict[ObjectKey, Sequence[ObjectKey]] = {}
        for obj in objects:
            self.see(key_of(obj), obj)

    def keys(self, value: str) -> Set[ObjectKey]:
        return self._keys.get(value, _NOBODY)

    def see(self, key: ObjectKey, obj: Object | None) -> None:
        """Takes the object as it is now; None: it is gone. Ends what was assumed of it."""
        self._seen.pop(key, None)
        self._set(key, None if obj is None else self._value(obj))

    def assume(self, decided: ObjectKey, objects: Sequence[Object]) -> None:
        """Implements rube.controllers.ports.Cache.assume."""
        for key in self._assumed_by.pop(decided, ()):
            if key in self._seen:
                self._set(key, self._seen.pop(key))
        for obj in objects:
            key = key_of(obj)
            self._seen.setdefault(key, self._values.get(key))
            self._set(key, self._value(obj))
        if objects:
            self._assumed_by[decided] = [key_of(obj) for obj in objects]

    def _value(self, obj: Object) -> str:
        return obj.metadata.labels.get(self._label, "")

    def _set(self, key: ObjectKey, value: str | None) -> None:
        before = self._values.pop(key, None)
        if before is not None:
            keys = self._keys[before]
            keys.discard(key)
            if not keys:
                del self._keys[before]
        if value is not None:
            self._values[key] = value
            self._keys[value].add(key)
