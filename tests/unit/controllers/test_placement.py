"""The decisions of placement: where a unit goes, when it moves, and what is said of one whose node is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rube.api import CoreEvent, Decision, Node, NodeStatus, Object, State, Unit, UnitStatus
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.api.well_known import MOVE_ANNOTATION, MOVED_FROM_ANNOTATION
from rube.controllers.cluster.placement import Placement, choose
from rube.controllers.contract import evaluate
from rube.controllers.label_index import LabelIndex
from tests.unit.controllers.cluster_fake import FakeCache, of_unit, unit_object

Status = NodeStatus
READY, SILENT, UNKNOWN = Status.READY, Status.SILENT, Status.UNKNOWN
NOW_S = 1_000_000
HEARD_S = NOW_S - 100


def node(name: str, readiness: Status.Readiness.ValueType = READY, *, unschedulable: bool = False) -> Object:
    obj = Object(spec=pack(Node(unschedulable=unschedulable)))
    obj.metadata.name, obj.metadata.uid = name, f"uid-{name}"
    status = Status(readiness=readiness, driver="simulated")
    if readiness == SILENT:
        status.last_heard_time.FromSeconds(HEARD_S)
    obj.status.CopyFrom(pack(status))
    return obj


def unit(
    bound: str = "",
    *,
    status: UnitStatus | None = None,
    move: str = "",
    move_after_s: float | None = None,
    age_s: int = 3600,
    name: str = "web",
) -> Object:
    spec = Unit()
    spec.service.exec.start.append("/bin/serve")
    if move_after_s is not None:
        spec.node_lost.move_after = move_after_s
    obj = of_unit(name, spec, node=bound)
    obj.metadata.uid, obj.metadata.revision = "uid-7", 12
    obj.metadata.create_time.FromSeconds(NOW_S - age_s)
    if move:
        obj.metadata.annotations[MOVE_ANNOTATION] = move
    if status is not None:
        obj.status.CopyFrom(pack(status))
    return obj


def running(on: str = "a", **fields: Any) -> UnitStatus:
    return UnitStatus(load_state="loaded", active_state="active", sub_state="running", node=on, main_pid=7, **fields)


def decide(obj: Object | None, *nodes: Object) -> Decision:
    """Placement's decision with its cache holding just these."""
    cache = FakeCache()
    objects = [one for one in (obj, *nodes) if one is not None]
    controller = Placement()
    cache.become({key_of(one): one for one in objects}, 1)
    key = key_of(unit())
    state = State(key=key.to_proto(), object=None if obj is None else controller.transform(obj))
    (wanted,) = controller.inputs
    state.related.extend(wanted.select(key, state.object if obj is not None else None, cache))
    state.now.FromSeconds(NOW_S)
    return evaluate(controller, state, check_purity=True)


def put_of(decision: Decision) -> Object:
    (call,) = decision.calls
    (precondition,) = call.put.preconditions
    assert (precondition.revision, precondition.uid) == (12, "uid-7")
    return call.put.objects[0]


def told_of(decision: Decision) -> UnitStatus:
    (call,) = decision.calls
    assert set(call.update_status.update_mask.paths) == {"active_state", "sub_state", "unknown_since", "message"}
    assert call.update_status.precondition.revision == 12
    told = UnitStatus()
    call.update_status.status.Unpack(told)
    return told


# Where a unit goes


def test_an_unbound_unit_goes_to_a_ready_node_under_a_precondition() -> None:
    obj = put_of(decide(unit(), node("a", SILENT), node("b"), node("c", unschedulable=True)))
    assert obj.metadata.labels["node"] == "b"
    assert obj.spec == unit().spec


def test_an_empty_label_is_no_node() -> None:
    obj = unit()
    obj.metadata.labels["node"] = ""
    assert put_of(decide(obj, node("a"))).metadata.labels["node"] == "a"


def test_a_deleted_unit_needs_no_node() -> None:
    assert decide(None, node("a")) == Decision()


def test_the_node_with_the_fewest_units_gets_it() -> None:
    cache = FakeCache()
    bound = [unit_object(f"web-{number}", node="a" if number else "b") for number in range(3)]
    objects = [*bound, node("a"), node("b"), node("c", SILENT)]
    cache.become({key_of(obj): obj for obj in objects}, 1)
    (wanted,) = Placement().inputs
    assert [obj.metadata.name for obj in wanted.select(key_of(unit()), unit(), cache)] == ["b"]


def test_equally_loaded_nodes_are_chosen_by_hash_alone() -> None:
    uids = [f"uid-{number}" for number in range(300)]
    chosen = {uid: choose(uid, ["a", "b", "c"]) for uid in uids}
    assert all(70 <= list(chosen.values()).count(name) <= 130 for name in "abc")
    assert all(choose(uid, ["a", "b"]) == name for uid, name in chosen.items() if name != "c")
    assert choose("uid", []) is None


def test_a_node_asks_for_its_own_units_and_when_it_is_ready_for_those_that_wait() -> None:
    cache = FakeCache()
    units = [unit_object("bound", node="a"), unit_object("elsewhere", node="b"), unit_object("free", node="")]
    cache.become({key_of(obj): obj for obj in units}, 1)
    (wanted,) = Placement().inputs
    assert list(wanted.requeue(node("a"), cache)) == [key_of(units[0]), key_of(units[2])]
    assert list(wanted.requeue(node("a", SILENT), cache)) == [key_of(units[0])]


# What is said while there is no node


@pytest.mark.parametrize("nodes", [[], [node("a", SILENT)], [node("a", UNKNOWN)], [node("a", unschedulable=True)]])
def test_a_unit_that_waits_for_a_node_says_so_after_a_while(nodes: list[Object]) -> None:
    young = decide(unit(age_s=1), *nodes)
    assert not young.calls
    assert young.wake_after.ToSeconds() == 4
    told = told_of(decide(unit(), *nodes))
    assert told.message == "no node takes units: none is ready and schedulable; look at 'ructl list -t Node'"
    assert told.active_state == "", "it never ran"
    assert not decide(unit(status=told), *nodes).calls, "and it says so once"


def test_a_unit_bound_to_a_node_that_does_not_exist_says_so() -> None:
    assert not decide(unit("nowhere", age_s=1), node("a")).calls, "the node may be about to join"
    told = told_of(decide(unit("nowhere"), node("a")))
    assert "node 'nowhere' does not exist: start a rubelet with --node nowhere" in told.message


def test_a_unit_of_a_ready_node_is_left_alone() -> None:
    assert decide(unit("a", status=running()), node("a"), node("b")) == Decision()


def test_a_unit_of_a_silent_node_is_unknown_with_its_age_and_what_it_was() -> None:
    told = told_of(decide(unit("a", status=running()), node("a", SILENT), node("b")))
    assert told.active_state == "unknown"
    assert told.unknown_since.seconds == HEARD_S
    assert told.message == "node a is silent since 1970-01-12T13:45:00Z; then it was active (running)"
    marked = running()
    marked.active_state, marked.message = told.active_state, told.message
    marked.unknown_since.CopyFrom(told.unknown_since)
    assert not decide(unit("a", status=marked), node("a", SILENT), node("b")).calls, "once"


# Moves that a user asks for


def test_a_move_waits_until_the_node_has_let_the_unit_go() -> None:
    nodes = (node("a"), node("b"))
    assert not decide(unit("a", move="b#1", status=running()), *nodes).calls
    stale = running(released_for="b#0")
    assert not decide(unit("a", move="b#1", status=stale), *nodes).calls, "an earlier request's release is none"
    other = running("c", released_for="b#1")
    assert not decide(unit("a", move="b#1", status=other), *nodes).calls, "said by another node"
    obj = put_of(decide(unit("a", move="b#1", status=running(released_for="b#1")), *nodes))
    assert obj.metadata.labels["node"] == "b"
    assert obj.metadata.annotations[MOVE_ANNOTATION] == "", "an empty value removes it"


def test_a_move_without_a_node_goes_to_another_one_and_waits_for_it() -> None:
    released = unit("a", move="#1", status=running(released_for="#1"))
    assert put_of(decide(released, node("a"), node("b"), node("c", SILENT))).metadata.labels["node"] == "b"
    waiting = decide(released, node("a"), node("b", unschedulable=True))
    assert not waiting.calls
    assert waiting.wake_after.ToSeconds() == 5


def test_a_move_to_where_it_is_ends_the_request() -> None:
    obj = put_of(decide(unit("a", move="a#1", status=running()), node("a")))
    assert obj.metadata.labels["node"] == "a"
    assert obj.metadata.annotations[MOVE_ANNOTATION] == "", "an empty value removes it"


# Lost nodes


def test_a_unit_stays_on_a_lost_node_unless_its_policy_says_otherwise() -> None:
    assert told_of(decide(unit("a", status=running()), node("a", SILENT), node("b"))).active_state == "unknown"


def test_a_unit_with_a_policy_moves_after_that_time_and_once() -> None:
    nodes = (node("a", SILENT), node("b"))
    early = decide(unit("a", status=running(), move_after_s=130), *nodes)
    assert told_of(early).active_state == "unknown"
    assert early.wake_after.ToSeconds() == 30
    obj = put_of(decide(unit("a", status=running(), move_after_s=90), *nodes))
    assert obj.metadata.labels["node"] == "b"
    assert obj.metadata.annotations[MOVED_FROM_ANNOTATION] == "a"
    moved = unit("b", status=running("b"), move_after_s=90)
    moved.metadata.annotations[MOVED_FROM_ANNOTATION] = "a"
    assert told_of(decide(moved, node("b", SILENT), node("c"))).active_state == "unknown", "not a second time"


def test_a_unit_with_a_policy_waits_for_a_node_that_takes_it() -> None:
    decision = decide(unit("a", status=running(), move_after_s=90), node("a", SILENT), node("b", SILENT))
    assert told_of(decision).active_state == "unknown"
    assert decision.wake_after.ToSeconds() == 5


# What it keeps


def test_placement_keeps_little_of_a_unit_that_stays() -> None:
    obj = unit("a", status=running())
    kept = Placement().transform(obj)
    assert key_of(kept) == key_of(obj)
    assert kept.ByteSize() < obj.ByteSize()
    assert kept.spec.value == b""
    for whole in (unit(), unit("a", move="b#1"), unit("a", move_after_s=10)):
        assert Placement().transform(whole) is whole


def test_an_index_counts_what_was_decided_before_it_is_seen() -> None:
    index = LabelIndex("node", [unit_object("one", node="a"), unit_object("two", node="")])
    one, two = (ObjectKey("api.systemd.Unit", "default", name) for name in ("one", "two"))
    assert index.keys("a") == {one}
    index.assume(two, [unit_object("two", node="a")])
    assert index.keys("a") == {one, two}
    index.assume(two, [unit_object("two", node="b")])
    assert (index.keys("a"), index.keys("b")) == ({one}, {two})
    index.assume(two, [])
    assert (index.keys("b"), index.keys("")) == (set(), {two}), "the call was refused"
    index.assume(two, [unit_object("two", node="b")])
    index.see(two, unit_object("two", node="c"))
    assert (index.keys("b"), index.keys("c")) == (set(), {two}), "what is seen counts"
    index.assume(two, [])
    assert index.keys("c") == {two}
    index.see(one, None)
    assert index.keys("a") == set()


def test_a_unit_under_deletion_is_not_started_anywhere() -> None:
    obj = unit()
    obj.metadata.finalizers.append("example/close")
    obj.metadata.delete_time.FromSeconds(NOW_S)
    assert not decide(obj, node("a")).calls


def reasons(decision: Decision) -> list[str]:
    return [f"{event.reason}: {event.message}" for event in decision.events]


def test_placement_tells_of_what_it_does() -> None:
    assert reasons(decide(unit(), node("a"))) == ["Placed: placed on node a"]
    released = running(released_for="b", observed_generation=1)
    assert reasons(decide(unit("a", move="b", status=released), node("a"), node("b"))) == [
        "Moved: moved from node a to b, as asked"
    ]
    (lost,) = decide(unit("a", move_after_s=60), node("a", SILENT), node("b")).events
    assert (lost.type, lost.reason) == (CoreEvent.WARNING, "MovedFromLostNode")


def test_why_a_unit_waits_is_told_as_long_as_it_does() -> None:
    assert reasons(decide(unit(age_s=1))) == [], "it may not wait for long"
    first = decide(unit())
    (event,) = first.events
    assert (event.type, event.reason) == (CoreEvent.WARNING, "NoNode")
    again = decide(unit(status=told_of(first)))
    assert (list(again.calls), list(again.events)) == ([], [event])
    (missing,) = decide(unit("x")).events
    assert missing.reason == "NodeMissing"


class NamedOnly(FakeCache):
    """A view of which objects can be asked for by name alone."""

    def list(self, type_name: str) -> Sequence[Object]:
        raise AssertionError(f"all objects of {type_name} are looked at")


def test_a_decision_about_a_bound_unit_looks_at_no_other_node() -> None:
    view = NamedOnly()
    view.objects = {key_of(each): each for each in (node("a"), node("b"))}
    select = Placement().inputs[0].select
    bound = unit("a")
    assert [obj.metadata.name for obj in select(key_of(bound), Placement().transform(bound), view)] == ["a"]
    gone = unit("c")
    assert list(select(key_of(gone), Placement().transform(gone), view)) == []
