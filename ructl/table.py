"""A table of objects for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from rube import api_pb2
from rube.api import cluster_pb2, registry, systemd_pb2
from rube.api.errors import InvalidArgumentError

_NS_PER_S: Final = 1_000_000_000
# Seconds, from the longest; a value is shown in the first unit of which it has at least two.
_AGE_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MESSAGE_CHARACTERS_MAX: Final = 60


def table(objects: Sequence[api_pb2.Object], *, now_ns: int) -> list[str]:
    """The lines of a table of objects of one type, aligned; columns that are empty throughout are left out."""
    if not objects:
        return []
    columns: dict[str, Callable[[api_pb2.Object], str]] = {
        "NAMESPACE": lambda obj: obj.metadata.namespace,
        "NAME": lambda obj: obj.metadata.name,
        "NODE": lambda obj: obj.metadata.labels.get("node", ""),
        "STATE": _state,
        "AGE": lambda obj: _age(obj, now_ns),
        "REVISION": lambda obj: str(obj.metadata.revision),
        "MESSAGE": _message,
    }
    cells = {head: [cell(obj) for obj in objects] for head, cell in columns.items()}
    rows = [
        [head, *(_printable(value) or "-" for value in values)]
        for head, values in cells.items()
        if any(values) or head == "NAME"
    ]
    widths = [max(map(len, column)) for column in rows]
    return [
        "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*rows, strict=True)
    ]


def _state(obj: api_pb2.Object) -> str:
    """What is, in a word; `pending` where nothing was reported yet, `old:` before what is of an earlier spec."""
    status = _unpacked(obj.status)
    match status:
        case systemd_pb2.UnitStatus(active_state="", load_state=""):
            return "pending"
        case systemd_pb2.UnitStatus() if status.HasField("unknown_since"):
            return "unknown"
        case systemd_pb2.UnitStatus():
            said = (status.sub_state, "" if status.result == "success" else status.result)
            detail = ", ".join(word for word in said if word not in ("", status.active_state))
            state = f"{status.active_state or status.load_state or 'unknown'}{f' ({detail})' if detail else ''}"
            return state if status.observed_generation >= obj.metadata.generation else f"old: {state}"
        case cluster_pb2.NodeStatus():
            known = cluster_pb2.NodeStatus.Readiness.DESCRIPTOR.values_by_number.get(status.readiness)
            return known.name.lower() if known else f"readiness {status.readiness}"
    spec = _unpacked(obj.spec)
    if isinstance(spec, cluster_pb2.Lease):
        return f"held by {spec.holder}" if spec.holder else "free"
    return "pending"


def _message(obj: api_pb2.Object) -> str:
    status = _unpacked(obj.status)
    message = " ".join(status.message.split()) if isinstance(status, systemd_pb2.UnitStatus) else ""
    return message if len(message) <= _MESSAGE_CHARACTERS_MAX else message[: _MESSAGE_CHARACTERS_MAX - 1] + "…"


def _printable(text: str) -> str:
    """Nothing that a node or a user wrote may steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _unpacked(packed: AnyMessage) -> Message | None:
    try:
        return registry.unpack(packed) if packed.type_url else None
    except InvalidArgumentError:
        return None


def _age(obj: api_pb2.Object, now_ns: int) -> str:
    if not obj.metadata.HasField("create_time"):
        return ""
    seconds = max(0, now_ns - obj.metadata.create_time.ToNanoseconds()) // _NS_PER_S
    for unit_s, unit in _AGE_UNITS:
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s}{unit}"
    return f"{seconds}s"
