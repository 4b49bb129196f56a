"""Compiled .proto files as source again, a text for each definition, so that people can compare versions. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

import rube.api.resource_pb2  # noqa: F401 (so that its options are known)
from rube.api import textproto
from rube.api.textproto.printer import scalar_text
from rube.api.types.declarations import declarations
from rube.api.types.options import options_class

_F = FieldDescriptorProto
_TYPES: Final = {int(number): name.removeprefix("TYPE_").lower() for name, number in _F.Type.items()}
_INDENT: Final = "  "
_ONE_LINE_CHARS_MAX: Final = 60
_MESSAGE_NUMBER_END: Final = 2**29
_ENUM_NUMBER_MAX: Final = 2**31 - 1


def definitions(files: FileDescriptorSet) -> dict[str, list[str]]:
    """Returns the lines of each message and enum, by `message` or `enum` and its full name; those within a message are
    definitions of their own. A file's own options are one, too."""
    found: dict[str, list[str]] = {}
    for file in files.file:
        found[f"package {file.package}"] = [*_head(file)]
        for declared in declarations(file):
            proto = declared.proto
            if isinstance(proto, EnumDescriptorProto):
                found[f"enum {declared.name}"] = [*_enum(proto)]
            elif not proto.options.map_entry:
                found[f"message {declared.name}"] = [*_message(proto, declared.name, file)]
    return found


def difference(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Yields the lines of each definition that differs, below a line that names it."""
    for name in [*after, *(gone for gone in before if gone not in after)]:
        old, new = before.get(name, ()), after.get(name, ())
        if old != new:
            whole = max(len(old), len(new))
            yield [f"@@ {name} @@", *list(difflib.unified_diff([*old], [*new], n=whole, lineterm=""))[3:]]


def _head(file: FileDescriptorProto) -> Iterator[str]:
    if file.syntax == "editions":
        yield f"edition {file.edition};"
    else:
        yield f'syntax = "{file.syntax or "proto2"}";'
    yield f"package {file.package};"
    yield from _option_lines("FileOptions", file.options)
    for extended in file.extension:
        yield f"extend {extended.extendee.lstrip('.')} {{ {_label(extended, file)}{_type(extended, None, file)} }}"


def _message(message: DescriptorProto, name: str, file: FileDescriptorProto) -> Iterator[str]:
    yield f"message {message.name} {{"
    yield from _indented(_option_lines("MessageOptions", message.options))
    entries = {f".{name}.{each.name}": each for each in message.nested_type if each.options.map_entry}
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            yield from _indented(_field(field, entries.get(field.type_name), file))
    for index, oneof in enumerate(message.oneof_decl):
        members = [each for each in message.field if each.HasField("oneof_index") and each.oneof_index == index]
        if members and not members[0].proto3_optional:
            yield f"{_INDENT}oneof {oneof.name} {{"
            yield from _indented(_indented(_option_lines("OneofOptions", oneof.options)))
            for field in members:
                yield from _indented(_indented(_field(field, None, file)))
            yield f"{_INDENT}}}"
    yield from _indented(_reserved(message.reserved_range, message.reserved_name, 1, _MESSAGE_NUMBER_END))
    yield "}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    yield from _indented(_option_lines("EnumOptions", enum.options))
    for value in enum.value:
        yield f"{_INDENT}{value.name} = {value.number}{_in_brackets(_options('EnumValueOptions', value.options))};"
    yield from _indented(_reserved(enum.reserved_range, enum.reserved_name, 0, _ENUM_NUMBER_MAX))
    yield "}"


def _field(field: FieldDescriptorProto, entry: DescriptorProto | None, file: FileDescriptorProto) -> Iterator[str]:
    options = [*_options("FieldOptions", field.options)]
    if field.HasField("default_value"):
        options.insert(0, f"default = {field.default_value}")
    if field.json_name not in ("", _json_name(field.name)):
        options.insert(0, f'json_name = "{field.json_name}"')
    label = "" if entry is not None else _label(field, file)
    begin = f"{label}{_type(field, entry, file)} {field.name} = {field.number}"
    yield from f"{begin}{_in_brackets(options)};".splitlines()


def _label(field: FieldDescriptorProto, file: FileDescriptorProto) -> str:
    if field.label == _F.LABEL_REPEATED:
        return "repeated "
    if field.label == _F.LABEL_REQUIRED:
        return "required "
    in_oneof = field.HasField("oneof_index")
    return "optional " if field.proto3_optional or (file.syntax in ("", "proto2") and not in_oneof) else ""


def _type(field: FieldDescriptorProto, entry: DescriptorProto | None, file: FileDescriptorProto) -> str:
    if entry is not None:
        return f"map<{_type(entry.field[0], None, file)}, {_type(entry.field[1], None, file)}>"
    if field.type_name:
        return field.type_name.removeprefix(f".{file.package}." if file.package else ".").lstrip(".")
    return _TYPES[field.type]


def _reserved(ranges: Any, names: Sequence[str], beyond: int, end: int) -> Iterator[str]:
    """Yields the reserved numbers and names. The ranges of messages end one number `beyond` their last."""
    shown = [
        str(each.start)
        if each.end - beyond == each.start
        else f"{each.start} to {'max' if each.end == end else each.end - beyond}"
        for each in ranges
    ]
    if shown:
        yield f"reserved {', '.join(shown)};"
    if names:
        quoted = ", ".join(f'"{name}"' for name in names)
        yield f"reserved {quoted};"


def _option_lines(kind: str, options: Message) -> Iterator[str]:
    for each in _options(kind, options):
        yield from f"option {each};".splitlines()


def _options(kind: str, options: Message) -> Iterator[str]:
    """Yields the options as `name = value`: those of descriptor.proto, of Rube and of buf.validate, then others by
    number."""
    encoded = options.SerializeToString(deterministic=True)
    if not encoded:
        return
    other = options_class(kind).FromString(encoded)
    known = {field.number for field, _ in (*options.ListFields(), *other.ListFields())}
    for field, value in options.ListFields():
        yield from _option(field, value)
    for field, value in other.ListFields():
        if field.is_extension:
            yield from _option(field, value)
    for entry in UnknownFieldSet(options):  # type: ignore[attr-defined]  # a sequence
        if entry.field_number not in known:
            yield f"({entry.field_number}) = {entry.data!r}"


def _option(field: FieldDescriptor, value: Any) -> Iterator[str]:
    name = f"({field.full_name})" if field.is_extension else field.name
    for each in value if field.is_repeated else (value,):
        yield _assigned(name, field, each)


def _assigned(name: str, field: FieldDescriptor, value: Any) -> str:
    """Returns `name = value`; a message with one field as `name.field = value`."""
    if field.message_type is None:
        return f"{name} = {scalar_text(field, value)}"
    set_fields = value.ListFields()
    if len(set_fields) == 1 and not set_fields[0][0].is_repeated:
        below, inner = set_fields[0]
        return _assigned(f"{name}.{below.name}", below, inner)
    lines = textproto.format(value).splitlines()
    if not lines:
        return f"{name} = {{}}"
    flat = " ".join(line.strip() for line in lines)
    if len(flat) <= _ONE_LINE_CHARS_MAX:
        return f"{name} = {{ {flat} }}"
    return "\n".join([f"{name} = {{", *_indented(iter(lines)), "}"])


def _in_brackets(options: Iterator[str] | Sequence[str]) -> str:
    shown = ", ".join(options)
    return f" [{shown}]" if shown else ""


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)
