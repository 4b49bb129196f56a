"""A part of a scenario as a scenario file writes it: the inverse of `yamlproto`, on one line."""

from __future__ import annotations

import json
import re

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from rube.sim.scenario.yamlproto import yaml_key

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*\Z")
# What YAML would read as something else than a string.
_NOT_STRINGS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))


def flow_text(message: Message) -> str:
    """`{at: 12s, kill: api-1}`; reading it gives an equal message."""
    if isinstance(message, Duration):
        return duration_text(message)
    fields = (f"{yaml_key(field)}: {_value(field, value)}" for field, value in message.ListFields())
    return f"{{{', '.join(fields)}}}"


def duration_text(duration: Duration) -> str:
    """Exact, in the largest unit that allows it: `12s`, `1500ms`."""
    ns = duration.ToNanoseconds()
    unit, unit_ns = next((unit, unit_ns) for unit, unit_ns in _UNITS if ns % unit_ns == 0)
    return f"{ns // unit_ns}{unit}"


def _value(field: FieldDescriptor, value: object) -> str:
    if field.is_repeated:
        return f"[{', '.join(_single(field, one) for one in value)}]"  # type: ignore[attr-defined]  # it is iterable
    return _single(field, value)


def _single(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, Message):
        return flow_text(value)
    if field.enum_type is not None and isinstance(value, int):
        return str(field.enum_type.values_by_number[value].name).lower()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.match(value) and value.lower() not in _NOT_STRINGS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return str(value)
