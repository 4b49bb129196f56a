"""Hypothesis strategies: objects of any type, by its descriptors and its rules.

A drawn spec begins empty, or with a given one, and takes drawn values field by field; a value that breaks a rule is
left out again. So what is drawn passes the server's validation, however the rules hang together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import assume
from hypothesis import strategies as st

from rube.api import Metadata, Object
from rube.api.types import BUILTIN, Kind, Types, options, pack
from rube.api.well_known import UNIT_TYPE
from rube.server.rights.checks import RIGHTS_CHECKS
from rube.sim.scenario import default_unit
from rube.units.spec_checks import built_in_spec_checks

DEPTH = 3
ITEMS_MAX = 3
NAMES = ("a", "b", "web", "db-1")
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_TEXT = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))


def names() -> st.SearchStrategy[str]:
    """Names of objects: a few short ones, so that several rules of a test meet the same object."""
    return st.sampled_from(NAMES)


def specs(type: str | type[Message], types: Types = BUILTIN, base: Message | None = None) -> st.SearchStrategy[Message]:
    """Specs of a type that the server takes. `base` is one that is valid, for a type whose rules an empty spec breaks;
    units have one."""
    word = type if isinstance(type, str) else type.DESCRIPTOR.full_name
    return _valid(types.kind(word), base)


def objects(
    type: str | type[Message],
    types: Types = BUILTIN,
    *,
    base: Message | None = None,
    name: st.SearchStrategy[str] | None = None,
    namespace: str = "default",
) -> st.SearchStrategy[Object]:
    """Objects of a type that the server takes."""
    word = type if isinstance(type, str) else type.DESCRIPTOR.full_name
    kind = types.kind(word)

    def made(spec: Message, name: str) -> Object:
        return Object(metadata=Metadata(namespace=namespace if kind.namespaced else "", name=name), spec=pack(spec))

    return st.builds(made, specs(word, types, base), name or names())


@st.composite
def _valid(draw: st.DrawFn, kind: Kind, base: Message | None) -> Message:
    spec = kind.spec()
    if base is None and kind.name == UNIT_TYPE:
        base = default_unit()
    if base is not None:
        spec.CopyFrom(base)
    wrong = _wrong(kind)
    _fill(draw, spec, spec, wrong, DEPTH)
    assume(not wrong(spec))
    return spec


def _wrong(kind: Kind) -> Callable[[Message], int]:
    """Returns the number of errors that the server finds in a spec."""
    if (check := {**built_in_spec_checks(), **RIGHTS_CHECKS}.get(kind.name)) is not None:
        return lambda spec: len(check(spec.SerializeToString(deterministic=True)))
    return lambda spec: len(kind.rules.violations(spec))


def _fill(draw: st.DrawFn, whole: Message, part: Any, wrong: Callable[[Message], int], depth: int) -> None:
    """Gives some fields of `part`, which is in `whole`, drawn values, as far as there are not more errors then."""
    for field in part.DESCRIPTOR.fields:
        rules = options.field_rules(field)
        needed = rules is not None and (rules.required or rules.repeated.min_items or rules.map.min_pairs)
        if not needed and not draw(st.booleans()):
            continue
        before, errors = type(part)(), wrong(whole)
        before.CopyFrom(part)
        if field.message_type is not None and not field.is_repeated and not _is_whole(field.message_type):
            if depth:
                getattr(part, field.name).SetInParent()
                _fill(draw, whole, getattr(part, field.name), wrong, depth - 1)
        else:
            _set(part, field, draw(_values(field, depth)))
        if wrong(whole) > errors:
            part.CopyFrom(before)


def _set(part: Any, field: FieldDescriptor, value: Any) -> None:
    part.ClearField(field.name)
    if not field.is_repeated:
        getattr(part, field.name).CopyFrom(value) if field.message_type is not None else setattr(
            part, field.name, value
        )
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, Message):
                getattr(part, field.name)[key].CopyFrom(item)
            else:
                getattr(part, field.name)[key] = item
    else:
        getattr(part, field.name).extend(value)


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    rules = options.field_rules(field)
    if not field.is_repeated:
        return _value(field, rules, depth)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        given = rules.map if rules is not None else None
        least = given.min_pairs if given is not None else 0
        most = given.max_pairs if given is not None and given.HasField("max_pairs") else least + ITEMS_MAX
        key = _value(entry["key"], given.keys if given is not None else None, depth)
        value = _value(entry["value"], given.values if given is not None else None, depth)
        return st.dictionaries(key, value, min_size=least, max_size=min(most, least + ITEMS_MAX))
    given = rules.repeated if rules is not None else None
    least = given.min_items if given is not None else 0
    most = given.max_items if given is not None and given.HasField("max_items") else least + ITEMS_MAX
    item = _value(field, given.items if given is not None else None, depth)
    unique = bool(given is not None and given.unique and field.message_type is None)
    return st.lists(item, min_size=least, max_size=min(most, least + ITEMS_MAX), unique=unique)


def _value(field: FieldDescriptor, rules: Any, depth: int) -> st.SearchStrategy[Any]:
    """One value of a field, by those of its rules that a strategy can say; the others are judged afterwards."""
    if field.message_type is not None:
        return _messages(field.message_type, depth - 1)
    given = _given(field, rules)
    if given is not None and given.HasField("const"):
        return st.just(given.const)
    if given is not None and len(getattr(given, "in", ())):
        return st.sampled_from(list(getattr(given, "in")))
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type in _INTEGERS:
        return st.integers(*_bounds(given, *_INTEGERS[field.cpp_type]))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(-1e6, 1e6, width=32)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=16)
    return _texts(given)


def _given(field: FieldDescriptor, rules: Any) -> Any:
    """Returns the rules of the field's own kind, such as StringRules; None: it has none."""
    which = rules.WhichOneof("type") if rules is not None else None
    return getattr(rules, which) if which is not None and which not in ("repeated", "map", "any") else None


def _bounds(given: Any, least: int, most: int) -> tuple[int, int]:
    if given is None:
        return max(least, -1_000), min(most, 1_000)
    if given.HasField("gt"):
        least = given.gt + 1
    if given.HasField("gte"):
        least = given.gte
    if given.HasField("lt"):
        most = given.lt - 1
    if given.HasField("lte"):
        most = given.lte
    return (least, most) if least <= most else (most, most)


def _texts(given: Any) -> st.SearchStrategy[str]:
    if given is None:
        return st.text(_TEXT, max_size=12)
    if given.HasField("pattern"):
        return st.from_regex(given.pattern, fullmatch=True)
    least = given.len if given.HasField("len") else given.min_len
    most = given.len if given.HasField("len") else given.max_len if given.HasField("max_len") else least + 12
    made = st.text(_TEXT, min_size=least, max_size=min(most, least + 12))
    return made.map(lambda text: f"{given.prefix}{text}{given.suffix}")


def _is_whole(message: Descriptor) -> bool:
    """Returns whether a message is drawn at once: a well-known one, whose fields say little by themselves."""
    return message.file.package == "google.protobuf"


def _messages(message: Descriptor, depth: int) -> st.SearchStrategy[Message]:
    from google.protobuf.message_factory import GetMessageClass

    made: Any = GetMessageClass(message)
    match message.full_name:
        case "google.protobuf.Duration":
            return st.builds(made, seconds=st.integers(0, 3600))
        case "google.protobuf.Timestamp":
            return st.builds(made, seconds=st.integers(1_600_000_000, 1_800_000_000))
    if _is_whole(message) or depth <= 0:
        return st.builds(made)
    fields = [field for field in message.fields if not field.containing_oneof]
    return st.fixed_dictionaries({}, optional={field.name: _values(field, depth) for field in fields}).map(
        partial(_built, made)
    )


def _built(made: Any, values: dict[str, Any]) -> Message:
    built: Any = made()
    for field in built.DESCRIPTOR.fields:
        if field.name in values:
            _set(built, field, values[field.name])
    return built  # type: ignore[no-any-return]
