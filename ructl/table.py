"""A table of objects for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from rube.api import Lease, Namespace, Node, NodeStatus, Object, UnitStatus
from rube.api.errors import InvalidArgumentError
from rube.api.keys import key_of
from rube.api.times import NS_PER_S
from rube.api.well_known import bound_node
from ructl.cluster_types import TYPES

# Seconds, from the longest; a value is shown in the first unit of which it has at least two.
_AGE_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MESSAGE_CHARACTERS_MAX: Final = 60


def table(objects: Sequence[Object], *, now_ns: int, wide: bool = False) -> list[str]:
    """The lines of a table of objects of one type, aligned; columns that are empty throughout are left out.

    A `wide` one has more columns, and messages at their full length.
    """
    if not objects:
        return []
    kind = TYPES.get(key_of(objects[0]).type)
    own = {column.name: partial(value_at, column.path) for column in (kind.columns if kind is not None else ())}
    columns: dict[str, Callable[[Object], str]] = {
        "NAMESPACE": lambda obj: obj.metadata.namespace,
        "NAME": lambda obj: obj.metadata.name,
        "NODE": lambda obj: bound_node(obj.metadata),
        **own,
        "STATE": state_of if kind is None or not kind.source else _nothing,
        "AGE": lambda obj: age_of(obj, now_ns),
        "REVISION": lambda obj: str(obj.metadata.revision),
        "PID": _pid if wide else _nothing,
        "GENERATION": (lambda obj: str(obj.metadata.generation)) if wide else _nothing,
        "LABELS": _labels if wide else _nothing,
        "MESSAGE": _message if wide else _short_message,
    }
    columns |= own  # one may be called STATE
    cells = {head: [cell(obj) for obj in objects] for head, cell in columns.items()}
    return aligned({head: values for head, values in cells.items() if any(values) or head == "NAME"})


def aligned(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a table with these columns, by their heads."""
    rows = [[head, *(printable(value) or "-" for value in values)] for head, values in columns.items()]
    widths = [max(map(len, column)) for column in rows]
    return [
        "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*rows, strict=True)
    ]


def state_of(obj: Object) -> str:
    """Returns the state in a word; `pending` if nothing was reported yet, `old:` before the state of an earlier
    spec, `deleting:` before that of an object which waits for its finalizers."""
    if obj.metadata.HasField("delete_time"):
        state = _state_of(obj)
        return f"deleting: {state}" if state else "deleting"
    return _state_of(obj)


def _state_of(obj: Object) -> str:
    status = _unpacked(obj.status)
    match status:
        case UnitStatus(active_state="", load_state=""):
            return "pending"
        case UnitStatus() if status.HasField("unknown_since"):
            return "unknown"
        case UnitStatus():
            said = (status.sub_state, "" if status.result == "success" else status.result)
            detail = ", ".join(word for word in said if word not in ("", status.active_state))
            state = f"{status.active_state or status.load_state or 'unknown'}{f' ({detail})' if detail else ''}"
            return state if status.observed_generation >= obj.metadata.generation else f"old: {state}"
        case NodeStatus():
            known = NodeStatus.Readiness.DESCRIPTOR.values_by_number.get(status.readiness)
            readiness = known.name.lower() if known else f"readiness {status.readiness}"
            return f"{readiness}, cordoned" if _is_cordoned(obj) else readiness
    spec = _unpacked(obj.spec)
    if isinstance(spec, Namespace):
        return ""
    if isinstance(spec, Lease):
        return f"held by {spec.holder}" if spec.holder else "free"
    kind = TYPES.get(key_of(obj).type)
    return "" if kind is not None and kind.status is None else "pending"


def value_at(path: str, obj: Object) -> str:
    """Returns the value of a field of an object by its path, such as `spec.schedule`; empty where it is not set."""
    from rube.api.textproto.printer import scalar_text

    first, *steps = path.split(".")
    value: Any = obj.metadata if first == "metadata" else _unpacked(obj.spec if first == "spec" else obj.status)
    for step in steps:
        if value is None:
            return ""
        field = value.DESCRIPTOR.fields_by_name.get(step)
        if field is None or (field.has_presence and not value.HasField(step)):
            return ""
        value = getattr(value, step)
        if field.is_repeated:
            return str(len(value)) if field.message_type is not None else ",".join(str(item) for item in value)
        if field.message_type is None:
            return "" if value == field.default_value else scalar_text(field, value).strip('"')
    # Messages of any pool's class: a time, a duration.
    to_json = getattr(value, "ToJsonString", None)
    return str(to_json() if to_json is not None else value)


def _is_cordoned(node: Object) -> bool:
    spec = _unpacked(node.spec)
    return isinstance(spec, Node) and spec.unschedulable


def _nothing(obj: Object) -> str:
    return ""


def _pid(obj: Object) -> str:
    status = _unpacked(obj.status)
    return str(status.main_pid) if isinstance(status, UnitStatus) and status.main_pid else ""


def _labels(obj: Object) -> str:
    labels = obj.metadata.labels
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels) if name != "node")


def _message(obj: Object) -> str:
    status = _unpacked(obj.status)
    return " ".join(status.message.split()) if isinstance(status, UnitStatus) else ""


def _short_message(obj: Object) -> str:
    message = _message(obj)
    return message if len(message) <= _MESSAGE_CHARACTERS_MAX else message[: _MESSAGE_CHARACTERS_MAX - 1] + "…"


def printable(text: str) -> str:
    """Returns the text without characters by which a node or a user could steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _unpacked(packed: AnyMessage) -> Message | None:
    try:
        return TYPES.unpack(packed) if packed.type_url else None
    except InvalidArgumentError:
        return None


def age_of(obj: Object, now_ns: int) -> str:
    if not obj.metadata.HasField("create_time"):
        return ""
    return time_since(obj.metadata.create_time.ToNanoseconds(), now_ns)


def time_since(then_ns: int, now_ns: int) -> str:
    """Returns how long ago that was, such as `5m`."""
    seconds = max(0, now_ns - then_ns) // NS_PER_S
    for unit_s, unit in _AGE_UNITS:
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s}{unit}"
    return f"{seconds}s"
