"""The fields that are set in a message, by path, with values that can be compared."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.fields.paths import format_key
from rube.api.fields.shapes import FieldShape, Shape, shapes_of

Values = dict[str, object]
"""By path. Two values of one path are equal if the fields are. A message has the value None beside those of its
fields: that it is set."""


def field_values(
    message: Message, prefix: str = "", *, names: Container[str] | None = None, check_keys: bool = False
) -> Values:
    """Returns the values of the fields that are set; their paths begin with `prefix`.

    With `names` only of these fields of the message. With `check_keys` raises InvalidArgumentError for items of one
    list with the same key or with none.
    """
    found: Values = {}
    _collect(message, prefix, found, check_keys, names)
    return found


def _collect(
    message: Message, prefix: str, found: Values, check_keys: bool, names: Container[str] | None = None
) -> None:
    shapes = shapes_of(message.DESCRIPTOR)
    for field, value in message.ListFields():
        if names is not None and field.name not in names:
            continue
        shape = shapes[field.name]
        path = f"{prefix}{field.name}"
        match shape.shape:
            case Shape.WHOLE:
                found[path] = value if shape.plain else _comparable(field, value)
            case Shape.MESSAGE:
                found[path] = None
                _collect(value, f"{path}.", found, check_keys)
            case Shape.LIST:
                found[path] = tuple(value if shape.plain else [_comparable(field, item) for item in value])
            case Shape.MAP:
                _collect_map(shape, path, value, found, check_keys)
            case Shape.SET:
                paths = [f"{path}.{format_key(item)}" for item in value]
                found.update(dict.fromkeys(paths))
                _check_distinct(check_keys, shape, path, paths)
            case Shape.KEYED_LIST:
                _collect_items(shape, path, value, found, check_keys)


def _collect_map(shape: FieldShape, path: str, entries: Any, found: Values, check_keys: bool) -> None:
    assert shape.value is not None, "a map has values"
    for key in entries:
        below = f"{path}.{format_key(key)}"
        if shape.message is None:
            found[below] = entries[key] if shape.plain else _comparable(shape.value, entries[key])
        else:
            found[below] = None
            _collect(entries[key], f"{below}.", found, check_keys)


def _collect_items(shape: FieldShape, path: str, items: Iterable[Message], found: Values, check_keys: bool) -> None:
    assert shape.key is not None, "items of a keyed list have keys"
    paths = []
    for item in items:
        key = getattr(item, shape.key.name)
        if check_keys and key == shape.key.default_value:
            raise InvalidArgumentError(
                f"{path}: an item has no {shape.key.name}, which tells the items of this list apart", field=path
            )
        below = f"{path}.{format_key(key)}"
        paths.append(below)
        _collect(item, f"{below}.", found, check_keys)
        found.pop(f"{below}.{shape.key.name}", None)  # the item's own path stands for it
        found[below] = None
    _check_distinct(check_keys, shape, path, paths)


def _check_distinct(check_keys: bool, shape: FieldShape, path: str, paths: list[str]) -> None:
    if check_keys and len(set(paths)) < len(paths):
        twice = next(item for item in paths if paths.count(item) > 1)
        what = "is in the list twice" if shape.shape is Shape.SET else "is the key of two items"
        raise InvalidArgumentError(f"{path}: {twice.removeprefix(f'{path}.')} {what}", field=path)


def _comparable(field: FieldDescriptor, value: Any) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return value.SerializeToString(deterministic=True)
    return repr(value)  # of a float: nan is nan, and -0.0 is not 0.0
