"""The relations of a ControllerSpec's inputs to its keys, each as `select` and its reverse, `requeue`. Pure.

Both look things up in indexes, so that a change costs what it concerns, however many objects there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from rube.api import ControllerSpec, Object
from rube.api.keys import ObjectKey, is_name_of, key_of
from rube.controllers.contract import Input, View

Texts = Callable[[Object], Iterable[str]]


class Related(Protocol):
    """A relation: both directions of it."""

    def keys(self, related: Object, view: View) -> Iterable[ObjectKey]:
        """Returns the keys that this object is related to, whether or not `view` still shows it."""
        ...

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[ObjectKey]:
        """Returns the keys of the objects that are related to `key`; there may be none of some of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The two types of a relation."""

    keyed: str
    """The controller's own type."""
    namespaced: bool
    """True if objects of the controller's own type are in namespaces."""
    related: str
    namespace: str = ""
    """The input's namespace; empty: all."""

    def key(self, namespace: str, name: str) -> ObjectKey:
        return ObjectKey(self.keyed, namespace, name)

    def places(self, key: ObjectKey, name: str) -> Iterator[ObjectKey]:
        """Yields the keys that an object of that name beside `key` can have: its type is in namespaces, or it is
        not."""
        yield ObjectKey(self.related, key.namespace or self.namespace, name)
        if key.namespace:
            yield ObjectKey(self.related, "", name)


def input_of(ends: Ends, spec: ControllerSpec.Input, field: Texts | None) -> Input:
    """Returns the input; `field` gives the values of the field in `spec.field`."""
    relation = _relation(ends, spec, field)

    def select(key: ObjectKey, obj: Object | None, view: View) -> Iterator[Object]:
        for each in sorted(set(relation.objects(key, obj, view))):
            if (found := view.get(each)) is not None:
                yield found

    def requeue(related: Object, view: View) -> Iterable[ObjectKey]:
        return sorted(set(relation.keys(related, view)))

    return Input(type=spec.type, namespace=spec.namespace, selector=spec.label_selector, requeue=requeue, select=select)


def _relation(ends: Ends, spec: ControllerSpec.Input, field: Texts | None) -> Related:
    match spec.WhichOneof("relation"):
        case "owned":
            return Owned(ends)
        case "same_name":
            return SameName(ends, spec.name_prefix)
        case "label":
            return Labelled(ends, spec.label)
        case "field":
            assert field is not None, "the caller reads the field"
            return Named(ends, field)
        case _:
            return All(ends)


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that has the key's object among its owners."""

    ends: Ends

    def keys(self, related: Object, view: View) -> Iterator[ObjectKey]:
        for owner in related.metadata.owner_references:
            key = ObjectKey(owner.type, owner.namespace, owner.name)
            found = view.get(key) if owner.type == self.ends.keyed else None
            if found is not None and found.metadata.uid == owner.uid:
                yield key

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[ObjectKey]:
        return () if obj is None else view.indexed(self.ends.related, _owners, obj.metadata.uid)


@dataclass(frozen=True, slots=True)
class SameName:
    """The object whose name is the prefix and the key's name."""

    ends: Ends
    prefix: str

    def keys(self, related: Object, view: View) -> Iterable[ObjectKey]:
        ends, metadata = self.ends, related.metadata
        name = metadata.name.removeprefix(self.prefix)
        if not metadata.name.startswith(self.prefix) or not is_name_of(ends.keyed, name):
            return ()
        if not ends.namespaced:
            return [ends.key("", name)] if metadata.namespace == ends.namespace else ()
        if metadata.namespace:
            return [ends.key(metadata.namespace, name)]
        return view.indexed(ends.keyed, _name, name)

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[ObjectKey]:
        return self.ends.places(key, self.prefix + key.name)


@dataclass(frozen=True, slots=True)
class Labelled:
    """An object with a label whose value is the key's name."""

    ends: Ends
    label: str

    def keys(self, related: Object, view: View) -> Iterable[ObjectKey]:
        metadata = related.metadata
        name = metadata.labels.get(self.label, "")
        if not is_name_of(self.ends.keyed, name) or (self.ends.namespaced and not metadata.namespace):
            return ()
        return [self.ends.key(metadata.namespace if self.ends.namespaced else "", name)]

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[ObjectKey]:
        found = view.indexed(self.ends.related, _Label(self.label), key.name)
        return (each for each in found if each.namespace == key.namespace or not self.ends.namespaced)


@dataclass(frozen=True, slots=True)
class Named:
    """An object that a field of the key's object names, as NAME or NAMESPACE/NAME."""

    ends: Ends
    field: Texts

    def keys(self, related: Object, view: View) -> Iterator[ObjectKey]:
        ends, here = self.ends, key_of(related)
        if here.namespace:
            yield from view.indexed(ends.keyed, self.field, f"{here.namespace}/{here.name}")
        for key in view.indexed(ends.keyed, self.field, here.name):
            if here in self._named(key, here.name):
                yield key

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterator[ObjectKey]:
        for value in () if obj is None else self.field(obj):
            yield from self._named(key, value)

    def _named(self, key: ObjectKey, value: str) -> Iterator[ObjectKey]:
        namespace, slash, name = value.rpartition("/")
        if slash:
            if namespace:
                yield ObjectKey(self.ends.related, namespace, name)
            return
        yield ObjectKey(self.ends.related, self.ends.namespace or key.namespace, name)
        yield ObjectKey(self.ends.related, "", name)


@dataclass(frozen=True, slots=True)
class All:
    """Any object of the type."""

    ends: Ends

    def keys(self, related: Object, view: View) -> Iterable[ObjectKey]:
        return view.indexed(self.ends.keyed, _nothing, "")

    def objects(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[ObjectKey]:
        return view.indexed(self.ends.related, _nothing, "")


@dataclass(frozen=True, slots=True)
class _Label:
    label: str

    def __call__(self, obj: Object) -> Iterable[str]:
        value = obj.metadata.labels.get(self.label, "")
        return (value,) if value else ()


def _owners(obj: Object) -> Iterator[str]:
    return (owner.uid for owner in obj.metadata.owner_references)


def _name(obj: Object) -> Iterable[str]:
    return (obj.metadata.name,)


def _nothing(obj: Object) -> Iterable[str]:
    return ("",)
