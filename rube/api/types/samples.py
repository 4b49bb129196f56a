"""Samples of messages, on which rules are tried when a type is pushed."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def filled(message: Descriptor, depth: int = 3) -> Message:
    """Returns a message in which everything is set, down to a depth: rules skip what is not there."""
    whole: Any = GetMessageClass(message)()
    for field in message.fields:
        if field.message_type is None:
            value: Any = _scalar(field)
            if field.is_repeated:
                getattr(whole, field.name).append(value)
            else:
                setattr(whole, field.name, value)
        elif field.message_type.GetOptions().map_entry:
            _fill_map(whole, field, depth)
        elif depth and field.message_type.full_name != "google.protobuf.Any":
            inner = filled(field.message_type, depth - 1)
            if field.is_repeated:
                getattr(whole, field.name).add().CopyFrom(inner)
            else:
                getattr(whole, field.name).CopyFrom(inner)
    return whole  # type: ignore[no-any-return]


def _fill_map(whole: Any, field: FieldDescriptor, depth: int) -> None:
    assert field.message_type is not None, "a map has entries"
    entry = field.message_type.fields_by_name
    key, value = _scalar(entry["key"]), entry["value"]
    if value.message_type is None:
        getattr(whole, field.name)[key] = _scalar(value)
    elif depth:
        getattr(whole, field.name)[key].CopyFrom(filled(value.message_type, depth - 1))


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_STRING:
        return "1"
    return b"1" if field.type == FieldDescriptor.TYPE_BYTES else field.type == FieldDescriptor.TYPE_BOOL or 1
