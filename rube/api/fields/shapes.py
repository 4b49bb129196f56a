"""The ways in which a field is named and merged: as a whole, by its own fields, or by keys."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from rube.api import resource_pb2

# A Duration, an Any or a Struct is one value: two halves of two of them make no third.
_WHOLE_PACKAGE: Final = "google.protobuf"
_NOT_PLAIN: Final = (
    FieldDescriptor.CPPTYPE_MESSAGE,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_DOUBLE,
)
# Messages whose shapes are kept.
_DESCRIPTORS_MAX: Final = 4096


class Shape(Enum):
    WHOLE = auto()
    """A scalar, or a message that is one value."""
    MESSAGE = auto()
    """Merged by its fields."""
    LIST = auto()
    """Taken as a whole."""
    SET = auto()
    """A list whose items are their own keys: `(api.field).list_set`."""
    KEYED_LIST = auto()
    """A list of messages, one of whose fields is the key: `(api.field).list_key`."""
    MAP = auto()
    """Merged by key."""


class FieldShape(NamedTuple):
    field: FieldDescriptor
    shape: Shape
    key: FieldDescriptor | None
    """The key of a MAP, a SET (the item itself) or a KEYED_LIST."""
    value: FieldDescriptor | None
    """The values of a MAP."""
    message: Descriptor | None
    """The message that fields of a MESSAGE, or of an item of a MAP or KEYED_LIST, are merged in; None: one value."""
    oneof: str = ""
    """The oneof that the field is in, if that has other fields."""

    plain: bool = True
    """The field's values, or those of the map, can be compared as they are: no floats, and no messages."""

    @property
    def name(self) -> str:
        return self.field.name


@lru_cache(maxsize=_DESCRIPTORS_MAX)
def shapes_of(descriptor: Descriptor) -> dict[str, FieldShape]:
    """Returns the shape of each field, by name."""
    shapes = [_shape_of(field) for field in descriptor.fields]
    return {each.name: each._replace(plain=(each.value or each.field).cpp_type not in _NOT_PLAIN) for each in shapes}


def _shape_of(field: FieldDescriptor) -> FieldShape:
    message = _merged(field)
    if not field.is_repeated:
        oneof = field.containing_oneof
        others = oneof is not None and len(oneof.fields) > 1
        shape = Shape.WHOLE if message is None else Shape.MESSAGE
        return FieldShape(field, shape, None, None, message, oneof.name if oneof is not None and others else "")
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        return FieldShape(field, Shape.MAP, entry["key"], entry["value"], _merged(entry["value"]))
    options = field.GetOptions().Extensions[resource_pb2.field]
    if options.list_set and field.message_type is None:
        return FieldShape(field, Shape.SET, field, None, None)
    if message is not None and (key := message.fields_by_name.get(options.list_key)) is not None:
        return FieldShape(field, Shape.KEYED_LIST, key, None, message)
    return FieldShape(field, Shape.LIST, None, None, None)


def _merged(field: FieldDescriptor) -> Descriptor | None:
    """Returns the message in a field unless it is one value."""
    message = field.message_type
    return None if message is None or message.file.package == _WHOLE_PACKAGE else message
