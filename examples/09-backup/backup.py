"""A controller of a type of one's own: each acme.Backup gets a unit on each node that it selects.

Tried in a simulated cluster, from this directory: `rube sim backup.yaml`. Run for real:
`rube controller --controllers backup:Backups`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import backup_pb2  # made from backup.proto: see README.md
from backup_pb2 import Backup, BackupStatus

from rube.api import (
    ControllerSpec,
    CoreEvent,
    Decision,
    Object,
    Service,
    State,
    StatusCondition,
    Unit,
    UnitStatus,
    UpdateLifecycleRequest,
    selectors,
)
from rube.api.conditions import set_condition
from rube.api.errors import InvalidArgumentError
from rube.api.keys import key_of, type_of
from rube.api.types import pack
from rube.api.types.protos import files_of
from rube.controllers.spec import SpecController

BACKUP, UNIT, NODE = "acme.Backup", "api.systemd.Unit", "api.Node"
FINALIZER = "acme/units"
"""A backup that is deleted stays until its units are gone."""
SCHEDULE = "1h"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
COPY = """/bin/sh -c 'mkdir -p "$$TARGET" && while cp -a "$$SOURCE" "$$TARGET"; do sleep "$$EVERY_S"; done'"""


class Backups(SpecController):
    """Keyed by acme.Backup; sees the units of each, and the nodes."""

    spec = ControllerSpec(
        name="backups",
        type=BACKUP,
        inputs=[ControllerSpec.Input(type=UNIT, owned=True), ControllerSpec.Input(type=NODE, all=True)],
        types=files_of(backup_pb2),
    )

    def decide(self, state: State) -> Decision:
        decision = Decision()
        backup = state.object
        units = {obj.metadata.name: obj for obj in state.related if type_of(obj.spec) == UNIT}
        if not state.HasField("object"):
            return decision
        if backup.metadata.HasField("delete_time"):
            _finish(decision, backup, units)
        elif FINALIZER not in backup.metadata.finalizers:
            _lifecycle(decision, backup).add_finalizers.append(FINALIZER)  # before there is anything to remove
        else:
            self._keep(decision, state, units)
        return decision

    def _keep(self, decision: Decision, state: State, units: Mapping[str, Object]) -> None:
        """Puts the units that are lacking or differ, deletes those of nodes that are not selected any more."""
        spec = Backup()
        state.object.spec.Unpack(spec)
        nodes = [obj for obj in state.related if type_of(obj.spec) == NODE]
        try:
            wanted = {obj.metadata.name: obj for obj in _units(state.object, spec, nodes)}
        except InvalidArgumentError as error:
            decision.events.add(type=CoreEvent.WARNING, reason="Invalid", message=error.message)
            _report(decision, state, units, units, error.message)
            return
        for name, obj in wanted.items():
            if name not in units:
                put = decision.calls.add().put
                put.objects.append(obj)
                put.preconditions.add(key=key_of(obj).to_proto(), absent=True)
                decision.events.add(reason="Started", message=f"made unit {name}")
            elif units[name].spec != obj.spec:
                obj.metadata.revision = units[name].metadata.revision  # over this version, and no other
                decision.calls.add().put.objects.append(obj)
                decision.events.add(reason="Changed", message=f"changed unit {name}")
        for name in sorted(units.keys() - wanted.keys()):
            _delete(decision, units[name])
            decision.events.add(reason="Stopped", message=f"deleted unit {name}: its node is not selected any more")
        _report(decision, state, units, wanted, "")


def _units(backup: Object, spec: Backup, nodes: Sequence[Object]) -> list[Object]:
    """Returns the units that a backup should have. Raises InvalidArgumentError for a wrong spec."""
    name, every_s = f"backup-{backup.metadata.name}", _seconds(spec.schedule or SCHEDULE)
    if not spec.node_selector:
        return [_unit(backup, spec, name, every_s)]
    selector = selectors.parse(spec.node_selector)
    chosen = sorted(node.metadata.name for node in nodes if selector.matches(node.metadata.labels))
    return [_unit(backup, spec, f"{name}-{node}", every_s, node) for node in chosen]


def _seconds(schedule: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", schedule)
    if match is None:
        raise InvalidArgumentError(f"schedule {schedule!r} is no time: write a number and s, m, h or d, such as 15m")
    return int(match[1]) * SECONDS[match[2]]


def _unit(backup: Object, spec: Backup, name: str, every_s: int, node: str = "") -> Object:
    unit = Unit(description=f"copies {spec.source} to {spec.target}")
    unit.service.type, unit.service.restart = Service.EXEC, Service.ON_FAILURE
    unit.service.time.restart = 5
    unit.service.exec.start.append(COPY)
    for variable, value in (("SOURCE", spec.source), ("TARGET", spec.target), ("EVERY_S", str(every_s))):
        unit.service.environment[variable] = value
    obj, owner = Object(spec=pack(unit)), backup.metadata
    obj.metadata.namespace, obj.metadata.name = owner.namespace, name
    if node:
        obj.metadata.labels["node"] = node
    obj.metadata.owner_references.add(type=BACKUP, namespace=owner.namespace, name=owner.name, uid=owner.uid)
    return obj


def _finish(decision: Decision, backup: Object, units: Mapping[str, Object]) -> None:
    """Deletes the units of a backup under deletion, and then lets it go."""
    for name in sorted(units):
        _delete(decision, units[name])
    if not units and FINALIZER in backup.metadata.finalizers:
        _lifecycle(decision, backup).remove_finalizers.append(FINALIZER)


def _lifecycle(decision: Decision, backup: Object) -> UpdateLifecycleRequest:
    request = decision.calls.add().update_lifecycle
    request.key.CopyFrom(key_of(backup).to_proto())
    request.uid = backup.metadata.uid
    return request


def _delete(decision: Decision, unit: Object) -> None:
    if unit.metadata.HasField("delete_time"):
        return
    delete = decision.calls.add().delete
    delete.keys.append(key_of(unit).to_proto())
    delete.preconditions.add(key=key_of(unit).to_proto(), uid=unit.metadata.uid)


def _report(
    decision: Decision, state: State, units: Mapping[str, Object], wanted: Mapping[str, Object], error: str
) -> None:
    """Asks for the status to be written, unless it is what the object says already, with other times."""
    backup, status = state.object, BackupStatus()
    backup.status.Unpack(status)
    waiting = [name for name in sorted(wanted) if not _runs(units.get(name), wanted[name])]
    status.running = f"{len(wanted) - len(waiting)}/{len(wanted)}"
    status.observed_generation = backup.metadata.generation
    ready = StatusCondition(type="Ready", observed_generation=status.observed_generation, message=error)
    ready.state = StatusCondition.FALSE if error or waiting or not wanted else StatusCondition.TRUE
    if error:
        ready.reason = "Invalid"
    elif not wanted:
        ready.reason, ready.message = "NoNodes", "no node has the labels of node_selector"
    elif waiting:
        ready.reason, ready.message = "Waiting", f"not running: {', '.join(waiting)}"
    else:
        ready.reason = "Running"
    set_condition(status.conditions, ready, state.now)
    packed = pack(status)
    if backup.status != packed:
        update = decision.calls.add().update_status
        update.key.CopyFrom(key_of(backup).to_proto())
        update.uid = backup.metadata.uid
        update.observed_generation = status.observed_generation
        update.status.CopyFrom(packed)


def _runs(unit: Object | None, wanted: Object) -> bool:
    seen = UnitStatus()
    if unit is None or unit.spec != wanted.spec or not unit.status.Unpack(seen):
        return False
    return seen.active_state == "active" and seen.observed_generation == unit.metadata.generation
