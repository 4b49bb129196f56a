"""The decoder from JSON to the records: it checks each field against its type; an absent one has its default."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_WORDS = {bool: "true or false", int: "a whole number", str: "a text", dict: "an object", tuple: "a list"}


class DecodeError(ValueError):
    """The data is not of the type; the text names the field."""


def decode(kind: type[T], data: object, where: str = "") -> T:
    """Returns `data`, as json.loads returns it, as a `kind`: a dataclass, an Enum, bool, int, str, or tuple, dict and
    None of those. Fields that `kind` does not have are left out. Raises DecodeError."""
    found: T = _decode(kind, data, where)
    return found


def _decode(kind: Any, data: object, where: str) -> Any:
    origin = get_origin(kind)
    if origin is UnionType:
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        return None if data is None else _decode(inner, data, where)
    if isinstance(kind, type) and is_dataclass(kind):
        _check(dict, data, where)
        assert isinstance(data, dict)
        hints = _hints(kind)
        given = {each.name: data[each.name] for each in fields(kind) if each.name in data}
        return kind(**{name: _decode(hints[name], value, f"{where}.{name}") for name, value in given.items()})
    if origin is dict:
        _check(dict, data, where)
        assert isinstance(data, dict)
        _, values = get_args(kind)
        return {key: _decode(values, value, f"{where}.{key}") for key, value in data.items()}
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, where)
    if issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise DecodeError(f"{where[1:] or 'it'}: {data!r:.40} is unknown") from error
    _check(kind, data, where)
    return data


def _decode_tuple(kinds: tuple[Any, ...], data: object, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        _check(tuple, data, where)
        raise AssertionError
    if kinds[-1] is Ellipsis:
        return tuple(_decode(kinds[0], each, f"{where}[{at}]") for at, each in enumerate(data))
    if len(data) != len(kinds):
        raise DecodeError(f"{where[1:] or 'it'}: {len(kinds)} values are needed, not {len(data)}")
    return tuple(_decode(kind, each, f"{where}[{at}]") for at, (kind, each) in enumerate(zip(kinds, data, strict=True)))


def _check(kind: type, data: object, where: str) -> None:
    """Checks for exactly that type: for Python, True is a whole number."""
    if type(data) is not kind:
        raise DecodeError(f"{where[1:] or 'it'}: {_WORDS[kind]} is needed, not {data!r:.40}")


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
