"""A field of objects of one type, by its path, as the texts in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from rube.api import Metadata, Object
from rube.api.errors import InvalidArgumentError
from rube.api.fields.paths import FieldPath, Step, parse_path
from rube.api.fields.shapes import Shape
from rube.api.keys import type_of
from rube.api.spelling import quoted
from rube.api.types import Kind

_LISTS: Final = (Shape.LIST, Shape.SET)


class FieldTexts:
    """The texts in the field `path` of objects of a type, such as `spec.target` or `metadata.labels.node`: none, one,
    or those of a list."""

    def __init__(self, kind: Kind, path: str) -> None:
        """Raises InvalidArgumentError that names the path, what is wrong with it, and what was probably meant."""
        roots: dict[str, type[Message]] = {"metadata": Metadata, "spec": kind.spec}
        if kind.status is not None:
            roots["status"] = kind.status
        self._root, dot, below = path.partition(".")
        if self._root not in roots or not dot:
            begins = ", ".join(f"{root}." for root in roots)
            raise InvalidArgumentError(f"path {quoted(path)} begins with none of {begins}", field=path)
        self._message = roots[self._root]
        self._type = self._message.DESCRIPTOR.full_name
        self._path = parse_path(cast(Descriptor, self._message.DESCRIPTOR), below, f"{self._root}.")
        last = self._path[-1]
        leaf = last.shape.value if last.shape.shape is Shape.MAP and last.key is not None else last.shape.field
        whole_map = last.shape.shape is Shape.MAP and last.key is None
        if whole_map or leaf is None or leaf.cpp_type != FieldDescriptor.CPPTYPE_STRING:
            raise InvalidArgumentError(f"path {quoted(path)} leads to no text and to no list of texts", field=path)

    def __call__(self, obj: Object) -> Iterator[str]:
        return _texts(self._path, self._part(obj))

    def _part(self, obj: Object) -> Message:
        if self._root == "metadata":
            return obj.metadata
        packed = obj.spec if self._root == "spec" else obj.status
        if type_of(packed) != self._type:
            return self._message()
        return self._message.FromString(packed.value)


def _texts(path: FieldPath, message: Message) -> Iterator[str]:
    step, rest = path[0], path[1:]
    for value in _values(step, message):
        if rest:
            yield from _texts(rest, value)
        elif value:
            yield value


def _values(step: Step, message: Message) -> Iterator[Any]:
    """Yields what is in a field: nothing, one value, or a list's."""
    shape, value = step.shape, getattr(message, step.shape.name)
    if shape.shape is Shape.MAP:
        if step.key in value:
            yield value[step.key]
    elif shape.shape is Shape.KEYED_LIST:
        assert shape.key is not None, "items of a list with keys have one"
        yield from (item for item in value if getattr(item, shape.key.name) == step.key)
    elif shape.shape in _LISTS:
        yield from (item for item in value if step.key is None or item == step.key)
    elif shape.message is None or message.HasField(shape.name):
        yield value
