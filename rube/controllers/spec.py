"""Controllers whose type, inputs and types are data: a ControllerSpec and a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Final, TypeVar

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import ControllerSpec, Decision, Scope, State, selectors
from rube.api.errors import InvalidArgumentError
from rube.api.keys import TYPE_TYPE, is_name_of, validate_name
from rube.api.types import BUILTIN, Kind, Types
from rube.api.types.protos import checked_types
from rube.api.types.pushed import kind_from
from rube.api.well_known import EVERY_TYPE
from rube.controllers.contract import Input
from rube.controllers.field_texts import FieldTexts
from rube.controllers.relations import Ends, input_of

T = TypeVar("T")
INPUTS_MAX: Final = 32
_PACKAGES: Final = frozenset(kind.name.partition(".")[0] for kind in BUILTIN.kinds())


class SpecController:
    """A controller (rube.controllers.contract) that is a `spec` and a `decide`: derive from it, and give it both."""

    spec: ControllerSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def type(self) -> str:
        return self.spec.type

    @property
    def selector(self) -> str:
        return self.spec.label_selector

    @property
    def types(self) -> FileDescriptorSet:
        return self.spec.types

    @cached_property
    def inputs(self) -> Sequence[Input]:
        return inputs_of(self.spec)

    def decide(self, state: State) -> Decision:
        """Returns what to do now. Must not change `state`."""
        raise NotImplementedError(f"{type(self).__name__} has no function decide(self, state)")


def inputs_of(spec: ControllerSpec) -> tuple[Input, ...]:
    """Returns the inputs of a spec. Raises InvalidArgumentError that names the field which is wrong and the remedy."""
    types = types_known_to(spec)
    _check_head(spec)
    namespaced = _is_namespaced(spec, types.get(spec.type))
    if len(spec.inputs) > INPUTS_MAX:
        raise _wrong("inputs", f"there are {len(spec.inputs)}, more than {INPUTS_MAX}")
    made = []
    for index, wanted in enumerate(spec.inputs):
        where = f"inputs[{index}]"
        _check_input(where, wanted, spec)
        _check_scopes(where, wanted, namespaced, types.get(wanted.type))
        field = None
        if wanted.WhichOneof("relation") == "field":
            field = _at(f"{where}.field", partial(_field, wanted.field, spec.type, types))
        ends = Ends(keyed=spec.type, namespaced=namespaced, related=wanted.type, namespace=wanted.namespace)
        made.append(input_of(ends, wanted, field))
    return tuple(made)


def types_known_to(spec: ControllerSpec) -> Types:
    """Returns the types of Rube and those that a spec brings. Raises the errors of `checked_types`."""
    types = BUILTIN
    if spec.types.file:
        for obj in _at("types", lambda: checked_types(spec.types)):
            types = types.with_kind(kind_from(obj))
    return types


def check_type(name: str) -> None:
    """Raises InvalidArgumentError for what can be no type, and for a name in a package of Rube's that none has. The
    cluster may have any other type, once it is pushed."""
    if name != EVERY_TYPE and (name.partition(".")[0] in _PACKAGES or not is_name_of(TYPE_TYPE, name)):
        BUILTIN.kind(name)


def _check_head(spec: ControllerSpec) -> None:
    _at("name", lambda: validate_name("name", spec.name))
    _at("type", lambda: check_type(spec.type))
    if spec.type == EVERY_TYPE:
        raise _wrong("type", f"{EVERY_TYPE!r} is not one type: name one, or write a Python EveryTypeController")
    _at("label_selector", lambda: selectors.parse(spec.label_selector))


def _is_namespaced(spec: ControllerSpec, kind: Kind | None) -> bool:
    namespaced = spec.scope != Scope.CLUSTER if kind is None else kind.namespaced
    if spec.scope and (spec.scope == Scope.CLUSTER) == namespaced:
        raise _wrong("scope", f"{spec.type} says that its objects are {_place(namespaced)}: leave the scope out")
    return namespaced


def _check_input(where: str, wanted: ControllerSpec.Input, spec: ControllerSpec) -> None:
    _at(f"{where}.type", lambda: check_type(wanted.type))
    if wanted.type in (spec.type, EVERY_TYPE):
        why = "the controller's own type" if wanted.type == spec.type else "not one type"
        raise _wrong(f"{where}.type", f"{wanted.type} is {why}, and can't be an input: leave it out, or name another")
    if wanted.namespace:
        _at(f"{where}.namespace", lambda: validate_name("namespace", wanted.namespace))
    _at(f"{where}.label_selector", lambda: selectors.parse(wanted.label_selector))
    relation = wanted.WhichOneof("relation")
    if relation is None or not getattr(wanted, relation):
        raise _wrong(where, "no relation: set one of owned, same_name, label, field and all")
    if wanted.name_prefix and relation != "same_name":
        raise _wrong(f"{where}.name_prefix", f"goes with same_name, and not with {relation}: leave one of them out")
    if relation == "label":
        _at(f"{where}.label", lambda: selectors.validate_labels({wanted.label: ""}))
    for index, other in enumerate(spec.inputs):
        if other.type == wanted.type and (other.namespace, other.label_selector) != (
            wanted.namespace,
            wanted.label_selector,
        ):
            raise _wrong(
                f"inputs[{index}]",
                f"{wanted.type} has another namespace or label_selector than in {where}: one copy of a type is kept, "
                "so give both the same",
            )


def _check_scopes(where: str, wanted: ControllerSpec.Input, namespaced: bool, kind: Kind | None) -> None:
    """Raises InvalidArgumentError for a relation that could hold between no two objects."""
    if kind is None:
        return
    if wanted.namespace and not kind.namespaced:
        raise _wrong(f"{where}.namespace", f"objects of {kind.name} are in no namespace: leave it out")
    if wanted.same_name and not namespaced and kind.namespaced and not wanted.namespace:
        raise _wrong(
            f"{where}.namespace", f"objects of {kind.name} are in namespaces, and a key is not: name the namespace"
        )
    if wanted.label and namespaced and not kind.namespaced:
        raise _wrong(
            f"{where}.label",
            f"objects of {kind.name} are in no namespace, so that a label cannot tell which key is meant: let a field "
            "of the key's object name them (field)",
        )


def _field(path: str, type_name: str, types: Types) -> FieldTexts:
    kind = types.get(type_name)
    if kind is None:
        raise InvalidArgumentError(
            f"the fields of {type_name} are not known here: let the controller bring the type (types)"
        )
    return FieldTexts(kind, path)


def _place(namespaced: bool) -> str:
    return "in namespaces" if namespaced else "in no namespace"


def _at(where: str, check: Callable[[], T]) -> T:
    """Returns what `check` returns; its InvalidArgumentError gets the field's name before it."""
    try:
        return check()
    except InvalidArgumentError as error:
        raise _wrong(where, error.message) from error


def _wrong(where: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{where}: {why}", field=where)
