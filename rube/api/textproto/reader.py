"""The reader of messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted, suggestion
from rube.api.textproto.lexer import Lexer, Position
from rube.api.types import BUILTIN, Types, is_any

M = TypeVar("M", bound=Message)

NESTING_LEVELS_MAX: Final = 100
POSITION_LEVELS_MAX: Final = 3
"""The depth of fields whose places are remembered: `items[1].metadata.name`."""
_CLOSING: Final = {"{": "}", "<": ">"}
# Bits, signed.
_INTEGERS: Final = {
    FieldDescriptor.TYPE_INT32: (32, True),
    FieldDescriptor.TYPE_SINT32: (32, True),
    FieldDescriptor.TYPE_SFIXED32: (32, True),
    FieldDescriptor.TYPE_UINT32: (32, False),
    FieldDescriptor.TYPE_FIXED32: (32, False),
    FieldDescriptor.TYPE_INT64: (64, True),
    FieldDescriptor.TYPE_SINT64: (64, True),
    FieldDescriptor.TYPE_SFIXED64: (64, True),
    FieldDescriptor.TYPE_UINT64: (64, False),
    FieldDescriptor.TYPE_FIXED64: (64, False),
}


def parse(text: str, message_class: type[M], *, filename: str, types: Types = BUILTIN) -> M:
    """Parses one message. Raises InvalidArgumentError whose text begins `filename:line:column: `."""
    message, _ = read(text.split("\n"), message_class, filename=filename, types=types)
    return message


def read(
    lines: Iterable[str],
    message_class: type[M],
    *,
    filename: str,
    first_line: int = 1,
    assignments: Sequence[str] = (":",),
    types: Types = BUILTIN,
) -> tuple[M, dict[str, Position]]:
    """Reads one message, and the places of its fields, by path: down to the depth of `items[1].metadata.name`.

    `first_line` is the number of the first of the lines; `assignments` are the tokens allowed between a field's name
    and its value.
    """
    reader = _Reader(Lexer(lines, filename, first_line), assignments, types)
    message = message_class()
    reader.fields(message, end="")
    return message, reader.positions


class _Reader:
    """Reads tokens into messages, by their descriptors."""

    def __init__(self, tokens: Lexer, assignments: Sequence[str], types: Types) -> None:
        self._types = types
        self._tokens = tokens
        self._assignments = assignments
        self._path: list[str] = []
        self.positions: dict[str, Position] = {}

    def fields(self, message: Message, *, end: str) -> None:
        """Reads fields up to the closing token `end`, or to the end of the text."""
        seen: dict[str, str] = {}
        while not (self._tokens.accept(end) if end else not self._tokens.current):
            self._field(message, seen)
            self._tokens.accept(",", ";")

    def _field(self, message: Message, seen: dict[str, str]) -> None:
        if self._tokens.current == "[" and is_any(message):
            self._expanded_any(message, seen)
            return
        position = self._tokens.position
        field = self._field_name(message, position)
        _refuse_twice(field, seen, position)
        if not self._tokens.accept(*self._assignments) and field.message_type is None:
            raise self._tokens.position.error(
                f"expected '{self._assignments[0]}' after the field {field.name}, found {self._tokens.found()}"
            )
        if field.is_repeated and self._tokens.accept("["):
            self._list(message, field)
        else:
            self._value(message, field)

    def _list(self, message: Message, field: FieldDescriptor) -> None:
        if self._tokens.accept("]"):
            return
        self._value(message, field)
        while self._tokens.accept(","):
            self._value(message, field)
        self._tokens.expect("]", f"or ',' in the list of {field.name}")

    def _field_name(self, message: Message, position: Position) -> FieldDescriptor:
        descriptor = cast(Descriptor, message.DESCRIPTOR)
        name = self._tokens.current
        if not name.isidentifier():
            remedy = "is a '}' missing?" if not name else f"fields of {descriptor.full_name} go here"
            raise position.error(f"expected a field's name, found {self._tokens.found()}; {remedy}")
        field = descriptor.fields_by_name.get(name)
        if field is None:
            known = suggestion(name, descriptor.fields_by_name)
            raise position.error(f"{descriptor.full_name} has no field {quoted(name)}; {known}", field=name)
        self._tokens.take()
        return field

    def _value(self, message: Message, field: FieldDescriptor) -> None:
        position = self._tokens.position
        index = f"[{len(getattr(message, field.name))}]" if field.is_repeated else ""
        self._path.append(field.name + index)
        if len(self._path) <= POSITION_LEVELS_MAX and (field.message_type is not None or not field.is_repeated):
            self.positions[".".join(self._path)] = position
        if field.message_type is None:
            _store(message, field, self._scalar(field, position))
        elif field.message_type.GetOptions().map_entry:
            self._map_entry(message, field, position)
        else:
            target = getattr(message, field.name)
            child = target.add() if field.is_repeated else target
            child.SetInParent()
            self._block(child, field.name)
        self._path.pop()

    def _block(self, message: Message, what: str) -> None:
        opened, opening = self._tokens.position, self._tokens.accept("{", "<")
        if not opening:
            raise opened.error(f"expected '{{' to open {what}, found {self._tokens.found()}")
        if len(self._path) > NESTING_LEVELS_MAX:
            raise opened.error(f"messages are nested deeper than {NESTING_LEVELS_MAX} levels")
        try:
            self.fields(message, end=_CLOSING[opening])
        except InvalidArgumentError as error:
            if not self._tokens.current and "is a '}' missing?" in error.message:
                raise opened.error(f"the '{opening}' that opens {what} is never closed") from None
            raise

    def _map_entry(self, message: Message, field: FieldDescriptor, position: Position) -> None:
        entries: Any = getattr(message, field.name)
        entry: Any = entries.GetEntryClass()()
        self._block(entry, field.name)
        if entry.key in entries:
            raise position.error(f"{field.name} has the key {entry.key!r} twice; remove one")
        if isinstance(entry.value, Message):
            entries[entry.key].CopyFrom(entry.value)
        else:
            entries[entry.key] = entry.value

    def _expanded_any(self, target: Any, seen: dict[str, str]) -> None:
        """Reads `[rube/api.systemd.Unit] { … }`."""
        position = self._tokens.position
        self._tokens.take()
        type_position, url = self._tokens.position, ""
        while self._tokens.current not in ("]", "{", "<", ""):
            url += self._tokens.take()
        self._tokens.expect("]", "after the type")
        prefix, slash, type_name = url.rpartition("/")
        if not slash or not prefix:
            raise type_position.error(f"the type {quoted(url)} lacks its prefix; write [rube/TYPE]")
        try:
            message = self._types.message_class(type_name)()
        except InvalidArgumentError as error:
            raise type_position.error(error.message, **error.metadata) from None
        if seen:
            raise position.error(f"a second value for the same field; keep one of [{url}] and {', '.join(seen)}")
        seen[f"[{url}]"] = ""
        self._tokens.accept(*self._assignments)
        self._path.append(f"[{type_name}]")
        self._block(message, f"[{url}]")
        self._path.pop()
        target.type_url, target.value = url, message.SerializeToString(deterministic=True)

    def _scalar(self, field: FieldDescriptor, position: Position) -> Any:
        tokens = self._tokens
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            return self._string(field, position)
        found = tokens.found()
        token = tokens.take() if tokens.current not in ("}", ">", "]", "") and not tokens.at_string() else ""
        try:
            return _number_or_name(field, token)
        except ValueError:
            raise position.error(f"{field.name} takes {_expected(field, token)}, found {found}") from None

    def _string(self, field: FieldDescriptor, position: Position) -> str | bytes:
        if not self._tokens.at_string():
            raise position.error(f'{field.name} takes a string in quotes such as "x", found {self._tokens.found()}')
        raw = self._tokens.string()
        if field.type == FieldDescriptor.TYPE_BYTES:
            return raw
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise position.error(f"{field.name} is not UTF-8: {error.reason} at byte {error.start}") from None


def _refuse_twice(field: FieldDescriptor, seen: dict[str, str], position: Position) -> None:
    if field.is_repeated:
        return
    slot = field.containing_oneof.name if field.containing_oneof else field.name
    if slot in seen:
        both = f"{field.name} twice" if seen[slot] == field.name else f"both {seen[slot]} and {field.name}"
        raise position.error(f"the message has {both}; keep one", field=field.name)
    seen[slot] = field.name


def _store(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _number_or_name(field: FieldDescriptor, token: str) -> int | float | bool:
    """Returns the value of a token. Raises ValueError."""
    if field.type in _INTEGERS:
        bits, signed = _INTEGERS[field.type]
        return text_format.ParseInteger(token, is_signed=signed, is_long=bits == 64)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return text_format.ParseBool(token)
    if field.type == FieldDescriptor.TYPE_ENUM:
        number = text_format.ParseEnum(field, token)
        if not -(2**31) <= number < 2**31:
            raise ValueError(token)
        return number
    return text_format.ParseFloat(token)


def _expected(field: FieldDescriptor, token: str) -> str:
    if field.type in _INTEGERS:
        bits, signed = _INTEGERS[field.type]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return f"a whole number from {low} to {high}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        near = suggestion(token, names)
        return f"one of {', '.join(names)}" + (f" ({near})" if near.startswith("did") else "")
    return "a number"
