"""Objects as the user wants to read them: text format, JSON, a table, names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import click
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from rube import api_pb2
from rube.api import cluster_pb2, registry, systemd_pb2, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey, key_of, type_of
from rube.host import RealClock

_HEADER: Final = "# proto-file: rube/api.proto\n# proto-message: {}\n\n"
# What is portable to every store at one revision.
GROUP_OBJECTS_MAX: Final = 100
GROUP_BYTES_MAX: Final = 1024 * 1024
_NS_PER_S: Final = 1_000_000_000
# Seconds, from the longest; a value is shown in the first unit of which it has at least two.
_AGE_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MESSAGE_CHARACTERS_MAX: Final = 60


def place(named: api_pb2.Metadata | ObjectKey) -> str:
    """`system/indexer`, or the name alone outside namespaces."""
    return f"{named.namespace}/{named.name}" if named.namespace else named.name


def print_each(objects: Sequence[api_pb2.Object], output: str) -> None:
    """Prints objects one by one: in text format each is a document of its own."""
    match output:
        case "textproto" | "spec":
            header = _HEADER.format("Object")
            shown = map(written, objects) if output == "spec" else objects
            click.echo("\n".join(header + textproto.format(obj) for obj in shown), nl=False)
        case "json":
            for obj in objects:
                click.echo(json.dumps(json_value(obj), indent=2, ensure_ascii=False))
        case _:
            print_list(objects, output)


def print_list(objects: Sequence[api_pb2.Object], output: str) -> None:
    """Prints objects together: in text format and JSON the whole is one api.List.

    In text format a header stands before each group that every store takes at one revision, so that it can be put.
    """
    match output:
        case "textproto" | "spec":
            for group in groups([written(obj) for obj in objects] if output == "spec" else objects):
                click.echo(_HEADER.format("List") + textproto.format(api_pb2.List(items=group)), nl=False)
        case "json":
            click.echo(json.dumps({"items": [json_value(obj) for obj in objects]}, indent=2, ensure_ascii=False))
        case "name":
            for obj in objects:
                click.echo(str(key_of(obj)))
        case _:
            for line in table(objects, now_ns=RealClock().now_ns()):
                click.echo(line)


def written(obj: api_pb2.Object) -> api_pb2.Object:
    """The part of an object that its user writes: put again it overwrites whatever is there, on any cluster."""
    metadata = api_pb2.Metadata(
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        labels=obj.metadata.labels,
        annotations=obj.metadata.annotations,
        owner_references=obj.metadata.owner_references,
    )
    return api_pb2.Object(metadata=metadata, spec=obj.spec)


def groups(objects: Sequence[api_pb2.Object]) -> Iterator[list[api_pb2.Object]]:
    """The objects in pieces that every store takes at one revision."""
    group: list[api_pb2.Object] = []
    group_bytes = 0
    for obj in objects:
        size = obj.ByteSize()
        if group and (len(group) == GROUP_OBJECTS_MAX or group_bytes + size > GROUP_BYTES_MAX):
            yield group
            group, group_bytes = [], 0
        group.append(obj)
        group_bytes += size
    if group:
        yield group


def json_value(message: Message) -> dict[str, Any]:
    """Protobuf's JSON mapping with the fields named as in the protos (https://protobuf.dev/programming-guides/json/)."""
    from google.protobuf import json_format

    try:
        value: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except TypeError as error:
        raise click.ClickException(f"JSON cannot show a type that this ructl does not know: {error}") from error
    return value


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
        [head, *(value or "-" for value in values)] for head, values in cells.items() if any(values) or head == "NAME"
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
        case systemd_pb2.UnitStatus():
            why = status.sub_state if status.result in ("", "success") else status.result
            state = f"{status.active_state or status.load_state or 'unknown'}{f' ({why})' if why else ''}"
            return state if status.observed_generation >= obj.metadata.generation else f"old: {state}"
        case cluster_pb2.NodeStatus():
            return cluster_pb2.NodeStatus.Readiness.Name(status.readiness).lower()
        case None if type_of(obj.spec) == "api.Lease":
            lease = _unpacked(obj.spec)
            return f"held by {lease.holder}" if isinstance(lease, cluster_pb2.Lease) and lease.holder else "free"
        case _:
            return "pending"


def _message(obj: api_pb2.Object) -> str:
    status = _unpacked(obj.status)
    message = " ".join(status.message.split()) if isinstance(status, systemd_pb2.UnitStatus) else ""
    return message if len(message) <= _MESSAGE_CHARACTERS_MAX else message[: _MESSAGE_CHARACTERS_MAX - 1] + "…"


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
