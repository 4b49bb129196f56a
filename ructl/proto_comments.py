"""The comments of protos on messages, fields, types and enum values, from a FileDescriptorSet. Pure.

Generated Python code drops comments. A FileDescriptorSet with source info keeps them, for Rube's own types (made by
`make proto`) as for any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.api.types.rule_words import message_rules, rule_words

Path = tuple[int, ...]
# Field numbers in descriptor.proto, of which the paths of SourceCodeInfo consist.
_FILE_MESSAGE, _FILE_ENUM = 4, 5
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = 2
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_ENUM", "TYPE_GROUP", "TYPE_MESSAGE")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumWords:
    """An enum: its full name, its comment, and its values with theirs."""

    name: str
    comment: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldWords:
    """A field as its proto has it. `type` is for people; `message` and `enum` are full names where it is of one."""

    name: str
    number: int
    type: str
    comment: str
    message: str = ""
    enum: str = ""
    rules: tuple[str, ...] = ()
    """In words, such as `at most 19`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageWords:
    """A message: its full name, its file, its comment, and its fields in the order of the proto."""

    name: str
    file: str
    comment: str
    fields: tuple[FieldWords, ...]
    rules: tuple[tuple[str, str], ...]
    """The rules of the whole message, each by its id."""

    def field(self, name: str) -> FieldWords:
        """Raises InvalidArgumentError, with a suggestion."""
        for field in self.fields:
            if field.name == name:
                return field
        near = suggestion(name, [field.name for field in self.fields])
        raise InvalidArgumentError(f"{self.name} has no field {name!r}; {near}")


class ProtoComments:
    """The messages and enums of a set of files, by full name."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.messages: dict[str, MessageWords] = {}
        self.enums: dict[str, EnumWords] = {}
        for file in files.file:
            _File(self, file).read()

    def has(self, path: str) -> bool:
        """Returns whether a path begins with a message, by its full name or its last part."""
        words = path.split(".")
        short = {full.rpartition(".")[2].lower() for full in self.messages}
        return words[0].lower() in short or any(
            ".".join(words[:count]) in self.messages for count in range(2, len(words) + 1)
        )

    def message(self, name: str) -> MessageWords:
        """A message by its full name, or its last part in any case. Raises InvalidArgumentError, with a suggestion."""
        if name in self.messages:
            return self.messages[name]
        short = {full.rpartition(".")[2].lower(): full for full in sorted(self.messages, reverse=True)}
        if name.lower() in short:
            return self.messages[short[name.lower()]]
        known = [full.rpartition(".")[2] for full in self.messages] if "." not in name else list(self.messages)
        raise InvalidArgumentError(f"there is no message {name!r}; {suggestion(name, known)}")


class _File:
    """Reads one file into the tables."""

    def __init__(self, tables: ProtoComments, file: FileDescriptorProto) -> None:
        self._tables = tables
        self._file = file
        self._comments = {
            tuple(found.path): _joined(found.leading_comments, found.trailing_comments)
            for found in file.source_code_info.location
            if found.leading_comments or found.trailing_comments
        }
        self._maps = dict(_map_entries(file.package, file.message_type))

    def read(self) -> None:
        for index, message in enumerate(self._file.message_type):
            self._message(self._file.package, message, (_FILE_MESSAGE, index))
        for index, enum in enumerate(self._file.enum_type):
            self._enum(self._file.package, enum, (_FILE_ENUM, index))

    def _message(self, scope: str, message: DescriptorProto, path: Path) -> None:
        if message.options.map_entry:
            return
        name = f"{scope}.{message.name}"
        self._tables.messages[name] = MessageWords(
            name=name,
            file=self._file.name,
            comment=self._comments.get(path, ""),
            fields=tuple(
                self._field(field, (*path, _MESSAGE_FIELD, index)) for index, field in enumerate(message.field)
            ),
            rules=message_rules(message),
        )
        for index, nested in enumerate(message.nested_type):
            self._message(name, nested, (*path, _MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            self._enum(name, enum, (*path, _MESSAGE_ENUM, index))

    def _field(self, field: FieldDescriptorProto, path: Path) -> FieldWords:
        full = field.type_name.removeprefix(".")
        shown = _SCALARS.get(field.type) or full.rpartition(".")[2]
        entry = self._maps.get(full)
        if entry is not None:
            key, value = (_SCALARS.get(part.type) or part.type_name.rpartition(".")[2] for part in entry.field)
            shown = f"map<{key}, {value}>"
            full = entry.field[1].type_name.removeprefix(".")
        elif field.label == FieldDescriptorProto.LABEL_REPEATED:
            shown = f"repeated {shown}"
        is_enum = field.type == FieldDescriptorProto.TYPE_ENUM
        return FieldWords(
            name=field.name,
            number=field.number,
            type=shown,
            comment=self._comments.get(path, ""),
            message="" if is_enum else full,
            enum=full if is_enum else "",
            rules=rule_words(field),
        )

    def _enum(self, scope: str, enum: EnumDescriptorProto, path: Path) -> None:
        name = f"{scope}.{enum.name}"
        values = tuple(
            (value.name, self._comments.get((*path, _ENUM_VALUE, index), "")) for index, value in enumerate(enum.value)
        )
        self._tables.enums[name] = EnumWords(name=name, comment=self._comments.get(path, ""), values=values)


def _map_entries(scope: str, messages: object) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:  # type: ignore[attr-defined]  # a repeated field
        name = f"{scope}.{message.name}"
        if message.options.map_entry:
            yield name, message
        yield from _map_entries(name, message.nested_type)


def _joined(*comments: str) -> str:
    """Comments as one text; a blank line between paragraphs stays."""
    text = "\n".join(line.strip() for comment in comments for line in comment.strip("\n").split("\n")).strip()
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
