"""Paths of fields: `service.restart`, `environment.PATH`, `ports.http.number`, as in field masks.

Names are joined by dots (https://google.aip.dev/161). After a map, or a list whose items have keys, comes a key; one
with other characters than letters, digits, `_` and `-` stands in backquotes, a backquote in it is doubled. Where
nothing can follow the key, it may also be written as it is.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.fields.shapes import FieldShape, Shape, shapes_of
from rube.api.spelling import quoted, suggestion

PATHS_MAX: Final = 1_000
"""In one mask."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_QUOTED: Final = re.compile(r"`((?:[^`]|``)*)`")
_KEYED: Final = (Shape.MAP, Shape.SET, Shape.KEYED_LIST)
_BOOLS: Final = {"true": True, "false": False}


class Step(NamedTuple):
    """A field, and the key in it if it is a map or a list of items with keys; None: all of it."""

    shape: FieldShape
    key: str | int | bool | None


FieldPath = tuple[Step, ...]


def format_key(key: str | int | bool) -> str:
    """Returns a key as it stands in a path."""
    if isinstance(key, bool):
        return "true" if key else "false"
    text = str(key)
    return text if _PLAIN(text) else f"`{text.replace('`', '``')}`"


def parse_path(descriptor: Descriptor, text: str, root: str = "") -> FieldPath:
    """Returns the path below a message. `root` stands before it in errors, such as `spec.`.

    Raises InvalidArgumentError that names the path, the message that lacks a field of it, and what was probably meant.
    """
    steps: list[Step] = []
    rest = text
    where: Descriptor | None = descriptor
    while True:
        if where is None:
            before = f"{root}{text}"[: -len(rest) - 1]
            raise _wrong(root, text, f"{before} has no fields of its own{_whole(steps)}")
        name, dot, rest = rest.partition(".")
        shape = shapes_of(where).get(name)
        if shape is None:
            known = shapes_of(where)
            raise _wrong(root, text, f"{where.full_name} has no field {quoted(name)}; {suggestion(name, known)}")
        key = None
        if dot and shape.shape in _KEYED:
            found, dot, rest = _take_key(root, text, rest, to_end=shape.message is None)
            key = _parsed_key(root, text, shape, found)
        steps.append(Step(shape, key))
        if not dot:
            return tuple(steps)
        where = shape.message if shape.shape is not Shape.LIST else None


def _take_key(root: str, text: str, rest: str, *, to_end: bool) -> tuple[str, str, str]:
    """Returns the key at the beginning of `rest`, the dot after it and what follows."""
    if rest.startswith("`"):
        match = _QUOTED.match(rest)
        after = rest[match.end() :] if match else ""
        if match is None or after[:1] not in ("", "."):
            raise _wrong(root, text, "a backquote is not closed before a dot or the end")
        return match[1].replace("``", "`"), after[:1], after[1:]
    return (rest, "", "") if to_end else rest.partition(".")


def _parsed_key(root: str, text: str, shape: FieldShape, found: str) -> str | int | bool:
    assert shape.key is not None, "what is named by key has keys"
    match shape.key.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return found
        case FieldDescriptor.CPPTYPE_BOOL if found in _BOOLS:
            return _BOOLS[found]
        case FieldDescriptor.CPPTYPE_BOOL:
            raise _wrong(root, text, f"the keys of {shape.name} are true and false, not {quoted(found)}")
    try:
        return int(found)
    except ValueError as error:
        raise _wrong(root, text, f"the keys of {shape.name} are whole numbers, not {quoted(found)}") from error


def _whole(steps: list[Step]) -> str:
    last = steps[-1].shape
    if last.shape is Shape.LIST:
        return ": a list is named as a whole"
    return ": it is one value" if last.field.message_type is not None else ""


def _wrong(root: str, text: str, why: str) -> InvalidArgumentError:
    path = f"{root}{text}"
    return InvalidArgumentError(f"path {quoted(path)}: {why}", field=path)


def copy_field(path: FieldPath, source: Message, target: Message) -> None:
    """Makes the field of `target` what it is in `source`; clears it if it is not set there."""
    head, rest = path[0], path[1:]
    if not rest and head.key is None:
        _replace(head.shape, source, target)
    elif not rest:
        _replace_item(head, source, target)
    elif (inner := _below(head, source)) is not None:
        outer = _below(head, target)
        copy_field(rest, inner, _added(head, target) if outer is None else outer)
    elif (cleared := _below(head, target)) is not None:
        copy_field(rest, type(cleared)(), cleared)


def _below(step: Step, message: Message) -> Any:
    """Returns the message that a step leads to; None if it is not set."""
    name, key = step.shape.name, step.key
    if key is None:
        return getattr(message, name) if message.HasField(name) else None
    items: Any = getattr(message, name)
    if step.shape.shape is Shape.MAP:
        return items.get(key)
    return next((item for item in items if _key_of(step, item) == key), None)


def _added(step: Step, message: Message) -> Any:
    """Returns the new message that a step leads to."""
    below: Any = getattr(message, step.shape.name)
    if step.key is None:
        below.SetInParent()
        return below
    if step.shape.shape is Shape.MAP:
        return below[step.key]
    assert step.shape.key is not None, "items of a keyed list have keys"
    return below.add(**{step.shape.key.name: step.key})


def _replace(shape: FieldShape, source: Message, target: Message) -> None:
    """Replaces a whole field."""
    name, field = shape.name, shape.field
    target.ClearField(name)
    before: Any = getattr(source, name)
    if shape.shape is Shape.MAP:
        for key in before:
            _replace_entry(Step(shape, key), before, getattr(target, name))
    elif field.is_repeated:
        getattr(target, name).extend(before)
    elif field.has_presence and not source.HasField(name):
        return
    elif field.message_type is not None:
        getattr(target, name).CopyFrom(before)
    else:
        setattr(target, name, before)


def _replace_item(step: Step, source: Message, target: Message) -> None:
    before: Any = getattr(source, step.shape.name)
    after: Any = getattr(target, step.shape.name)
    if step.shape.shape is Shape.MAP:
        _replace_entry(step, before, after)
        return
    wanted = [item for item in before if _key_of(step, item) == step.key][:1]
    at = next((index for index, item in enumerate(after) if _key_of(step, item) == step.key), len(after))
    kept = [*list(after)[:at], *wanted, *(item for item in list(after)[at:] if _key_of(step, item) != step.key)]
    kept = [_copied(item) for item in kept]
    del after[:]
    after.extend(kept)


def _replace_entry(step: Step, before: Any, after: Any) -> None:
    key: Any = step.key
    assert step.shape.value is not None, "a map has values"
    if key in after:
        del after[key]
    if key not in before:
        return
    if step.shape.value.message_type is None:
        after[key] = before[key]
    else:
        after[key].CopyFrom(before[key])


def _copied(item: Any) -> Any:
    if not isinstance(item, Message):
        return item
    copy = type(item)()
    copy.CopyFrom(item)
    return copy


def _key_of(step: Step, item: Any) -> Any:
    assert step.shape.key is not None, "items of a set or keyed list have keys"
    return item if step.shape.shape is Shape.SET else getattr(item, step.shape.key.name)


def remove_field(path: FieldPath, message: Message) -> None:
    """Clears a field, or takes a key out. A message, or an item with a key, in which anything is set stays."""
    for step in path[:-1]:
        below: Message | None = _below(step, message)
        if below is None:
            return
        message = below
    last = path[-1]
    if last.shape.message is not None and (kept := _below(last, message)) is not None and not _is_empty(last, kept):
        return
    copy_field(path[-1:], type(message)(), message)


def _is_empty(step: Step, message: Message) -> bool:
    rest = _copied(message)
    if step.shape.shape is Shape.KEYED_LIST:
        assert step.shape.key is not None, "items of a keyed list have keys"
        rest.ClearField(step.shape.key.name)
    return not rest.ByteSize()
