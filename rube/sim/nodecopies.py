"""What a rubelet's disk holds, read as its next incarnation will read it."""

from __future__ import annotations

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.api.keys import key_of
from rube.api.systemd_pb2 import Unit
from rube.host import Host
from rube.rubelet.replica import ReplicaStore
from rube.sim.checkers import Copy, History


async def note_copy(history: History, ports: Host, url: str, now_ns: int) -> None:
    """Notes the copy that the local store at `url` has. Nothing where there is no store, or one that is damaged."""
    try:
        engine = await ports.storage.open(url, read_only=True)
    except (FailedPreconditionError, DataLossError):
        return
    state = ReplicaStore(engine, Unit.DESCRIPTOR.full_name).load()
    await engine.close()
    found = [history.contents.of(obj) for obj in state.objects]
    history.machines.copies.append(
        Copy(now_ns, ports.name, state.store_id, state.revision, {str(key_of(item.obj)): item for item in found})
    )
