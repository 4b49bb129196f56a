"""The decisions of placement and node health."""

from __future__ import annotations

import pytest
from cluster_fake import FakeCache, unit_object

from rube import api_pb2
from rube.api import cluster_pb2, controller_pb2, memory_pb2, registry
from rube.api.keys import key_of
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.placement import Placement, choose
from rube.controllers.cluster.types import node_key, node_lease_key
from rube.controllers.contract import evaluate

Status = cluster_pb2.NodeStatus
READY, SILENT, UNKNOWN = Status.READY, Status.SILENT, Status.UNKNOWN


def node(name: str, readiness: Status.Readiness.ValueType = READY, *, unschedulable: bool = False) -> api_pb2.Object:
    obj = api_pb2.Object(spec=registry.pack(cluster_pb2.Node(unschedulable=unschedulable)))
    obj.metadata.name, obj.metadata.uid = name, f"uid-{name}"
    obj.status.CopyFrom(registry.pack(Status(readiness=readiness, driver="simulated")))
    return obj


def place(unit: api_pb2.Object | None, *nodes: api_pb2.Object) -> controller_pb2.Decision:
    key = key_of(unit_object("web"))
    state = controller_pb2.State(key=key.to_proto(), object=unit, related=nodes)
    return evaluate(Placement(), state, check_purity=True)


def unbound() -> api_pb2.Object:
    unit = unit_object("web", node="")
    unit.metadata.uid, unit.metadata.revision = "uid-7", 12
    unit.status.CopyFrom(registry.pack(Status()))
    return unit


def test_an_unbound_unit_goes_to_a_ready_node_under_a_precondition() -> None:
    (call,) = place(unbound(), node("a", SILENT), node("b"), node("c", unschedulable=True)).calls
    (obj,) = call.put.objects
    assert obj.metadata.labels["node"] == "b"
    assert obj.spec == unbound().spec
    (precondition,) = call.put.preconditions
    assert (precondition.revision, precondition.uid) == (12, "uid-7")


@pytest.mark.parametrize("nodes", [[], [node("a", SILENT)], [node("a", UNKNOWN)], [node("a", unschedulable=True)]])
def test_without_a_ready_node_it_waits(nodes: list[api_pb2.Object]) -> None:
    assert place(unbound(), *nodes) == controller_pb2.Decision()


def test_a_bound_unit_is_never_moved_not_even_from_a_node_that_is_not_there() -> None:
    assert place(unit_object("web", node="nowhere"), node("a")) == controller_pb2.Decision()


def test_a_deleted_unit_needs_no_node() -> None:
    assert place(None, node("a")) == controller_pb2.Decision()


def test_an_empty_label_is_no_node() -> None:
    unit = unbound()
    unit.metadata.labels["node"] = ""
    assert place(unit, node("a")).calls[0].put.objects[0].metadata.labels["node"] == "a"


def test_units_spread_and_only_those_of_a_lost_node_would_choose_anew() -> None:
    nodes = ["a", "b", "c"]
    uids = [f"uid-{number}" for number in range(300)]
    chosen = {uid: choose(uid, nodes) for uid in uids}
    assert all(70 <= list(chosen.values()).count(name) <= 130 for name in nodes)
    assert all(choose(uid, ["a", "b"]) == name for uid, name in chosen.items() if name != "c")
    assert choose("uid", []) is None


def test_a_node_that_becomes_ready_asks_for_the_unbound_units() -> None:
    cache = FakeCache()
    units = [unit_object("bound", node="a"), unit_object("free", node="")]
    cache.become({key_of(unit): unit for unit in units}, 1)
    (wanted,) = Placement().inputs
    assert list(wanted.requeue(node("a"), cache)) == [key_of(units[1])]
    assert list(wanted.requeue(node("a", SILENT), cache)) == []


# Node health. Times are seconds of the controller's clock.

LEASE_S = 40


def lease(revision: int) -> api_pb2.Object:
    obj = api_pb2.Object(spec=registry.pack(cluster_pb2.Lease(holder="me", duration={"seconds": LEASE_S})))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.revision = "node-leases", "a", revision
    return obj


class Health:
    """The controller, its memory and the node, through time."""

    def __init__(self, readiness: Status.Readiness.ValueType = UNKNOWN) -> None:
        self.node = node("a", readiness)
        self.memory = registry.pack(memory_pb2.NodeHealthMemory())
        self.wake_s = 0.0

    def look(self, at_s: int, revision: int) -> Status.Readiness.ValueType:
        """What the status says after a decision at that time, with the lease at that revision (0: none)."""
        state = controller_pb2.State(key=node_key("a").to_proto(), object=self.node, memory=self.memory)
        state.now.FromSeconds(1_000_000 + at_s)
        if revision:
            state.related.append(lease(revision))
        decision = evaluate(NodeHealth(), state, check_purity=True)
        self.memory = decision.memory
        self.wake_s = decision.wake_after.ToMilliseconds() / 1000
        status = Status()
        self.node.status.Unpack(status)
        for call in decision.calls:
            told = Status()
            assert list(call.update_status.update_mask.paths) == ["readiness", "readiness_time"]
            call.update_status.status.Unpack(told)
            status.readiness = told.readiness
        self.node.status.CopyFrom(registry.pack(status))
        return status.readiness


def test_a_node_with_a_lease_is_ready_and_silent_once_it_lapsed() -> None:
    health = Health()
    assert health.look(0, 5) == READY
    assert health.look(30, 5) == READY
    assert health.wake_s == 10, "looks again exactly when it would lapse"
    assert health.look(40, 5) == SILENT
    assert health.look(41, 6) == READY


def test_every_renewal_begins_the_count_anew() -> None:
    health = Health()
    for at_s in range(0, 400, 30):
        assert health.look(at_s, 5 + at_s) == READY


def test_a_node_without_a_lease_is_unknown_then_silent() -> None:
    health = Health()
    assert health.look(0, 0) == UNKNOWN
    assert health.look(30, 0) == UNKNOWN
    assert health.look(40, 0) == SILENT


def test_a_controller_that_was_away_counts_anew_and_changes_nothing_meanwhile() -> None:
    health = Health()
    health.look(0, 5)
    assert health.look(3600, 5) == READY, "nobody looked for an hour: that is not the node's silence"
    assert health.look(3630, 5) == READY
    assert health.look(3640, 5) == SILENT
    assert health.look(9000, 5) == SILENT, "and a silent node isn't called ready for it"


def test_a_new_leader_does_not_wake_a_silent_node() -> None:
    health = Health(SILENT)
    assert health.look(0, 5) == SILENT
    assert health.look(10, 6) == READY


def test_a_clock_that_was_set_back_counts_anew() -> None:
    health = Health()
    health.look(0, 5)
    assert health.look(-5000, 5) == READY
    assert health.look(-4960, 5) == SILENT


def test_a_lease_asks_for_its_node() -> None:
    cache = FakeCache()
    (wanted,) = NodeHealth().inputs
    assert list(wanted.requeue(lease(5), cache)) == [node_key("a")]
    cache.become({node_lease_key("a"): lease(5)}, 5)
    assert list(wanted.select(node_key("a"), node("a"), cache)) == [lease(5)]
    assert list(wanted.select(node_key("b"), None, cache)) == []
