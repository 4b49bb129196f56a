"""The controller's decisions: `python -m pytest test_backup.py`. The scenario backup.yaml tries it in a cluster."""

from __future__ import annotations

from backup import BACKUP, UNIT, Backups
from backup_pb2 import Backup, BackupStatus
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import Decision, Object, State, StatusCondition, Unit, UnitStatus
from rube.api.keys import key_of
from rube.api.types import pack
from rube.controllers.contract import evaluate


def state_of(*units: Object, **spec: object) -> State:
    backup = Object(spec=pack(Backup(source="/srv/www", target="/mnt/www", **spec)))
    backup.metadata.namespace, backup.metadata.name, backup.metadata.uid = "default", "nightly", "b-1"
    backup.metadata.generation = 1
    return State(key=key_of(backup).to_proto(), object=backup, related=units, now=Timestamp(seconds=100))


def decide(state: State) -> Decision:
    return evaluate(Backups(), state, check_purity=True)


def unit_made(state: State) -> Object:
    """Returns the unit that a first decision puts, as an apiserver stores it."""
    (put, _) = decide(state).calls
    unit = Object()
    unit.CopyFrom(put.put.objects[0])
    unit.metadata.uid, unit.metadata.revision = "u-1", 7
    return unit


def told(decision: Decision) -> BackupStatus:
    status = BackupStatus()
    assert decision.calls[-1].update_status.status.Unpack(status)
    return status


def ready(decision: Decision) -> StatusCondition:
    (condition,) = told(decision).conditions
    assert condition.type == "Ready"
    return condition


def test_a_backup_without_a_unit_gets_one_that_it_owns() -> None:
    decision = decide(state_of(node="worker-1"))
    put, update = decision.calls
    (unit,) = put.put.objects
    assert (key_of(unit).type, unit.metadata.name) == (UNIT, "backup-nightly")
    assert unit.metadata.labels["node"] == "worker-1"
    (owner,) = unit.metadata.owner_references
    assert (owner.type, owner.name, owner.uid) == (BACKUP, "nightly", "b-1")
    assert put.put.preconditions[0].absent
    assert update.update_status.uid == "b-1"
    assert (told(decision).unit, told(decision).observed_generation) == ("backup-nightly", 1)
    assert ready(decision).state == StatusCondition.FALSE


def test_a_changed_backup_changes_its_unit_over_the_version_that_was_seen() -> None:
    unit = unit_made(state_of())
    put, _ = decide(state_of(unit, every_s=60)).calls
    changed = Unit()
    assert put.put.objects[0].spec.Unpack(changed)
    assert changed.service.environment["EVERY_S"] == "60"
    assert put.put.objects[0].metadata.revision == 7


def test_the_status_says_what_the_unit_says_and_is_written_once() -> None:
    state = state_of()
    unit = unit_made(state)
    unit.metadata.generation = 1
    unit.status.CopyFrom(pack(UnitStatus(active_state="active", observed_generation=1)))
    state.related.append(unit)
    decision = decide(state)
    assert told(decision).state == "active"
    assert ready(decision).state == StatusCondition.TRUE
    assert ready(decision).transition_time == state.now
    state.object.status.CopyFrom(decision.calls[-1].update_status.status)
    state.now.seconds += 60
    assert not decide(state).calls


def test_somebody_elses_unit_of_that_name_is_left_alone() -> None:
    unit = unit_made(state_of())
    del unit.metadata.owner_references[:]
    decision = decide(state_of(unit, every_s=60))
    assert [call.WhichOneof("call") for call in decision.calls] == ["update_status"]
    assert ready(decision).reason == "NameTaken"


def test_nothing_is_done_for_a_backup_that_is_gone_or_going() -> None:
    state = state_of()
    state.object.metadata.delete_time.seconds = 1
    assert not decide(state).calls
    state.ClearField("object")
    assert not decide(state).calls
