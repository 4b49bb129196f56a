"""The decisions of node health."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from rube.api import Lease, Node, NodeHealthMemory, NodeStatus, Object, State
from rube.api.types import pack
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.types import node_key, node_lease_key
from rube.controllers.contract import evaluate
from tests.unit.controllers.cluster_fake import FakeCache

Status = NodeStatus
READY, SILENT, UNKNOWN = Status.READY, Status.SILENT, Status.UNKNOWN


def node(name: str, readiness: Status.Readiness.ValueType = READY, *, unschedulable: bool = False) -> Object:
    obj = Object(spec=pack(Node(unschedulable=unschedulable)))
    obj.metadata.name, obj.metadata.uid = name, f"uid-{name}"
    obj.status.CopyFrom(pack(Status(readiness=readiness, driver="simulated")))
    return obj


# Node health. Times are seconds of the controller's clock.

LEASE_S = 40
START_S = 1_000_000


def lease(revision: int) -> Object:
    obj = Object(spec=pack(Lease(holder="me", duration=Duration(seconds=LEASE_S))))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.revision = "node-leases", "a", revision
    return obj


class Health:
    """The controller, its memory and the node, through time."""

    def __init__(self, readiness: Status.Readiness.ValueType = UNKNOWN) -> None:
        self.node = node("a", readiness)
        self.memory = pack(NodeHealthMemory())
        self.wake_s = 0.0
        self.heard_s = 0
        self.told: list[str] = []

    def look(self, at_s: int, revision: int, clock: str = "a") -> Status.Readiness.ValueType:
        """The status after a decision at that time, with the lease at that revision (0: none)."""
        state = State(key=node_key("a").to_proto(), object=self.node, memory=self.memory, clock=clock)
        state.now.FromSeconds(START_S + at_s)
        if revision:
            state.related.append(lease(revision))
        decision = evaluate(NodeHealth(), state, check_purity=True)
        self.memory = decision.memory
        self.told += [f"{event.reason}: {event.message}" for event in decision.events]
        self.wake_s = decision.wake_after.ToMilliseconds() / 1000
        status = Status()
        self.node.status.Unpack(status)
        for call in decision.calls:
            told = Status()
            assert list(call.update_status.update_mask.paths) == ["readiness", "readiness_time", "last_heard_time"]
            call.update_status.status.Unpack(told)
            status.readiness = told.readiness
            self.heard_s = told.last_heard_time.seconds - START_S
        self.node.status.CopyFrom(pack(status))
        return status.readiness


def test_a_node_with_a_lease_is_ready_and_silent_once_it_lapsed() -> None:
    health = Health()
    for at_s in (0, 12, 24, 36):
        assert health.look(at_s, 5) == READY
    assert health.wake_s == 4, "looks again exactly when it would lapse"
    assert health.look(40, 5) == SILENT
    assert health.heard_s == 0, "when it was last heard, not when that was noticed"
    assert health.look(41, 6) == READY
    assert health.heard_s == -START_S, "no longer of interest"
    assert health.told == [
        "Ready: its rubelet renews its lease",
        "Silent: its rubelet has not renewed its lease for 40 s",
        "Ready: its rubelet renews its lease",
    ]


def test_every_renewal_begins_the_count_anew() -> None:
    health = Health()
    for at_s in range(0, 400, 30):
        assert health.look(at_s, 5 + at_s) == READY


def test_a_node_without_a_lease_is_unknown_then_silent() -> None:
    health = Health()
    for at_s in (0, 15, 30):
        assert health.look(at_s, 0) == UNKNOWN
    assert health.look(40, 0) == SILENT


def test_a_controller_that_was_away_counts_anew_and_changes_nothing_meanwhile() -> None:
    health = Health()
    health.look(0, 5)
    assert health.look(3600, 5) == READY, "an hour without a look is not the node's silence"
    assert health.look(3620, 5) == READY
    assert health.look(3639, 5) == READY
    assert health.look(3640, 5) == SILENT
    assert health.look(9000, 5) == SILENT, "and a silent node isn't called ready for it"


def test_what_was_renewed_while_the_controller_was_paused_may_be_on_its_way() -> None:
    health = Health()
    for at_s in (0, 10, 20):
        assert health.look(at_s, 5) == READY
    assert health.look(45, 5) == READY, "it looked away for more than two checks"
    assert health.look(46, 6) == READY


def test_times_of_another_leaders_clock_are_not_compared_with_this_ones() -> None:
    health = Health()
    for at_s in (0, 10, 20, 30):
        assert health.look(at_s, 5, clock="a") == READY
    assert health.look(45, 5, clock="b") == READY, "it leads since 31 s, and its clock is 14 s ahead"
    assert health.look(65, 5, clock="b") == READY
    assert health.look(85, 5, clock="b") == SILENT


def test_a_new_leader_does_not_wake_a_silent_node() -> None:
    health = Health(SILENT)
    assert health.look(0, 5) == SILENT
    assert health.look(10, 6) == READY


def test_a_clock_that_was_set_back_counts_anew() -> None:
    health = Health()
    health.look(0, 5)
    assert health.look(-5000, 5) == READY
    assert health.look(-4980, 5) == READY
    assert health.look(-4960, 5) == SILENT


def test_a_lease_asks_for_its_node() -> None:
    cache = FakeCache()
    (wanted,) = NodeHealth().inputs
    assert list(wanted.requeue(lease(5), cache)) == [node_key("a")]
    cache.become({node_lease_key("a"): lease(5)}, 5)
    assert list(wanted.select(node_key("a"), node("a"), cache)) == [lease(5)]
    assert list(wanted.select(node_key("b"), None, cache)) == []


def test_a_lease_that_came_back_with_a_backup_is_no_renewal() -> None:
    """The node may be gone since: its silence is counted anew, and its readiness stays until then."""
    health = Health()
    for at_s in (0, 10, 20, 30):
        health.look(at_s, 50)
    assert health.look(40, 50) == SILENT
    assert health.look(45, 20) == SILENT, "nothing was heard of it"
    assert health.look(50, 21) == READY
    assert health.look(55, 10) == READY, "it has its time to be heard again"
    for at_s in (65, 75, 85):
        assert health.look(at_s, 10) == READY
    assert health.look(95, 10) == SILENT
