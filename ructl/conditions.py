"""The conditions of `ructl wait`: a word, or a field of an object by its path. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rube.api import Metadata, NodeStatus, Object, StatusCondition, UnitStatus
from rube.api.conditions import find_condition
from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.api.types import Kind
from rube.api.well_known import NODE_TYPE, UNIT_TYPE, bound_node
from ructl.cluster_types import TYPES

_OF_STATUS: Final = "condition="
_CONDITION: Final = "api.StatusCondition"
_WORDS: Final = ("active", "deleted", "exists", "ready")
_ACTIVE_STATES: Final = ("active", "activating", "deactivating", "failed", "inactive", "reloading")
# A key with other signs than these, or with a dot where fields follow it, stands in backquotes, as in `ructl patch`.
_COMPARISON: Final = re.compile(r"([A-Za-z_](?:`[^`]*`|[\w.\-/])*?)\s*(>=|<=|!=|=)\s*(.*)\Z", re.DOTALL)
_PATH: Final = re.compile(r"[A-Za-z_](?:`[^`]*`|[\w.\-/])*\Z")
_STEP: Final = re.compile(r"`([^`]*)`|([^.`]+)")
_WRAPPED: Final = ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
_WRAPPERS: Final = frozenset(f"google.protobuf.{name}Value" for name in _WRAPPED)
_TIMES: Final = frozenset(("google.protobuf.Timestamp", "google.protobuf.Duration"))


@dataclass(frozen=True, slots=True)
class WaitCondition:
    """A condition on one object. `lack` says why it doesn't hold, in words; empty: it holds."""

    text: str
    lack: Callable[[Object], str]
    of_absence: bool = False


def parse_condition(text: str, type_name: str) -> WaitCondition:
    """The condition that `text` means for objects of a type. Raises InvalidArgumentError, with a suggestion."""
    kind = TYPES.kind(type_name)
    match text:
        case "exists":
            return WaitCondition(text, lambda obj: "")
        case "deleted":
            return WaitCondition(text, lambda obj: "it still exists", of_absence=True)
        case "active" if type_name == UNIT_TYPE:
            return WaitCondition(text, _why_not_active)
        case "ready" if type_name == NODE_TYPE:
            return WaitCondition(text, _why_not_ready)
        case "active" | "ready":
            other = UNIT_TYPE if text == "active" else NODE_TYPE
            raise InvalidArgumentError(f"{text!r} is a condition of {other}, not of {type_name}")
    if text.startswith(_OF_STATUS):
        return _status_condition(text, kind)
    found = _COMPARISON.match(text)
    if found is None and not ("." in text and _PATH.match(text)):
        raise InvalidArgumentError(
            f"{text!r} is no condition; {suggestion(text, _WORDS)}; or write PATH=VALUE, such as status.main_pid=7"
        )
    path, sign, value = found.groups() if found else (text, "", "")
    steps = _steps(path)
    field = _resolve(steps, kind)
    _check_value(path, field, sign, value)
    return WaitCondition(text, lambda obj: _lack(obj, steps, field, sign, value))


def _status_condition(text: str, kind: Kind) -> WaitCondition:
    """Parses `condition=TYPE` and `condition=TYPE=STATE`."""
    wanted, _, state = text.removeprefix(_OF_STATUS).partition("=")
    field = kind.status.DESCRIPTOR.fields_by_name.get("conditions") if kind.status is not None else None
    if field is None or field.message_type is None or field.message_type.full_name != _CONDITION:
        raise InvalidArgumentError(f"objects of type {kind.name} report no conditions: wait for a field by its path")
    state = state.upper() or "TRUE"
    if not wanted or state not in StatusCondition.State.DESCRIPTOR.values_by_name:
        raise InvalidArgumentError(
            f"{text!r} is no condition: write condition=TYPE or condition=TYPE=STATE, with TRUE, FALSE or UNKNOWN"
        )

    def lack(obj: Object) -> str:
        status: Any = TYPES.unpack(obj.status) if obj.status.type_url else None
        found = None if status is None else find_condition(status.conditions, wanted)
        is_so = StatusCondition.State.Name(found.state if found is not None else StatusCondition.UNKNOWN)
        if is_so == state:
            return ""
        why = "it is not reported" if found is None else ": ".join(filter(None, (found.reason, found.message)))
        return f"{wanted} is {is_so}" + (f": {why}" if why else "")

    return WaitCondition(text, lack)


def condition_words(type_name: str, begun: str) -> list[str]:
    """Returns the completions of a condition that begins as `begun`; words that end in `.` or `=` go on."""
    kind = TYPES.kind(type_name)
    found = _COMPARISON.match(begun)
    if found is not None:
        path, sign, _ = found.groups()
        return [f"{path}{sign}{value}" for value in _known_values(_resolve(_steps(path), kind), path)]
    before, dot, _ = begun.rpartition(".")
    if not dot:
        of_type = {UNIT_TYPE: ["active"], NODE_TYPE: ["ready"]}.get(type_name, [])
        return [*of_type, "deleted", "exists", *(f"{root}." for root in _roots(kind))]
    message = _message_at(_steps(before), kind)
    if message is None or message.full_name in _WRAPPERS | _TIMES:
        return []
    return [f"{before}.{field.name}{'.' if _has_fields(field) else '='}" for field in message.fields]


def _steps(path: str) -> list[str]:
    return [quoted or plain for quoted, plain in _STEP.findall(path)]


def _message_at(steps: list[str], kind: Kind) -> Any:
    """Returns the message whose fields go on a path; None where a key of a map does, or nothing."""
    message: Any = _roots(kind).get(steps[0])
    rest = iter(steps[1:])
    for step in rest:
        field = message.fields_by_name.get(step) if message is not None else None
        if field is None:
            return None
        if _is_map(field):
            message = _value_of(field).message_type if next(rest, None) is not None else None
        else:
            message = field.message_type
    return message


def _value_of(field: FieldDescriptor) -> FieldDescriptor:
    """Returns the field of a map's values."""
    assert field.message_type is not None, "a map has entries"
    return field.message_type.fields_by_name["value"]


def _has_fields(field: FieldDescriptor) -> bool:
    return _is_map(field) or (field.message_type is not None and not field.is_repeated and not _is_plain(field))


def _is_plain(field: FieldDescriptor) -> bool:
    """Returns whether a value of the field can be compared: it is no message, or one that stands for a plain value."""
    return field.message_type is None or field.message_type.full_name in _WRAPPERS | _TIMES


def _scalar(field: FieldDescriptor) -> FieldDescriptor:
    """Returns the field with the value; of a message such as google.protobuf.Int32Value the one in it."""
    wrapped = field.message_type is not None and field.message_type.full_name in _WRAPPERS
    return field.message_type.fields_by_name["value"] if wrapped and field.message_type is not None else field


def _known_values(field: FieldDescriptor | None, path: str) -> list[str]:
    if field is None:
        return []
    field = _scalar(field)
    if field.enum_type is not None:
        return [value.name for value in field.enum_type.values]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return ["true", "false"]
    return list(_ACTIVE_STATES) if path == "status.active_state" else []


def _why_not_active(obj: Object) -> str:
    status = UnitStatus()
    obj.status.Unpack(status)
    if not status.active_state:
        return "its node has not reported yet" if bound_node(obj.metadata) else "it has no node yet"
    if status.observed_generation < obj.metadata.generation:
        why = f"generation {obj.metadata.generation} is not applied yet, and it is"
    elif status.active_state == "active":
        return ""
    else:
        why = "it is"
    detail = f" ({status.sub_state})" if status.sub_state not in ("", status.active_state) else ""
    return f"{why} {status.active_state}{detail}" + (f": {status.message}" if status.message else "")


def _why_not_ready(obj: Object) -> str:
    status = NodeStatus()
    obj.status.Unpack(status)
    if status.readiness == NodeStatus.READY:
        return ""
    return f"it is {NodeStatus.Readiness.Name(status.readiness).lower()}"


def _roots(kind: Kind) -> dict[str, Any]:
    """The messages that paths begin with."""
    roots: dict[str, Any] = {"metadata": Metadata.DESCRIPTOR, "spec": kind.spec.DESCRIPTOR}
    if kind.status is not None:
        roots["status"] = kind.status.DESCRIPTOR
    return roots


def _resolve(steps: list[str], kind: Kind) -> FieldDescriptor | None:
    """Returns the field that the path ends in; None for a key of a map of plain values. Raises InvalidArgumentError if
    there is none."""
    roots = _roots(kind)
    if steps[0] not in roots:
        raise InvalidArgumentError(f"{'.'.join(steps)}: {steps[0]!r} begins no path; {suggestion(steps[0], roots)}")
    if len(steps) < 2:
        raise InvalidArgumentError(f"{steps[0]} is a whole message: name a field of it, such as {steps[0]}.…")
    message: Any = roots[steps[0]]
    field: FieldDescriptor | None = None
    is_key = False
    for index, step in enumerate(steps[1:], start=1):
        if is_key:
            is_key = False
            continue
        if message is None:
            raise InvalidArgumentError(f"{'.'.join(steps[:index])} has no fields")
        field = message.fields_by_name.get(step)
        if field is None:
            near = suggestion(step, message.fields_by_name)
            raise InvalidArgumentError(f"{'.'.join(steps)}: {message.full_name} has no field {step!r}; {near}")
        if _is_map(field):
            if index + 1 == len(steps):
                raise InvalidArgumentError(f"{'.'.join(steps)} is a map: add a key")
            _check_key(field, steps[index + 1])
            if (value := _value_of(field)).message_type is None:
                return None  # the rest is the key, which may hold dots
            field, is_key = value, True
        if field.is_repeated and index + 1 < len(steps):
            raise InvalidArgumentError(f"{'.'.join(steps[: index + 1])} is a list: a path cannot go through it")
        message = None if _is_plain(field) else field.message_type
    return field


def _check_key(field: FieldDescriptor, text: str) -> None:
    try:
        _key(field, text)
    except ValueError:
        raise InvalidArgumentError(
            f"{field.name} has no key {text!r}: its keys are numbers, or true and false"
        ) from None


def _key(field: FieldDescriptor, text: str) -> str | int | bool:
    """Returns the key of a map that the text means. Raises ValueError."""
    assert field.message_type is not None, "a map has entries"
    match field.message_type.fields_by_name["key"].type:
        case FieldDescriptor.TYPE_STRING:
            return text
        case FieldDescriptor.TYPE_BOOL:
            return {"true": True, "false": False}[text] if text in ("true", "false") else int("")
        case _:
            return int(text)


def _check_value(path: str, field: FieldDescriptor | None, sign: str, value: str) -> None:
    """Raises InvalidArgumentError for a value that the field can never have."""
    if not sign or field is None:
        return
    if not _is_plain(field):
        raise InvalidArgumentError(f"{path} is a whole message: name a field of it")
    field = _scalar(field)
    if field.enum_type is not None and value not in field.enum_type.values_by_name:
        near = suggestion(value, field.enum_type.values_by_name)
        raise InvalidArgumentError(f"{path} has no value {value!r}; {near}")
    if field.type == FieldDescriptor.TYPE_BOOL and value not in ("true", "false"):
        raise InvalidArgumentError(f"{path} is true or false, not {value!r}")
    is_number = _is_number(field)
    if is_number and _number(value) is None:
        raise InvalidArgumentError(f"{path} is a number, not {value!r}")
    if sign in (">=", "<=") and not is_number:
        raise InvalidArgumentError(f"{path} is no number: compare it with = or !=")


def _lack(obj: Object, steps: list[str], field: FieldDescriptor | None, sign: str, value: str) -> str:
    found = _values(obj, steps)
    shown = ", ".join(found) or _default(field) or "not set"
    why = f"{'.'.join(steps)} is {shown}"
    if not sign:
        return "" if found else why
    if field is not None and _is_number(field):
        # A number without presence is 0 if it is not set; one in a message of its own is none then.
        numbers = [_number(text) or 0.0 for text in found or (["0"] if field.message_type is None else [])]
        wanted = _number(value) or 0.0
        match sign:
            case ">=":
                return "" if any(number >= wanted for number in numbers) else why
            case "<=":
                return "" if any(number <= wanted for number in numbers) else why
        holds = wanted in numbers
    elif found:
        holds = value in found
    else:
        holds = value == _default(field)
    return "" if holds == (sign == "=") else why


def _values(obj: Object, steps: list[str]) -> list[str]:
    """The values at the end of the path, as text; empty: it is not set."""
    return _values_in(_root(obj, steps[0]), steps[1:])


def _values_in(message: Any, steps: list[str]) -> list[str]:
    for index, step in enumerate(steps):
        if message is None:
            return []
        field = message.DESCRIPTOR.fields_by_name[step]
        value = getattr(message, step)
        if _is_map(field):
            return _values_below(field, value, steps[index + 1 :])
        if field.is_repeated:
            return [_text(field, item) for item in value]
        if index + 1 == len(steps):
            return [_text(field, value)] if _is_set(message, field) else []
        message = value if message.HasField(step) else None
    return []


def _values_below(field: FieldDescriptor, entries: Any, steps: list[str]) -> list[str]:
    """The values at the end of a path that goes on with a key of a map."""
    value = _value_of(field)
    key = _key(field, steps[0] if value.message_type is not None else ".".join(steps))
    if key not in entries:
        return []
    if value.message_type is None or len(steps) == 1:
        return [_text(value, entries[key])]
    return _values_in(entries[key], steps[1:])


def _root(obj: Object, name: str) -> Message | None:
    if name == "metadata":
        return obj.metadata
    packed = obj.spec if name == "spec" else obj.status
    return TYPES.unpack(packed) if packed.type_url else None


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return message.HasField(field.name) if field.has_presence else getattr(message, field.name) != field.default_value


def _text(field: FieldDescriptor, value: Any) -> str:
    if (inner := _scalar(field)) is not field:
        return _text(inner, value.value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.ToJsonString() if hasattr(value, "ToJsonString") else str(value)


def _default(field: FieldDescriptor | None) -> str:
    """Returns the value of an unset field; a missing key of a map reads as an empty text."""
    if field is None or field.message_type is not None or field.is_repeated:
        return ""
    return _text(field, field.default_value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_number(field: FieldDescriptor) -> bool:
    field = _scalar(field)
    numbers = (FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_ENUM, FieldDescriptor.CPPTYPE_STRING)
    return field.cpp_type not in (*numbers, FieldDescriptor.CPPTYPE_MESSAGE)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
