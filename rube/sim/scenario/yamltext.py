"""A part of a scenario as a scenario file writes it: the inverse of `yamlproto`, on one line."""

from __future__ import annotations

from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from rube.sim.scenario.yamlproto import yaml_key

_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))


def flow_text(message: Message) -> str:
    """`{at: 12s, kill: api-1}`; reading it gives an equal message."""
    text = yaml.safe_dump(_plain(message), default_flow_style=True, sort_keys=False, allow_unicode=False, width=2**31)
    return str(text).strip()


def duration_text(duration: Duration) -> str:
    """Exact, in the largest unit that allows it: `12s`, `1500ms`."""
    ns = duration.ToNanoseconds()
    unit, unit_ns = next((unit, unit_ns) for unit, unit_ns in _UNITS if ns % unit_ns == 0)
    return f"{ns // unit_ns}{unit}"


def _plain(message: Message) -> dict[str, Any]:
    return {
        yaml_key(field): [_single(field, one) for one in value] if field.is_repeated else _single(field, value)
        for field, value in message.ListFields()
    }


def _single(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, Message):
        return _plain(value)
    return field.enum_type.values_by_number[value].name.lower() if field.enum_type is not None else value
