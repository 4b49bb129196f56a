"""The controller contract: `decide`, a pure function from State to Decision, and declarations of what it sees.

The messages are those of rube/api/controller.proto. `decide` is synchronous, does no I/O, keeps nothing between calls
and depends on its argument alone: the runtime does everything else. It is called again and again (level-triggered), so
it compares what it sees and asks for what is lacking: the calls of a newer decision replace the unsent calls of the
older one, and calls that were refused are dropped. Actions stay until they are done, or a newer decision has others or
neither actions nor memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import Decision, Object, State
from rube.api.keys import ObjectKey


class Relation(Enum):
    """A relation of an object to another one, by which a view finds it."""

    OWNED = "owned"
    """The object's owner has that uid; with "" for the uid: it has an owner."""
    BLOCKING = "blocking"
    """The object's owner has that uid and, deleted in the foreground, waits for it."""
    IN_NAMESPACE = "in-namespace"
    """The object is in that namespace."""
    DELETED = "deleted"
    """The object is under deletion; the value is ""."""


class View(Protocol):
    """The objects that a controller sees, as of one moment. Read only: copy before you change."""

    def get(self, key: ObjectKey) -> Object | None: ...

    def list(self, type_name: str) -> Sequence[Object]:
        """Returns all objects of that type, sorted by key."""
        ...

    def labelled(self, type_name: str, label: str, value: str) -> Set[ObjectKey]:
        """Returns the keys of the objects of that type with that label, or without it if `value` is empty; in no order:
        sort.

        This controller's own puts count at once, before the view shows them, so that a hundred decisions in a row don't
        all choose the same node (kube-scheduler's "assume").
        """
        ...

    def related(self, relation: Relation, value: str) -> Collection[ObjectKey]:
        """Returns the keys of the objects that have that relation to `value`, in a fixed order; of every type, for a
        controller of every type alone."""
        ...

    def indexed(
        self, type_name: str, values_of: Callable[[Object], Iterable[str]], value: str
    ) -> Collection[ObjectKey]:
        """Returns the keys of the objects of that type for which `values_of` gives that value; in no order: sort.

        `values_of` is pure. An index is made for each one when it is first used, and kept: pass the same function, or
        an equal one, and no new lambda each time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Another type that a controller sees. Both functions are pure.

    `requeue` returns the keys to decide again for an object as it was before a change, and for it as it is after.
    `select` returns the objects of this type in State.related for one key, whose object is None once it is deleted.
    """

    type: str
    namespace: str = ""
    selector: str = ""
    """The label selector of the objects that it sees; empty: all."""
    requeue: Callable[[Object, View], Iterable[ObjectKey]]
    select: Callable[[ObjectKey, Object | None, View], Iterable[Object]]


class Controller(Protocol):
    """A control loop keyed by the objects of one type."""

    @property
    def name(self) -> str:
        """A DNS label: names its rows in the local store, its logs and, for cluster controllers, its lease."""
        ...

    @property
    def type(self) -> str:
        """The type that it is keyed by, such as `api.systemd.Unit`."""
        ...

    @property
    def selector(self) -> str:
        """The label selector of the objects that it sees; an object that stops matching is absent. Empty: all."""
        ...

    @property
    def inputs(self) -> Sequence[Input]:
        """The other types that it sees; none of them is its own."""
        ...

    def decide(self, state: State) -> Decision:
        """Returns what to do now. Must not change `state`."""
        ...


@runtime_checkable
class BringingController(Protocol):
    """A controller that brings types, which are pushed before it decides anything."""

    @property
    def types(self) -> FileDescriptorSet:
        """The files of types, those of messages with the option (api.resource), and what they import; none: it brings
        none."""
        ...


@runtime_checkable
class TransformingController(Protocol):
    """A controller that keeps less than whole objects of its own type."""

    def transform(self, obj: Object) -> Object:
        """Returns the object itself, or a new one of the same key with the parts that `decide` and `select` need.
        Pure."""
        ...


@runtime_checkable
class EveryTypeController(TransformingController, Protocol):
    """A controller of the objects of every type: its `type` is EVERY_TYPE, and it has no inputs.

    It sees all of them as of one revision. Each function is pure; keys come in a fixed order.
    """

    def keys(self, view: View) -> Iterable[ObjectKey]:
        """Returns the keys that there is something to decide about."""
        ...

    def requeue(self, changed: Object, view: View) -> Iterable[ObjectKey]:
        """Returns the keys to decide again when `changed` has changed or is gone."""
        ...

    def select(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[Object]:
        """Returns the objects in State.related for one key, whose object is None once it is deleted."""
        ...


class DrivenController(Controller, Protocol):
    """A controller with a driver: it knows the name of each key's thing on the machine."""

    def thing_of(self, key: ObjectKey) -> str: ...

    def key_of_thing(self, name: str) -> ObjectKey | None:
        """Reverses `thing_of`; None for other names."""
        ...


class ImpureControllerError(AssertionError):
    """A controller decided differently on equal states, or changed its state."""


def evaluate(controller: Controller, state: State, *, check_purity: bool = False) -> Decision:
    """Returns `controller.decide(state)`; with `check_purity` it calls twice, on copies.

    Raises ImpureControllerError if the two decisions' bytes differ or the state was changed.
    """
    if not check_purity:
        return controller.decide(state)
    before = state.SerializeToString(deterministic=True)
    first = controller.decide(state)
    if state.SerializeToString(deterministic=True) != before:
        raise ImpureControllerError(f"controller {controller.name} changed the state of {_name(state)}")
    second = controller.decide(State.FromString(before))
    if first.SerializeToString(deterministic=True) != second.SerializeToString(deterministic=True):
        raise ImpureControllerError(
            f"controller {controller.name} decided twice on one state of {_name(state)}, and differently: "
            f"{first} {second}"
        )
    return first


def _name(state: State) -> ObjectKey:
    return ObjectKey.from_proto(state.key)
