"""The controller's decisions: `python -m pytest test_backup.py`. The scenario backup.yaml tries it in a cluster."""

from __future__ import annotations

import pytest
from backup import BACKUP, FINALIZER, UNIT, Backups
from backup_pb2 import Backup, BackupStatus
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import Decision, Metadata, Node, Object, State, StatusCondition, Unit, UnitStatus
from rube.api.keys import key_of
from rube.api.types import pack
from rube.controllers.contract import evaluate


def state_of(*related: Object, **spec: str) -> State:
    backup = Object(spec=pack(Backup(source="/srv/www", target="/mnt/www", **spec)))
    backup.metadata.namespace, backup.metadata.name, backup.metadata.uid = "default", "nightly", "b-1"
    backup.metadata.generation = 1
    backup.metadata.finalizers.append(FINALIZER)
    return State(key=key_of(backup).to_proto(), object=backup, related=related, now=Timestamp(seconds=100))


def node(name: str, *, chosen: bool = True) -> Object:
    metadata = Metadata(name=name, labels={"backup": "yes"} if chosen else {})
    return Object(metadata=metadata, spec=pack(Node()))


def decide(state: State) -> Decision:
    return evaluate(Backups(), state, check_purity=True)


def kinds(decision: Decision) -> list[str | None]:
    return [call.WhichOneof("call") for call in decision.calls]


def units_made(state: State) -> list[Object]:
    """Returns the units that a first decision puts, as an apiserver stores them."""
    made = []
    for call in decide(state).calls:
        for obj in call.put.objects:
            unit = Object.FromString(obj.SerializeToString())
            unit.metadata.uid, unit.metadata.revision, unit.metadata.generation = f"u-{len(made)}", 7, 1
            unit.status.CopyFrom(pack(UnitStatus(active_state="active", observed_generation=1)))
            made.append(unit)
    return made


def told(decision: Decision) -> BackupStatus:
    status = BackupStatus()
    assert decision.calls[-1].update_status.status.Unpack(status)
    return status


def ready(decision: Decision) -> StatusCondition:
    (condition,) = told(decision).conditions
    assert condition.type == "Ready"
    return condition


def test_a_new_backup_gets_its_finalizer_before_there_is_anything_to_remove() -> None:
    state = state_of()
    del state.object.metadata.finalizers[:]
    (call,) = decide(state).calls
    assert call.update_lifecycle.add_finalizers == [FINALIZER]
    assert call.update_lifecycle.uid == "b-1"


def test_a_backup_without_a_selector_gets_one_unit_which_placement_binds() -> None:
    put, update = decide(state_of(node("worker-1"))).calls
    (unit,) = put.put.objects
    assert (key_of(unit).type, unit.metadata.name, "node" in unit.metadata.labels) == (UNIT, "backup-nightly", False)
    (owner,) = unit.metadata.owner_references
    assert (owner.type, owner.name, owner.uid) == (BACKUP, "nightly", "b-1")
    assert put.put.preconditions[0].absent
    assert update.update_status.uid == "b-1"


def test_each_selected_node_gets_a_unit() -> None:
    nodes = [node("worker-1"), node("worker-2", chosen=False), node("worker-3")]
    decision = decide(state_of(*nodes, node_selector="backup=yes", schedule="15m"))
    units = [obj for call in decision.calls for obj in call.put.objects]
    bound = [(obj.metadata.name, obj.metadata.labels["node"]) for obj in units]
    assert bound == [("backup-nightly-worker-1", "worker-1"), ("backup-nightly-worker-3", "worker-3")]
    spec = Unit()
    units[0].spec.Unpack(spec)
    assert spec.service.environment["EVERY_S"] == "900"
    assert ready(decision).message == "not running: backup-nightly-worker-1, backup-nightly-worker-3"
    assert told(decision).running == "0/2"


def test_a_node_that_is_not_selected_any_more_loses_its_unit() -> None:
    nodes = [node("worker-1"), node("worker-3")]
    first, second = units_made(state_of(*nodes, node_selector="backup=yes"))
    nodes[1] = node("worker-3", chosen=False)
    decision = decide(state_of(first, second, *nodes, node_selector="backup=yes"))
    assert kinds(decision) == ["delete", "update_status"]
    assert decision.calls[0].delete.keys[0].name == second.metadata.name
    assert decision.calls[0].delete.preconditions[0].uid == second.metadata.uid
    assert told(decision).running == "1/1"
    (event,) = decision.events
    assert (event.reason, event.message.split(":")[0]) == ("Stopped", "deleted unit backup-nightly-worker-3")


def test_a_changed_backup_changes_its_unit_over_the_version_that_was_seen() -> None:
    put, _ = decide(state_of(*units_made(state_of()), schedule="60s")).calls
    changed = Unit()
    assert put.put.objects[0].spec.Unpack(changed)
    assert changed.service.environment["EVERY_S"] == "60"
    assert put.put.objects[0].metadata.revision == 7


def test_the_status_says_what_the_units_say_and_is_written_once() -> None:
    state = state_of(*units_made(state_of()))
    decision = decide(state)
    assert (told(decision).running, told(decision).observed_generation) == ("1/1", 1)
    assert ready(decision).state == StatusCondition.TRUE
    assert ready(decision).transition_time == state.now
    state.object.status.CopyFrom(decision.calls[-1].update_status.status)
    state.now.seconds += 60
    assert not decide(state).calls


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"schedule": "often"}, "Invalid", "schedule 'often' is no time: write a number and s, m, h or d, such as 15m"),
        ({"node_selector": "a in"}, "Invalid", "a in"),
        ({"node_selector": "zone=mars"}, "NoNodes", "no node has the labels of node_selector"),
    ],
)
def test_what_makes_no_unit_is_said_in_the_condition(spec: dict[str, str], reason: str, message: str) -> None:
    decision = decide(state_of(node("worker-1"), **spec))
    assert kinds(decision) == ["update_status"]
    assert (ready(decision).state, ready(decision).reason) == (StatusCondition.FALSE, reason)
    assert message in ready(decision).message
    assert [event.reason for event in decision.events] == (["Invalid"] if reason == "Invalid" else [])


def test_a_wrong_spec_leaves_the_units_that_there_are() -> None:
    decision = decide(state_of(*units_made(state_of()), schedule="often"))
    assert kinds(decision) == ["update_status"]


def test_a_backup_under_deletion_goes_after_its_units() -> None:
    (unit,) = units_made(state_of())
    state = state_of(unit)
    state.object.metadata.delete_time.seconds = 1
    assert kinds(decide(state)) == ["delete"]
    state.related[0].metadata.delete_time.seconds = 1
    assert not decide(state).calls, "it is asked for already"
    del state.related[:]
    (call,) = decide(state).calls
    assert call.update_lifecycle.remove_finalizers == [FINALIZER]


def test_nothing_is_done_for_a_backup_that_is_gone() -> None:
    state = state_of()
    state.ClearField("object")
    assert not decide(state).calls
