"""The printer of messages: always the same text for the same message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_encoding
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rube.api.errors import InvalidArgumentError
from rube.api.textproto.invisible import INVISIBLE_ESCAPES
from rube.api.types import BUILTIN, Types, is_any

_ESCAPES = {code: f"\\{code:03o}" for code in (*range(32), 127)}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("\\"): "\\\\"}
_ESCAPES |= INVISIBLE_ESCAPES
_INDENT = "  "


def format(message: Message, types: Types = BUILTIN) -> str:
    """Returns the message as text that `parse` reads back; it ends with a line break unless it is empty.

    Fields in the order of their numbers, maps by key, an Any expanded if its type is known, short lists of numbers on
    one line, whole numbers without `.0`, text as UTF-8. Fields that this build does not know are shown as a comment.
    """
    return "".join(f"{line}\n" for line in _lines(message, "", types))


def _lines(message: Any, indent: str, types: Types) -> Iterator[str]:
    if is_any(message) and (inner := _expanded(message, types)) is not None:
        yield from _block(f"[{message.type_url}]", inner, indent, types)
        return
    for field, value in message.ListFields():
        yield from _field(field, value, indent, types)
    unknown = sorted({entry.field_number for entry in UnknownFieldSet(message)})  # type: ignore[attr-defined]  # a sequence
    if unknown:
        yield f"{indent}# and fields that this build does not know: {', '.join(map(str, unknown))}"


def _field(field: FieldDescriptor, value: Any, indent: str, types: Types) -> Iterator[str]:
    if not field.is_repeated:
        yield from _value(field, value, indent, types)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key in sorted(value):
            entry = value.GetEntryClass()(key=key)
            if field.message_type.fields_by_name["value"].message_type is None:
                entry.value = value[key]
            else:
                entry.value.CopyFrom(value[key])
            yield from _block(field.name, entry, indent, types)
    elif field.message_type is None and field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        yield f"{indent}{field.name}: [{', '.join(scalar_text(field, element) for element in value)}]"
    else:
        for element in value:
            yield from _value(field, element, indent, types)


def _value(field: FieldDescriptor, value: Any, indent: str, types: Types) -> Iterator[str]:
    if field.message_type is None:
        yield f"{indent}{field.name}: {scalar_text(field, value)}"
    else:
        yield from _block(field.name, value, indent, types)


def _block(head: str, message: Message, indent: str, types: Types) -> Iterator[str]:
    lines = list(_lines(message, indent + _INDENT, types))
    if lines:
        yield f"{indent}{head} {{"
        yield from lines
        yield f"{indent}}}"
    else:
        yield f"{indent}{head} {{}}"


def scalar_text(field: FieldDescriptor, value: Any) -> str:
    """Returns a value of a field that holds no message."""
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return f'"{value.translate(_ESCAPES)}"'
        case FieldDescriptor.TYPE_BYTES:
            return f'"{text_encoding.CEscape(value, False)}"'
        case FieldDescriptor.TYPE_BOOL:
            return "true" if value else "false"
        case FieldDescriptor.TYPE_ENUM:
            known = field.enum_type.values_by_number.get(value) if field.enum_type else None
            return known.name if known else str(value)
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return _float(value)
        case _:
            return str(value)


def _float(value: float) -> str:
    whole = math.isfinite(value) and value.is_integer() and abs(value) < 2**53 and math.copysign(1, value) > 0
    return str(int(value)) if whole else str(value)


def _expanded(packed: Any, types: Types) -> Message | None:
    """Returns the message in an Any to show instead of its bytes; None if that would lose anything."""
    if "/" not in packed.type_url:
        return None
    try:
        return types.unpack(packed)
    except InvalidArgumentError:
        return None
