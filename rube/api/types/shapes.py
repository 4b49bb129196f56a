"""The shapes of values in CEL, from the fields of messages."""

from __future__ import annotations

from typing import Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor


class Shape(NamedTuple):
    """`anything` (not known here), `number` (also a bool, an enum, a time: of constant size), `text` (also bytes),
    `message`, `list`, `map`."""

    kind: str
    message: Descriptor | None = None
    item: Shape | None = None
    """The shape of a list's items, or of a map's values."""


ANYTHING: Final = Shape("anything")
NUMBER: Final = Shape("number")
TEXT: Final = Shape("text")
_TIMES: Final = frozenset(["google.protobuf.Duration", "google.protobuf.Timestamp"])
# CEL unpacks these.
_UNPACKED: Final = frozenset(
    f"google.protobuf.{name}"
    for name in [
        "Any",
        "Struct",
        "Value",
        "ListValue",
        "BoolValue",
        "BytesValue",
        "DoubleValue",
        "FloatValue",
        "Int32Value",
        "Int64Value",
        "StringValue",
        "UInt32Value",
        "UInt64Value",
    ]
)


def of_message(message: Descriptor) -> Shape:
    if message.full_name in _TIMES:
        return NUMBER
    return ANYTHING if message.full_name in _UNPACKED else Shape("message", message)


def of_field(field: FieldDescriptor) -> Shape:
    if not field.is_repeated:
        return of_item(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return Shape("map", item=of_item(field.message_type.fields_by_name["value"]))
    return Shape("list", item=of_item(field))


def of_item(field: FieldDescriptor) -> Shape:
    """Returns the shape of one value of a field, repeated or not."""
    if field.message_type is not None:
        return of_message(field.message_type)
    texts = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    return TEXT if field.type in texts else NUMBER
