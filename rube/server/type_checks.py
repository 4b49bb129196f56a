"""The problems that stand in the way of a next version of a type, or of its deletion. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

from rube.api import Object, TypeGate, Veto
from rube.api.keys import ObjectKey, type_of
from rube.api.types import Kind
from rube.api.unknown_fields import unknown_fields
from rube.server.known_types import Gate, Snapshot, gate_key
from rube.server.stored_object import StoredObject
from rube.store import Op


def vetoes(
    now: Snapshot, decided: Mapping[bytes, StoredObject | None], current: Mapping[bytes, StoredObject | None]
) -> list[Op]:
    """Returns the ops by which a write ends the work at the types of its objects, where they are not as that needs
    them: one for each type."""
    found: dict[str, Op] = {}
    for name, obj in decided.items():
        type_name = name.partition(b"/")[0].decode()
        gate = now.gates.get(type_name)
        if gate is None or obj is None or type_name in found or not gate.works:
            continue
        problem = _problem_of_write(now.types.kind(type_name), gate, obj, current.get(name))
        if problem:
            told = Veto(id=gate.id, key=ObjectKey.from_bytes(name).to_proto(), problem=problem)
            found[type_name] = Op(gate_key(type_name), TypeGate(veto=told).SerializeToString(deterministic=True))
    return list(found.values())


def _problem_of_write(kind: Kind, gate: Gate, obj: StoredObject, before: StoredObject | None) -> str:
    if gate.deletion:
        return "it is there"
    if gate.candidate is None:
        return f"its apiserver cannot compare it ({gate.unreadable})"
    changed = before is None or before.spec != obj.spec
    if changed and (problem := next(_problems_of_spec(kind, gate.candidate, obj.spec_value()), "")):
        return problem
    status = obj.status_any()
    if status is not None and (before is None or before.status != obj.status):
        return next(_problems_of_status(kind, gate.candidate, status), "")
    return ""


def problems_of(obj: Object, before: Kind, after: Kind) -> Iterator[str]:
    """Yields the problems of a stored object as one of the next version of its type."""
    yield from _problems_of_spec(before, after, obj.spec.value)
    if obj.HasField("status"):
        yield from _problems_of_status(before, after, obj.status)


def _problems_of_spec(before: Kind, after: Kind, value: bytes) -> Iterator[str]:
    problems = list(_problems_of_message("spec", before.spec, after.spec, value))
    yield from problems
    if not problems:
        for found in after.rules.violations(after.spec.FromString(value)):
            yield f"its spec{'.' if found.field else ' '}{found}"


def _problems_of_status(before: Kind, after: Kind, status: Any) -> Iterator[str]:
    if after.status is None or type_of(status) != after.status.DESCRIPTOR.full_name:
        now = "none" if after.status is None else after.status.DESCRIPTOR.full_name
        yield f"its status is {type_of(status)}, and the new version's is {now}"
    elif before.status is not None:
        yield from _problems_of_message("status", before.status, after.status, status.value)


def _problems_of_message(field: str, before: type[Message], after: type[Message], value: bytes) -> Iterator[str]:
    try:
        read = after.FromString(value)
    except DecodeError:
        yield f"its {field} cannot be read as the new {after.DESCRIPTOR.full_name}"
        return
    lost = unknown_fields(read)
    if not lost:
        stored = before.FromString(value)
        if not unknown_fields(stored) and _bytes(read) != _bytes(stored):
            yield f"a value in its {field} is another one in the new {after.DESCRIPTOR.full_name}"
        return
    known = {(path, number) for path, number, _ in unknown_fields(before.FromString(value))}
    for path, number, _ in lost:
        if (path, number) not in known:
            where = f"{field}.{path}" if path else field
            yield f"it has field {number} in {where} set, which the new version does not know"


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
