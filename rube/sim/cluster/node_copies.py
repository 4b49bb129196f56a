"""The content of a rubelet's disk: its copy of the store, and its decisions."""

from __future__ import annotations

from rube.api import Entry, Unit
from rube.api.errors import DataLossError, FailedPreconditionError
from rube.api.keys import ObjectKey, key_of
from rube.rubelet.local_copy import LocalCopy
from rube.sim.cluster.durability import DurableView
from rube.sim.cluster.machines import Machine
from rube.sim.judges import Copy, History
from rube.units.names import parse_unit_name

_OUTBOX = b"controller/unit/"


async def note_copy(history: History, machine: Machine, url: str, now_ns: int) -> None:
    """Notes the copy that the local store at `url` has. Nothing where there is no store, or one that is damaged."""
    ports = machine.ports
    try:
        with machine.disk.looking():
            engine = await ports.storage.open(url, read_only=True)
            state = LocalCopy(engine, Unit.DESCRIPTOR.full_name).load()
    except (FailedPreconditionError, DataLossError):
        return
    await engine.close()
    found = [history.contents.of(obj) for obj in state.objects]
    history.machines.copies.append(
        Copy(now_ns, ports.name, state.store_id, state.revision, {str(key_of(item.obj)): item for item in found})
    )


def is_decided(view: DurableView, unit: str, action_id: str) -> bool:
    """Returns whether the action is in the outbox that is durable on the disk."""
    name = parse_unit_name(unit)
    if name is None:
        return False
    row = view.get(_OUTBOX + ObjectKey(Unit.DESCRIPTOR.full_name, *name).to_bytes())
    entry = Entry() if row is None else Entry.FromString(row)
    return any(action.id == action_id for action in entry.left.actions)
