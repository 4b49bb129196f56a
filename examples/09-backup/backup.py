"""A controller of a type of one's own: each acme.Backup gets a unit that makes the copies.

Tried in a simulated cluster, from this directory: `rube sim backup.yaml`. Run for real:
`rube controller --controllers backup:Backups`.
"""

from __future__ import annotations

import backup_pb2  # made from backup.proto: see README.md
from backup_pb2 import Backup, BackupStatus

from rube.api import ControllerSpec, Decision, Object, Service, State, StatusCondition, Unit, UnitStatus
from rube.api.conditions import set_condition
from rube.api.keys import key_of
from rube.api.types import pack
from rube.api.types.protos import files_of
from rube.controllers.spec import SpecController

BACKUP, UNIT = "acme.Backup", "api.systemd.Unit"
PREFIX = "backup-"
EVERY_S = 3600
COPY = """/bin/sh -c 'mkdir -p "$$TARGET" && while cp -a "$$SOURCE" "$$TARGET"; do sleep "$$EVERY_S"; done'"""


class Backups(SpecController):
    """Keyed by acme.Backup; sees the unit `backup-NAME` of each."""

    spec = ControllerSpec(
        name="backups",
        type=BACKUP,
        inputs=[ControllerSpec.Input(type=UNIT, same_name=True, name_prefix=PREFIX)],
        types=files_of(backup_pb2),
    )

    def decide(self, state: State) -> Decision:
        decision = Decision()
        backup = state.object
        if not state.HasField("object") or backup.metadata.HasField("delete_time"):
            return decision  # the garbage collector deletes the unit of a backup that is gone
        wanted = _unit(backup)
        unit = state.related[0] if state.related else None
        if unit is None:
            put = decision.calls.add().put
            put.objects.append(wanted)
            put.preconditions.add(key=key_of(wanted).to_proto(), absent=True)
        elif _is_owned(unit, backup) and unit.spec != wanted.spec:
            wanted.metadata.revision = unit.metadata.revision  # over this version, and no other
            decision.calls.add().put.objects.append(wanted)
        _report(decision, backup, _status(state, unit, wanted))
        return decision


def _unit(backup: Object) -> Object:
    spec = Backup()
    backup.spec.Unpack(spec)
    unit = Unit(description=f"copies {spec.source} to {spec.target}")
    unit.service.type, unit.service.restart = Service.EXEC, Service.ON_FAILURE
    unit.service.time.restart = 5
    unit.service.exec.start.append(COPY)
    for name, value in (("SOURCE", spec.source), ("TARGET", spec.target), ("EVERY_S", str(spec.every_s or EVERY_S))):
        unit.service.environment[name] = value
    obj = Object(spec=pack(unit))
    metadata = obj.metadata
    metadata.namespace, metadata.name = backup.metadata.namespace, PREFIX + backup.metadata.name
    if spec.node:
        metadata.labels["node"] = spec.node
    metadata.owner_references.add(
        type=BACKUP,
        namespace=backup.metadata.namespace,
        name=backup.metadata.name,
        uid=backup.metadata.uid,
        block_deletion=True,
    )
    return obj


def _is_owned(unit: Object, backup: Object) -> bool:
    return any(owner.uid == backup.metadata.uid for owner in unit.metadata.owner_references)


def _status(state: State, unit: Object | None, wanted: Object) -> BackupStatus:
    """Returns the status that the backup should have: it begins with the one that it has, whose times it keeps."""
    backup, status, seen = state.object, BackupStatus(), UnitStatus()
    backup.status.Unpack(status)
    status.unit, status.observed_generation = wanted.metadata.name, backup.metadata.generation
    ready = StatusCondition(type="Ready", state=StatusCondition.FALSE, reason="Waiting")
    ready.observed_generation = status.observed_generation
    if unit is not None and not _is_owned(unit, backup):
        ready.reason, ready.message = "NameTaken", f"the unit {status.unit} is not of this backup"
    elif unit is not None:
        unit.status.Unpack(seen)
        if unit.spec == wanted.spec and seen.observed_generation == unit.metadata.generation:
            ready.reason, ready.message = "UnitReported", seen.message
            ready.state = StatusCondition.TRUE if seen.active_state == "active" else StatusCondition.FALSE
    status.state = seen.active_state
    set_condition(status.conditions, ready, state.now)
    return status


def _report(decision: Decision, backup: Object, status: BackupStatus) -> None:
    """Asks for the status to be written, unless it is what the object says already."""
    packed = pack(status)
    if backup.status == packed:
        return
    update = decision.calls.add().update_status
    update.key.CopyFrom(key_of(backup).to_proto())
    update.uid = backup.metadata.uid
    update.observed_generation = status.observed_generation
    update.status.CopyFrom(packed)
