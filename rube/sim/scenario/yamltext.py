"""A scenario, or a part of it, as a scenario file writes it: the inverse of `yamlproto`."""

from __future__ import annotations

from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from rube.sim.scenario.yamlproto import yaml_key

_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))


def flow_text(message: Message) -> str:
    """Returns `{at: 12s, kill: api-1}`; reading it gives an equal message."""
    return _flow(_plain(message))


def block_text(message: Message) -> str:
    """Returns a whole file: keys on lines of their own, lists with an item a line; reading it gives an equal
    message."""
    lines: list[str] = []
    for field, value in message.ListFields():
        _block(lines, field, value, "")
    return "\n".join(lines)


def _block(lines: list[str], field: FieldDescriptor, value: Any, indent: str) -> None:
    key = f"{indent}{yaml_key(field)}:"
    if field.is_repeated:
        lines.append(key)
        lines.extend(f"{indent}  - {_flow(_single(field, one))}" for one in value)
    elif isinstance(value, Message) and not isinstance(value, Duration):
        fields = value.ListFields()
        lines.append(key if fields else f"{key} {{}}")
        for inner, part in fields:
            _block(lines, inner, part, f"{indent}  ")
    else:
        lines.append(f"{key} {_flow(_single(field, value))}")


def _flow(plain: Any) -> str:
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, allow_unicode=False, width=2**31)
    return str(text).removesuffix("\n...\n").strip()


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
