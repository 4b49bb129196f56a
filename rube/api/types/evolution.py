"""Changes between two versions of a type's files that break the objects and programs of the older one.

The rules are buf's, under buf's names (https://buf.build/docs/breaking/rules/):

- Those of its category WIRE refuse a version: what is stored would be read as something else, or not at all. Of these,
  the rules of services (`RPC_*`) never apply here, since objects hold none.
- Those of WIRE_JSON are warnings. Rube stores bytes, and a removed field stays in them as an unknown one; but people
  write objects, masks and columns with the names of fields and values, so that a renamed field breaks their files.
  Left out are `ENUM_SAME_JSON_FORMAT` and `MESSAGE_SAME_JSON_FORMAT`, which ask for a feature that is not read here.
- `MESSAGE_NO_DELETE` refuses a version without the spec's or the status's message.

Only what the spec and the status reach counts. Messages that this server provides are the same in both versions.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from google.protobuf import text_encoding
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from rube.api.types import provided
from rube.api.types.declarations import declarations
from rube.api.types.kinds import Kind

_F = FieldDescriptorProto
_TYPES: Final[dict[int, str]] = {int(number): name.removeprefix("TYPE_").lower() for name, number in _F.Type.items()}
# Types of one group are read as each other. The second is finer: the same texts of JSON, too.
_WIRE_GROUPS: Final[dict[int, int | str]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_INT64, _F.TYPE_UINT32, _F.TYPE_UINT64, _F.TYPE_BOOL), "varint"),
    **dict.fromkeys((_F.TYPE_SINT32, _F.TYPE_SINT64), "zigzag"),
    **dict.fromkeys((_F.TYPE_FIXED32, _F.TYPE_SFIXED32), "fixed32"),
    **dict.fromkeys((_F.TYPE_FIXED64, _F.TYPE_SFIXED64), "fixed64"),
}
_JSON_GROUPS: Final[dict[int, int | str]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_UINT32), "int32"),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_UINT64), "int64"),
    **dict.fromkeys((_F.TYPE_FIXED32, _F.TYPE_SFIXED32), "fixed32"),
    **dict.fromkeys((_F.TYPE_FIXED64, _F.TYPE_SFIXED64), "fixed64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A change that breaks something: buf's rule, the full name of what changed, and a sentence with the remedy."""

    rule: str
    path: str
    text: str
    warning: bool
    """True: stored objects stay readable, and files that people wrote break. False: the version is refused."""


def breaking(before: FileDescriptorSet, after: FileDescriptorSet, roots: Iterable[str]) -> list[Breakage]:
    """Returns the breakages from one version of a type to the next, sorted by path.

    Both are sets that `files.load` accepts. `roots` are the full names of the older version's spec and status.
    """
    old, new = _Version(before), _Version(after)
    names = sorted({root for root in roots if root in old.messages})
    found = [_removed_root(name) for name in names if name not in new.messages]
    reached_before, reached_after = old.reached(names), new.reached(names)
    for name in sorted(reached_before & reached_after):
        if name in old.messages and name in new.messages:
            found += _compare_messages(_Pair(old, new, name), old.messages[name], new.messages[name])
        elif name in old.enums and name in new.enums:
            found += _compare_enums(name, old.enums[name], new.enums[name])
    found += _compare_packages(old, new, reached_before)
    return sorted(found, key=lambda each: (each.path, each.rule, each.text))


def breakages(before: Kind, after: Kind) -> list[Breakage]:
    """Returns what a next version of a type breaks, and what it only renames (warnings)."""
    roots = [kind.DESCRIPTOR.full_name for kind in (before.spec, before.status) if kind is not None]
    return breaking(FileDescriptorSet(file=before.files), FileDescriptorSet(file=after.files), roots)


class _Features(NamedTuple):
    """The features of an edition that change bytes, as they are inherited."""

    required: bool = False
    delimited: bool = False

    def with_options(self, features: FeatureSet) -> _Features:
        required, delimited = self
        if features.HasField("field_presence"):
            required = features.field_presence == FeatureSet.LEGACY_REQUIRED
        if features.HasField("message_encoding"):
            delimited = features.message_encoding == FeatureSet.DELIMITED
        return _Features(required, delimited)


class _Version:
    """The messages and enums of a version by full name, without provided ones."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.files = {file.name: file for file in files.file if file.name not in provided.FILES}
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        self.homes: dict[str, str] = {}
        self._features: dict[str, _Features] = {}
        self._values: dict[str, dict[str | None, int]] = {}
        for file in self.files.values():
            self._add(file)

    def _add(self, file: FileDescriptorProto) -> None:
        top = _Features().with_options(file.options.features)
        for name, _, proto, _ in declarations(file):
            self.homes[name] = file.name
            if isinstance(proto, EnumDescriptorProto):
                self.enums[name] = proto
            else:
                self.messages[name] = proto
                outer = self._features.get(name.rpartition(".")[0], top)
                self._features[name] = outer.with_options(proto.options.features)

    def reached(self, roots: Iterable[str]) -> set[str]:
        """Returns the full names of the messages and enums in the fields of the roots, and of the roots."""
        found: set[str] = set()
        waiting = [root for root in roots if root in self.messages]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                if (message := self.messages.get(name)) is not None:
                    waiting.extend(field.type_name[1:] for field in message.field if field.type_name)
        return found

    def is_entry(self, name: str) -> bool:
        return name in self.messages and self.messages[name].options.map_entry

    def type_of(self, message: str, field: FieldDescriptorProto) -> int:
        """Returns the field's type; TYPE_GROUP for a message that an edition encodes as one."""
        delimited = self._features[message].with_options(field.options.features).delimited
        if field.type == _F.TYPE_MESSAGE and delimited and not self.is_entry(field.type_name[1:]):
            return _F.TYPE_GROUP
        return field.type

    def cardinality(self, message: str, field: FieldDescriptorProto) -> str:
        if field.label == _F.LABEL_REPEATED:
            return "map" if self.is_entry(field.type_name[1:]) else "repeated"
        inherited = self._features[message].with_options(field.options.features).required
        in_oneof = field.HasField("oneof_index")
        return "required" if field.label == _F.LABEL_REQUIRED or (inherited and not in_oneof) else "singular"

    def default(self, field: FieldDescriptorProto) -> str | float | None:
        """Returns the field's value where it is not set; None: such a field has no default."""
        if field.label == _F.LABEL_REPEATED or field.type in (_F.TYPE_MESSAGE, _F.TYPE_GROUP):
            return None
        text = field.default_value if field.HasField("default_value") else None
        if field.type == _F.TYPE_STRING:
            return text or ""
        if field.type == _F.TYPE_BYTES:
            return text_encoding.CUnescape(text or "").decode("latin-1")
        if field.type == _F.TYPE_ENUM:
            return self._numbers(field.type_name[1:]).get(text, 0)
        return _number(text or "0", field.type)

    def _numbers(self, enum: str) -> dict[str | None, int]:
        """Returns the numbers of an enum's values; that of None is the first one's."""
        if (found := self._values.get(enum)) is None:
            values = self.enums[enum].value if enum in self.enums else []
            found = self._values[enum] = {value.name: value.number for value in values}
            found[None] = values[0].number if values else 0
        return found


def _number(text: str, kind: int) -> float:
    if kind == _F.TYPE_BOOL:
        return int(text == "true")
    if kind in (_F.TYPE_FLOAT, _F.TYPE_DOUBLE):
        return _single(float(text)) if kind == _F.TYPE_FLOAT else float(text)
    return int(text)


def _single(value: float) -> float:
    """Returns the nearest number that a `float` holds."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A message that both versions have."""

    old: _Version
    new: _Version
    message: str

    @property
    def of(self) -> str:
        """The end of a sentence about one of its fields."""
        owner, _, own = self.message.rpartition(".")
        return f"the map {owner}.{own.removesuffix('Entry')}" if self.old.is_entry(self.message) else self.message


def _removed_root(name: str) -> Breakage:
    return Breakage(
        rule="MESSAGE_NO_DELETE",
        path=name,
        text=f"the message {name} was removed, and stored objects have it: keep it, or delete the objects and the type",
        warning=False,
    )


def _compare_packages(old: _Version, new: _Version, reached: Iterable[str]) -> Iterator[Breakage]:
    for name in sorted({old.homes[each] for each in reached if each in old.homes}):
        if name in new.files and new.files[name].package != old.files[name].package:
            yield Breakage(
                rule="FILE_SAME_PACKAGE",
                path=name,
                text=f"the package of {name} changed from {old.files[name].package} to {new.files[name].package}: keep "
                "it, since it is a part of its messages' names",
                warning=False,
            )


def _compare_messages(pair: _Pair, before: DescriptorProto, after: DescriptorProto) -> Iterator[Breakage]:
    fields = {field.number: field for field in after.field}
    reserved = _Reserved(after)
    for field in before.field:
        if field.number in fields:
            yield from _compare_fields(pair, field, fields[field.number])
        else:
            yield from _removed_field(pair.message, field, reserved)
    yield from _compare_required(pair.message, before, after)
    yield from _compare_reserved("RESERVED_MESSAGE_NO_DELETE", pair.message, _Reserved(before), reserved)


def _removed_field(message: str, field: FieldDescriptorProto, reserved: _Reserved) -> Iterator[Breakage]:
    path = f"{message}.{field.name}"
    if not reserved.covers(field.number, field.number):
        also = "" if field.name in reserved.names else f' and `reserved "{field.name}";`'
        yield Breakage(
            rule="FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
            path=path,
            text=f"field {field.name} (number {field.number}) of {message} was removed, and stored objects keep its "
            f"value: write `reserved {field.number};`{also} in {message}, so that no later field reads it as its own",
            warning=False,
        )
    if field.name not in reserved.names:
        yield Breakage(
            rule="FIELD_NO_DELETE_UNLESS_NAME_RESERVED",
            path=path,
            text=f'files that set {field.name} of {message} are refused now: write `reserved "{field.name}";` in '
            f"{message}, so that no later field gets a value that was meant for it",
            warning=True,
        )


def _compare_required(message: str, before: DescriptorProto, after: DescriptorProto) -> Iterator[Breakage]:
    was = {field.number: field.name for field in before.field if field.label == _F.LABEL_REQUIRED}
    now = {field.number: field.name for field in after.field if field.label == _F.LABEL_REQUIRED}
    for number in sorted(was.keys() ^ now.keys()):
        name = now.get(number) or was[number]
        text = (
            f"field {name} (number {number}) of {message} became required, and stored objects without it could not be "
            "read: make it optional"
            if number in now
            else f"field {name} (number {number}) of {message} is not required any more, and older programs refuse "
            "objects without it: keep it required"
        )
        yield Breakage(rule="MESSAGE_SAME_REQUIRED_FIELDS", path=f"{message}.{name}", text=text, warning=False)


def _compare_fields(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> Iterator[Breakage]:
    for compare in (_compare_types, _compare_cardinalities, _compare_defaults, _compare_oneofs, _compare_names):
        yield from compare(pair, before, after)


def _breakage(pair: _Pair, field: FieldDescriptorProto, rule: str, text: str, *, warning: bool = False) -> Breakage:
    return Breakage(
        rule=rule,
        path=f"{pair.message}.{field.name}",
        text=f"field {field.name} (number {field.number}) of {pair.of} {text}",
        warning=warning,
    )


def _compare_types(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> Iterator[Breakage]:
    was, now = pair.old.type_of(pair.message, before), pair.new.type_of(pair.message, after)
    remedy = (
        f"keep the type; for another one write `reserved {before.number};` and declare a field with a number of its own"
    )
    to_bytes = (was, now) == (_F.TYPE_STRING, _F.TYPE_BYTES)
    if _WIRE_GROUPS.get(was, was) != _WIRE_GROUPS.get(now, now) and not to_bytes:
        text = f"changed its type from {_TYPES[was]} to {_TYPES[now]}, and stored values would be lost: {remedy}"
        yield _breakage(pair, after, "FIELD_WIRE_COMPATIBLE_TYPE", text)
    elif _JSON_GROUPS.get(was, was) != _JSON_GROUPS.get(now, now):
        text = f"changed its type from {_TYPES[was]} to {_TYPES[now]}, and its values are written otherwise in text"
        yield _breakage(
            pair, after, "FIELD_WIRE_JSON_COMPATIBLE_TYPE", f"{text}: write files and programs anew", warning=True
        )
    elif before.type_name != after.type_name and not _same_enum(pair, before, after):
        text = (
            f"changed its type from {before.type_name[1:]} to {after.type_name[1:]}, and stored values would be read "
            f"as another: {remedy}"
        )
        yield _breakage(pair, after, "FIELD_WIRE_COMPATIBLE_TYPE", text)


def _same_enum(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> bool:
    """Returns whether an enum moved: it has the same last name, and every value that it had."""
    was, now = pair.old.enums.get(before.type_name[1:]), pair.new.enums.get(after.type_name[1:])
    if was is None or now is None or was.name != now.name:
        return False
    numbers = {value.name: value.number for value in now.value}
    return all(numbers.get(value.name) == value.number for value in was.value)


def _compare_cardinalities(
    pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto
) -> Iterator[Breakage]:
    if pair.old.is_entry(pair.message) and pair.new.is_entry(pair.message):
        return
    was, now = pair.old.cardinality(pair.message, before), pair.new.cardinality(pair.message, after)
    if was == now:
        return
    if {was, now} == {"map", "repeated"}:
        text = f"changed from {was} to {now}, and its values are written otherwise in text: write files anew"
        yield _breakage(pair, after, "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY", text, warning=True)
    else:
        text = (
            f"changed from {was} to {now}, and stored values would be lost: write `reserved {before.number};` and "
            "declare a field with a number of its own"
        )
        yield _breakage(pair, after, "FIELD_WIRE_COMPATIBLE_CARDINALITY", text)


def _compare_defaults(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> Iterator[Breakage]:
    was, now = pair.old.default(before), pair.new.default(after)
    if was is None or now is None or (not was and not now) or _equal(was, now, {before.type, after.type}):
        return
    text = f"changed its default value from {was!r} to {now!r}, which stored objects without one would get: keep it"
    yield _breakage(pair, after, "FIELD_SAME_DEFAULT", text)


def _equal(was: str | float, now: str | float, kinds: set[int]) -> bool:
    if isinstance(was, str) or isinstance(now, str):
        return was == now
    if math.isnan(was) or math.isnan(now):
        return math.isnan(was) and math.isnan(now)
    return _single(was) == _single(now) if kinds == {_F.TYPE_FLOAT, _F.TYPE_DOUBLE} else was == now


def _compare_oneofs(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> Iterator[Breakage]:
    was = _oneof(pair.old.messages[pair.message], before)
    now = _oneof(pair.new.messages[pair.message], after)
    if was == now:
        return
    if was and now:
        text = f"moved from oneof {was} to oneof {now}"
    else:
        text = f"moved into oneof {now}" if now else f"moved out of oneof {was}"
    yield _breakage(
        pair, after, "FIELD_SAME_ONEOF", f"{text}, and stored objects can have fields that exclude it: leave it there"
    )


def _oneof(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """Returns the name of the field's oneof; empty: it is in none, but for that of an optional field."""
    if not field.HasField("oneof_index") or field.proto3_optional:
        return ""
    return message.oneof_decl[field.oneof_index].name


def _compare_names(pair: _Pair, before: FieldDescriptorProto, after: FieldDescriptorProto) -> Iterator[Breakage]:
    if before.name != after.name:
        text = f"was called {before.name}, and files, masks and columns that say so are refused now: write them anew"
        yield _breakage(pair, after, "FIELD_SAME_NAME", text, warning=True)
    if before.json_name != after.json_name:
        text = f"was called {before.json_name} in JSON: write programs that read it anew"
        yield _breakage(pair, after, "FIELD_SAME_JSON_NAME", text, warning=True)


def _compare_enums(name: str, before: EnumDescriptorProto, after: EnumDescriptorProto) -> Iterator[Breakage]:
    was, now = _names_by_number(before), _names_by_number(after)
    reserved = _Reserved(after)
    for number in sorted(was.keys() - now.keys()):
        yield from _removed_value(name, number, was[number], reserved)
    for number in sorted(was.keys() & now.keys()):
        if not was[number] <= now[number]:
            gone = ", ".join(sorted(was[number] - now[number]))
            yield Breakage(
                rule="ENUM_VALUE_SAME_NAME",
                path=f"{name}.{min(now[number])}",
                text=f"value {number} of enum {name} is not called {gone} any more, and files that say so are refused "
                "now: write them anew, or declare the name too (option allow_alias)",
                warning=True,
            )
    yield from _compare_reserved("RESERVED_ENUM_NO_DELETE", name, _Reserved(before), reserved)


def _names_by_number(enum: EnumDescriptorProto) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for value in enum.value:
        found.setdefault(value.number, set()).add(value.name)
    return found


def _removed_value(enum: str, number: int, names: set[str], reserved: _Reserved) -> Iterator[Breakage]:
    shown = ", ".join(sorted(names))
    path = f"{enum}.{min(names)}"
    quoted = ", ".join(f'"{each}"' for each in sorted(names))
    if not reserved.covers(number, number):
        also = "" if names <= reserved.names else f" and `reserved {quoted};`"
        yield Breakage(
            rule="ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED",
            path=path,
            text=f"value {shown} (number {number}) of enum {enum} was removed, and stored objects keep the number: "
            f"write `reserved {number};`{also} in {enum}, so that no later value gets it",
            warning=False,
        )
    if not names <= reserved.names:
        yield Breakage(
            rule="ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED",
            path=path,
            text=f"files that say {shown} of enum {enum} are refused now: write `reserved {quoted};` in {enum}, so "
            "that no later value gets the name",
            warning=True,
        )


class _Reserved:
    """The numbers, in ranges with both ends, and the names that a message or an enum reserves."""

    def __init__(self, proto: DescriptorProto | EnumDescriptorProto) -> None:
        beyond = 1 if isinstance(proto, DescriptorProto) else 0
        self.ranges = [(each.start, each.end - beyond) for each in proto.reserved_range]
        self.names = set(proto.reserved_name)
        self._joined: list[tuple[int, int]] = []
        for first, last in sorted(self.ranges):
            if self._joined and first <= self._joined[-1][1] + 1:
                first, last = self._joined[-1][0], max(last, self._joined.pop()[1])
            self._joined.append((first, last))

    def covers(self, first: int, last: int) -> bool:
        index = bisect_right(self._joined, first, key=lambda each: each[0]) - 1
        return index >= 0 and last <= self._joined[index][1]


def _compare_reserved(rule: str, name: str, before: _Reserved, after: _Reserved) -> Iterator[Breakage]:
    for first, last in before.ranges:
        if not after.covers(first, last):
            shown = str(first) if first == last else f"{first} to {last}"
            text = f"{name} does not reserve {shown} any more, and stored objects can have values from before it did"
            yield Breakage(rule=rule, path=name, text=f"{text}: write `reserved {shown};`", warning=False)
    for word in sorted(before.names - after.names):
        text = f"{name} does not reserve the name {word} any more, and files from before can say it"
        yield Breakage(rule=rule, path=name, text=f'{text}: write `reserved "{word}";`', warning=False)
