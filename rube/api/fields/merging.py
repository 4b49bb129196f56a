"""The merge of a message into another one: what is set in it wins, everything else stays."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from google.protobuf.message import Message

from rube.api.fields.shapes import FieldShape, Shape, shapes_of
from rube.api.unknown_fields import merge_unknown_fields


def merge_fields(
    source: Message, target: Message, *, names: Container[str] | None = None, unknown: bool = False
) -> bool:
    """Sets in `target` each field that is set in `source`: messages by their fields, maps and keyed lists by key, sets
    by item, and everything else as a whole.

    With `names` only these fields of the message, with `unknown` also fields that the messages do not have. Returns
    whether a field of `target` gave way to another one of its oneof.
    """
    gave_way = False
    if unknown:
        merge_unknown_fields(source, target)
    shapes = shapes_of(source.DESCRIPTOR)
    for field, value in source.ListFields():
        if names is not None and field.name not in names:
            continue
        shape = shapes[field.name]
        gave_way |= bool(shape.oneof) and target.WhichOneof(shape.oneof) not in (None, field.name)
        match shape.shape:
            case Shape.WHOLE if field.message_type is None:
                setattr(target, field.name, value)
            case Shape.WHOLE:
                getattr(target, field.name).CopyFrom(value)
            case Shape.MESSAGE:
                below = getattr(target, field.name)
                below.SetInParent()
                gave_way |= merge_fields(value, below, unknown=unknown)
            case Shape.LIST:
                target.ClearField(field.name)
                getattr(target, field.name).extend(value)
            case Shape.MAP:
                gave_way |= _merge_map(shape, value, getattr(target, field.name), unknown=unknown)
            case Shape.SET:
                gave_way |= _merge_items(value, getattr(target, field.name), key=None, unknown=unknown)
            case Shape.KEYED_LIST:
                assert shape.key is not None, "items of a keyed list have keys"
                gave_way |= _merge_items(value, getattr(target, field.name), key=shape.key.name, unknown=unknown)
    return gave_way


def _merge_map(shape: FieldShape, source: Any, target: Any, *, unknown: bool) -> bool:
    gave_way = False
    assert shape.value is not None, "a map has values"
    for key in source:
        if shape.value.message_type is None:
            target[key] = source[key]
        elif shape.message is None:
            target[key].CopyFrom(source[key])
        else:
            gave_way |= merge_fields(source[key], target[key], unknown=unknown)
    return gave_way


def _merge_items(source: Any, target: Any, *, key: str | None, unknown: bool) -> bool:
    """Merges items by key. The source's items come in its order, at the places of those that were there and then at the
    end."""

    def key_of(item: Any) -> Any:
        return item if key is None else getattr(item, key)

    gave_way = False
    before = list(target)
    wanted = {key_of(item): item for item in source}
    old = {key_of(item): item for item in reversed(before)}
    merged = []
    for name, item in wanted.items():
        if key is not None and name in old:
            both = type(item)()
            both.CopyFrom(old[name])
            gave_way |= merge_fields(item, both, unknown=unknown)
            item = both
        merged.append(item)
    following = iter(merged)
    placed = [next(following, None) if key_of(item) in wanted else item for item in before]
    after = [item for item in placed if item is not None] + list(following)
    del target[:]
    target.extend(after)
    return gave_way
