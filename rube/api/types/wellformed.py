"""The checks of one message or enum of a FileDescriptorProto: protoc's own, since it need not come from protoc, and
those of Rube."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted
from rube.api.types.declarations import NAME_CHARS_MAX, Declaration, identifier_of, refusal, text_of

NUMBER_MAX: Final = 536_870_911
_ENUM_NUMBERS = range(-(2**31), 2**31)
# Field numbers that are protobuf's own.
_KEPT = range(19_000, 20_000)
_DEFAULT_CHARS_MAX = 1024

# Python hands out a field by its name before it looks for a method.
_METHODS = frozenset(name for name in dir(Message) if not name.startswith("__")) | {"DESCRIPTOR", "Extensions"}

_F = FieldDescriptorProto
_INTEGERS = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), range(-(2**31), 2**31)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), range(-(2**63), 2**63)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), range(2**32)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), range(2**64)),
}
_NAMED = (_F.TYPE_MESSAGE, _F.TYPE_ENUM)
_KEYS = frozenset(_INTEGERS) | {_F.TYPE_BOOL, _F.TYPE_STRING}
_DEFAULTS = {
    **dict.fromkeys(_INTEGERS, re.compile(r"-?[0-9]{1,20}\Z")),
    **dict.fromkeys((_F.TYPE_FLOAT, _F.TYPE_DOUBLE), re.compile(r"-?(inf|nan|[0-9.]+([eE][-+]?[0-9]+)?)\Z")),
    _F.TYPE_BOOL: re.compile(r"(true|false)\Z"),
    _F.TYPE_BYTES: re.compile(r"([^\\]|\\([0-3]?[0-7]{1,2}|x[0-9a-fA-F]{1,2}|[abfnrtv\\'\"?]))*\Z"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The file that is checked: its syntax, and what it can name.

    `find` returns the declaration of a full name, and raises InvalidArgumentError if the file does not import one.
    """

    file: str
    syntax: str
    find: Callable[[str, str], Declaration]
    values: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    def values_of(self, enum_name: str, what: str) -> frozenset[str]:
        """Returns the names of an enum's values, which a thousand fields can ask for."""
        if (names := self.values.get(enum_name)) is None:
            enum = self.find(enum_name, what).proto
            assert isinstance(enum, EnumDescriptorProto)
            names = self.values[enum_name] = frozenset(value.name for value in enum.value)
        return names

    def refusal(self, text: str, symbol: str) -> InvalidArgumentError:
        return refusal(text, file=self.file, symbol=symbol)


def check_enum(scope: Scope, name: str, enum: EnumDescriptorProto) -> None:
    """Raises InvalidArgumentError unless the enum is one that protoc makes."""
    if not enum.value:
        raise scope.refusal(f"enum {name} has no values: declare one with number 0", name)
    if scope.syntax == "proto3" and enum.value[0].number != 0:
        raise scope.refusal(
            f"the first value of enum {name} has number {enum.value[0].number}: in proto3 it is 0", name
        )
    _check_options(scope, enum, f"enum {name}", name)
    ranges = [(each.start, each.end) for each in enum.reserved_range]
    reserved = _Reserved(scope, f"enum {name}", name, ranges, enum.reserved_name, _ENUM_NUMBERS)
    by_number: dict[int, str] = {}
    for value in enum.value:
        value_name = identifier_of(value.name, f"a value of enum {name}", scope.file)
        number = value.number
        if number in by_number and not enum.options.allow_alias:
            raise scope.refusal(
                f"values {by_number[number]} and {value_name} of enum {name} both have number {number}: renumber one, "
                "or set option allow_alias",
                name,
            )
        by_number[number] = value_name
        reserved.check(value_name, number)
        _check_options(scope, value, f"value {value_name} of enum {name}", name)


def check_message(scope: Scope, name: str, message: DescriptorProto, *, nested: bool) -> None:
    """Raises InvalidArgumentError unless the message is one that protoc makes and Rube can hold."""
    if len(message.extension_range):
        raise scope.refusal(
            f"message {name} has room for extensions, which objects cannot have: declare fields, or one of type "
            "google.protobuf.Any",
            name,
        )
    if message.options.message_set_wire_format:
        raise scope.refusal(f"message {name} sets message_set_wire_format: remove the option", name)
    if message.options.map_entry:
        _check_entry(scope, name, message, nested)
    _check_options(scope, message, f"message {name}", name)
    _check_fields(scope, name, message)
    _check_oneofs(scope, name, message)


def check_field(scope: Scope, field: FieldDescriptorProto, what: str, name: str) -> None:
    """Raises InvalidArgumentError unless the type, label and default value of a field or extension go together.

    `what` names it in a sentence and `name` is its full name.
    """
    if field.label not in (_F.LABEL_OPTIONAL, _F.LABEL_REPEATED):
        raise scope.refusal(f"{what} is required, so an object without it could not be read: make it optional", name)
    if not field.HasField("type"):
        raise scope.refusal(f"{what} has no type that this server knows: compile the .proto files anew", name)
    if field.type == _F.TYPE_GROUP:
        raise scope.refusal(f"{what} is a group: declare a message and a field of it", name)
    if field.type in _NAMED:
        _check_type_name(scope, field, what, name)
    elif field.type_name:
        raise scope.refusal(
            f"{what} is a scalar, yet names the type {quoted(str(field.type_name))}: compile it anew", name
        )
    if field.HasField("default_value"):
        _check_default(scope, field, what, name)
    _check_options(scope, field, what, name)


def _check_fields(scope: Scope, name: str, message: DescriptorProto) -> None:
    ranges = [(each.start, each.end - 1) for each in message.reserved_range]
    reserved = _Reserved(scope, f"message {name}", name, ranges, message.reserved_name, range(1, NUMBER_MAX + 1))
    by_number: dict[int, str] = {}
    by_json: dict[str, str] = {}
    for field in message.field:
        field_name = identifier_of(field.name, f"a field of message {name}", scope.file)
        full_name = f"{name}.{field_name}"
        what = f"field {field_name} of message {name}"
        if field_name in _METHODS:
            raise scope.refusal(f"{what} has the name of a method of Python's messages: rename it", full_name)
        if field.extendee:
            raise scope.refusal(f"{what} is declared as an extension: compile the .proto files anew", full_name)
        number = field.number
        if not 1 <= number <= NUMBER_MAX or number in _KEPT:
            raise scope.refusal(
                f"{what} has number {number}: choose one of 1 to {NUMBER_MAX} that is not in {_KEPT.start} to "
                f"{_KEPT.stop - 1}, which protobuf keeps for itself",
                full_name,
            )
        if number in by_number:
            raise scope.refusal(f"{what} has the number {number} of field {by_number[number]}: renumber one", full_name)
        by_number[number] = field_name
        reserved.check(field_name, number)
        json_name = _json_name(scope, field, what)
        if json_name in by_json:
            raise scope.refusal(
                f"{what} is called {quoted(json_name)} in JSON, as field {by_json[json_name]} is: rename one", full_name
            )
        by_json[json_name] = field_name
        check_field(scope, field, what, full_name)


def _json_name(scope: Scope, field: FieldDescriptorProto, what: str) -> str:
    if not field.HasField("json_name"):
        first, *rest = field.name.split("_")
        return first + "".join(part[:1].upper() + part[1:] for part in rest)
    json_name = text_of(field.json_name, f"the json_name of {what}", scope.file)
    if not json_name.isprintable() or json_name.startswith("[") or not 1 <= len(json_name) <= NAME_CHARS_MAX:
        raise scope.refusal(
            f"{what} has the json_name {quoted(json_name)}: use 1 to {NAME_CHARS_MAX} characters that print, and no [ "
            "as the first",
            field.name,
        )
    return json_name


def _check_oneofs(scope: Scope, name: str, message: DescriptorProto) -> None:
    members: list[list[FieldDescriptorProto]] = [[] for _ in message.oneof_decl]
    for field in message.field:
        full_name = f"{name}.{field.name}"
        what = f"field {field.name} of message {name}"
        if not field.HasField("oneof_index"):
            if field.proto3_optional:
                raise scope.refusal(f"{what} is optional without a oneof of its own: compile it anew", full_name)
            continue
        if not 0 <= field.oneof_index < len(members):
            raise scope.refusal(
                f"{what} is in oneof number {field.oneof_index} of {len(members)}: compile the .proto files anew",
                full_name,
            )
        if field.label != _F.LABEL_OPTIONAL:
            raise scope.refusal(f"{what} is repeated and in a oneof: wrap it in a message", full_name)
        if field.proto3_optional and scope.syntax != "proto3":
            raise scope.refusal(f"{what} has proto3_optional in a file that is not proto3: compile it anew", full_name)
        members[field.oneof_index].append(field)
    synthetic_before = ""
    for oneof, fields in zip(message.oneof_decl, members, strict=True):
        oneof_name = identifier_of(oneof.name, f"a oneof of message {name}", scope.file)
        full_name = f"{name}.{oneof_name}"
        what = f"oneof {oneof_name} of message {name}"
        if oneof_name in _METHODS:
            raise scope.refusal(f"{what} has the name of a method of Python's messages: rename it", full_name)
        synthetic = any(field.proto3_optional for field in fields)
        if not fields:
            raise scope.refusal(f"{what} has no fields: remove it, or declare one", full_name)
        if (synthetic and len(fields) > 1) or (synthetic_before and not synthetic):
            raise scope.refusal(f"{what} mixes with the oneof of an optional field: compile it anew", full_name)
        synthetic_before = oneof_name if synthetic else ""
        _check_options(scope, oneof, what, full_name)


def _check_type_name(scope: Scope, field: FieldDescriptorProto, what: str, name: str) -> None:
    type_name = text_of(field.type_name, f"the type of {what}", scope.file)
    if not type_name.startswith("."):
        raise scope.refusal(f"{what} has the type {quoted(type_name)}, without its package: compile it anew", name)
    found = scope.find(type_name[1:], what)
    kind = _F.TYPE_ENUM if isinstance(found.proto, EnumDescriptorProto) else _F.TYPE_MESSAGE
    if kind != field.type:
        raise scope.refusal(
            f"{what} says that {found.name} is {'an enum' if field.type == _F.TYPE_ENUM else 'a message'}, and it is "
            "not: compile the .proto files anew",
            name,
        )
    if isinstance(found.proto, DescriptorProto) and found.proto.options.map_entry:
        owner, _, own_name = name.rpartition(".")
        if found.name != f"{owner}.{_entry_name(own_name)}" or field.label != _F.LABEL_REPEATED:
            raise scope.refusal(f"{what} uses the entry of a map, {found.name}: declare a map<…> instead", name)


def _check_entry(scope: Scope, name: str, entry: DescriptorProto, nested: bool) -> None:
    """Raises InvalidArgumentError unless the message is what protoc makes of a map field."""
    fields = [(field.name, field.number, field.label) for field in entry.field]
    expected = [("key", 1, _F.LABEL_OPTIONAL), ("value", 2, _F.LABEL_OPTIONAL)]
    usable = fields == expected and entry.field[0].type in _KEYS and entry.field[1].type != _F.TYPE_GROUP
    bare = not (entry.nested_type or entry.enum_type or entry.oneof_decl or entry.extension or entry.reserved_range)
    if not (usable and bare and nested):
        raise scope.refusal(
            f"message {name} has the option map_entry, and is no entry that protoc makes: declare a field of type "
            "map<…> instead",
            name,
        )


def _entry_name(field_name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in field_name.split("_")) + "Entry"


def _check_default(scope: Scope, field: FieldDescriptorProto, what: str, name: str) -> None:
    value = text_of(field.default_value, f"the default of {what}", scope.file)
    if scope.syntax == "proto3" or field.label == _F.LABEL_REPEATED or field.type == _F.TYPE_MESSAGE:
        raise scope.refusal(f"{what} has a default value, which it cannot have: remove it", name)
    pattern = _DEFAULTS.get(field.type)
    good = len(value) <= _DEFAULT_CHARS_MAX and (pattern is None or pattern.match(value) is not None)
    if good and (numbers := _INTEGERS.get(field.type)) is not None:
        good = int(value) in numbers
    if good and field.type == _F.TYPE_ENUM:
        good = value in scope.values_of(field.type_name[1:], what)
    if not good:
        raise scope.refusal(f"{what} has the default {quoted(value)}, which its type does not have: correct it", name)


def _check_options(scope: Scope, declared: Message, what: str, name: str) -> None:
    if declared.HasField("options") and len(declared.options.uninterpreted_option):  # type: ignore[attr-defined]
        raise scope.refusal(f"{what} has options that were not compiled: compile the .proto files anew", name)


class _Reserved:
    """The numbers and names that a message or an enum reserves, in ranges that include their ends."""

    def __init__(
        self,
        scope: Scope,
        what: str,
        symbol: str,
        ranges: Iterable[tuple[int, int]],
        names: Iterable[str],
        numbers: range,
    ) -> None:
        self._scope = scope
        self._what = what
        self._symbol = symbol
        self._ranges = sorted(ranges)
        self._names = {text_of(name, f"a reserved name of {what}", scope.file) for name in names}
        previous: tuple[int, int] | None = None
        for first, last in self._ranges:
            if first > last or first not in numbers or last not in numbers:
                raise scope.refusal(
                    f"{what} reserves {first} to {last}: choose within {numbers.start} to {numbers.stop - 1}",
                    symbol,
                )
            if previous is not None and first <= previous[1]:
                raise scope.refusal(
                    f"{what} reserves {previous[0]} to {previous[1]} and {first} to {last}, which overlap: join them",
                    symbol,
                )
            previous = first, last

    def check(self, name: str, number: int) -> None:
        index = bisect_right(self._ranges, (number, _ENUM_NUMBERS.stop)) - 1
        if index >= 0 and self._ranges[index][1] >= number:
            raise self._scope.refusal(
                f"{self._what} reserves number {number}, and {name} has it: choose another", self._symbol
            )
        if name in self._names:
            raise self._scope.refusal(
                f"{self._what} reserves the name {name}, and has it: choose another", self._symbol
            )
