"""The checks of elections, bindings, readiness, starts, actions and copies: what they hold for right, and what not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from google.protobuf.message import Message

from rube.api import (
    Decision,
    Fence,
    Key,
    Lease,
    Metadata,
    Node,
    NodeStatus,
    Object,
    PutRequest,
    State,
    Unit,
    UnitStatus,
    UpdateStatusRequest,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.api.well_known import UNIT_TYPE
from rube.controllers.config import Decided
from rube.sim import judges
from rube.sim.cluster.memories import Memories
from rube.sim.judges import (
    Action,
    Attempt,
    Commit,
    Copy,
    DaemonError,
    Disturbance,
    History,
    LogEntry,
    Outcome,
    Transition,
)

S = 1_000_000_000
READY, SILENT = NodeStatus.READY, NodeStatus.SILENT


@dataclass
class Plane:
    """A history in the making: each write is acknowledged at its revision in seconds."""

    history: History = field(default_factory=lambda: History(store_id="s", end_ns=1000 * S))

    def write(self, revision: int, obj: Object, *, client: str = "api-1", user: bool = False, **more: object) -> None:
        obj.metadata.revision = revision
        obj.metadata.uid = obj.metadata.uid or obj.metadata.name
        content = self.history.contents.of(obj)
        self.history.log.append(LogEntry(revision, content.key, content))
        self.history.commits.append(Commit(revision * S, revision))
        request = PutRequest(objects=[obj], **more)  # type: ignore[arg-type]
        self.history.attempts.append(
            Attempt(
                client=client,
                kind="put",
                request=request,
                start_ns=revision * S,
                user=user,
                end_ns=revision * S,
                outcome=Outcome.OK,
                revision=revision,
            )
        )

    def lease(self, revision: int, holder: str, term: int, name: str = "g", namespace: str = "leader-leases") -> None:
        lease = Lease(holder=holder, term=term)
        lease.duration.FromSeconds(10)
        self.write(revision, thing(name, lease, namespace=namespace))

    def node(self, revision: int, readiness: NodeStatus.Readiness.ValueType, name: str = "w") -> None:
        obj = thing(name, Node())
        obj.status.CopyFrom(pack(NodeStatus(readiness=readiness)))
        self.write(revision, obj)

    def unit(self, revision: int, node: str, text: str = "", *, user: bool = False, asked: str = "") -> None:
        obj = thing("web", Unit(description=text), namespace="default")
        if node:
            obj.metadata.labels["node"] = node
        if asked:
            obj.metadata.annotations["rube/move-to"] = asked
        self.write(revision, obj, user=user)

    def start(self, at_s: int, node: str = "w") -> None:
        for running in (True, False):
            self.history.transitions.append(
                Transition(at_ns=at_s * S, node=node, unit="default/web", uid="web", running=running)
            )


def thing(name: str, spec: Message, namespace: str = "") -> Object:
    return Object(metadata=Metadata(name=name, namespace=namespace), spec=pack(spec))


@pytest.mark.parametrize(
    ("leases", "says"),
    [
        ([(1, "a", 1), (5, "a", 1), (15, "b", 2)], ""),
        ([(1, "a", 1), (5, "", 1), (6, "b", 2)], ""),
        ([(1, "a", 1), (5, "a", 1), (12, "b", 2)], "from a to b 7.000 s after it was renewed, for 10 s"),
        ([(1, "a", 1), (12, "b", 1)], "without a new term: 1"),
        ([(1, "a", 3), (12, "b", 2)], "is of term 2, after 3"),
    ],
)
def test_a_lease_is_taken_once_it_has_lapsed_and_with_a_new_term(leases: list[tuple[int, str, int]], says: str) -> None:
    plane = Plane()
    for lease in leases:
        plane.lease(*lease)
    verdict = judges.leases(plane.history)
    assert verdict.passed is not bool(says)
    assert says in "".join(verdict.offending)


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ([(1, "a", 1), (2, "b", 2), (3, "b", 2)], ""),
        (
            [(1, "a", 1), (2, "b", 2), (3, "a", 1)],
            "was taken at revision 3, of term 1 of g, after term 2 had written at 2",
        ),
        ([(1, "a", 1), (2, "b", 1)], "is of term 1 of g, which a began"),
    ],
)
def test_calls_are_taken_in_the_order_of_their_terms(calls: list[tuple[int, str, int]], says: str) -> None:
    plane = Plane()
    for revision, client, term in calls:
        obj = thing(f"u-{revision}", Unit(), namespace="default")
        plane.write(revision, obj, client=client, fence=Fence(group="g", term=term))
    verdict = judges.fencing(plane.history)
    assert verdict.passed is not bool(says)
    assert says in "".join(verdict.offending)


def test_what_is_led_writes_nothing_but_leases_without_its_term() -> None:
    plane = Plane(History(store_id="s", end_ns=1000 * S, nodes={"worker-1"}))
    plane.lease(1, "a", 1)
    plane.write(2, thing("web", Unit(), namespace="default"), user=True)
    plane.write(3, thing("worker-1", Node()), client="worker-1")
    assert judges.fencing(plane.history).passed
    plane.unit(4, "w")
    (line,) = judges.fencing(plane.history).offending
    assert line == "4.000s api-1's put of api.systemd.Unit/default/web carries no term of a leader"


def test_who_binds_a_unit_changes_nothing_else() -> None:
    plane = Plane()
    plane.node(1, READY)
    plane.unit(2, "", "first", user=True)
    plane.unit(3, "", "second", user=True)
    plane.unit(4, "w", "first")
    (line,) = judges.bindings(plane.history).offending
    assert line == "api.systemd.Unit/default/web was bound to w at revision 4, and its spec of before was undone"


def test_a_bound_unit_moves_when_somebody_asks_and_not_otherwise() -> None:
    plane = Plane()
    for revision, name in enumerate(("w", "x", "y"), start=1):
        plane.node(revision, READY, name)
    plane.unit(5, "w")
    plane.unit(6, "x", user=True)
    plane.unit(7, "x", asked="y", user=True)
    plane.unit(8, "y")
    assert judges.bindings(plane.history).passed
    plane.history._timeline = None
    plane.unit(9, "w")
    (line,) = judges.bindings(plane.history).offending
    assert line == "api.systemd.Unit/default/web went from y to w at revision 9, without a request"


def test_a_controller_may_create_a_unit_on_a_node_of_its_choice() -> None:
    plane = Plane()
    plane.node(1, SILENT)
    plane.unit(130, "w")
    assert judges.bindings(plane.history).passed


@pytest.mark.parametrize(("bound_at", "passed"), [(50, True), (130, False)])
def test_a_unit_is_bound_to_a_node_that_was_ready_not_long_ago(bound_at: int, passed: bool) -> None:
    plane = Plane()
    plane.node(1, READY)
    plane.node(40, SILENT)
    plane.unit(45, "", user=True)
    plane.unit(bound_at, "w")
    assert judges.bindings(plane.history).passed is passed


@pytest.mark.parametrize(("silent_at", "passed"), [(21, True), (15, False)])
def test_a_node_is_called_silent_once_its_lease_has_lapsed(silent_at: int, passed: bool) -> None:
    plane = Plane()
    plane.lease(1, "w-1", 1, "w", "node-leases")
    plane.node(2, READY)
    plane.lease(10, "w-1", 1, "w", "node-leases")
    plane.node(silent_at, SILENT)
    assert judges.readiness(plane.history).passed is passed


@pytest.mark.parametrize(("renewed_at", "passed"), [(40, True), (25, False)])
def test_a_silent_node_is_called_ready_once_it_has_renewed_its_lease(renewed_at: int, passed: bool) -> None:
    plane = Plane()
    plane.lease(1, "w-1", 1, "w", "node-leases")
    plane.node(2, READY)
    if not passed:
        plane.lease(renewed_at, "w-1", 1, "w", "node-leases")
    plane.node(36, SILENT)
    if passed:
        plane.lease(renewed_at, "w-1", 1, "w", "node-leases")
    plane.node(41, READY)
    plane.history.end_ns = 45 * S
    assert judges.readiness(plane.history).passed is passed


def test_who_renews_no_more_is_not_ready_in_the_end_and_who_renews_is() -> None:
    plane = Plane()
    plane.lease(1, "w-1", 1, "w", "node-leases")
    plane.node(2, READY)
    assert "is called ready in the end" in judges.readiness(plane.history).offending[0]
    plane = Plane()
    plane.lease(1, "w-1", 1, "w", "node-leases")
    plane.node(2, SILENT)
    for revision in range(3, 1000, 5):
        plane.lease(revision, "w-1", 1, "w", "node-leases")
    assert any("is not called ready in the end" in line for line in judges.readiness(plane.history).offending)


def test_each_start_has_a_reason() -> None:
    plane = Plane()
    plane.unit(1, "w")
    plane.start(2)
    plane.unit(3, "w", "changed")
    plane.start(4)
    plane.history.disturbances.append(Disturbance(at_ns=5 * S, node="w", unit="default/web", kind="crashed"))
    plane.start(6)
    plane.history.machines.outages.append((7 * S, "w"))
    plane.start(8)
    assert judges.starts(plane.history).passed
    plane.start(9)
    (line,) = judges.starts(plane.history).offending
    assert line == "default/web was started 5 times on w, for which there were 4 reasons"


def test_an_id_stands_for_one_action() -> None:
    history = History()
    history.machines.actions += [Action(1, "w", "1", "web", "ensure a"), Action(2, "w", "1", "web", "ensure a")]
    assert judges.actions(history).passed
    history.machines.actions.append(Action(3, "w", "1", "web", "ensure b"))
    assert not judges.actions(history).passed
    history.machines.actions[:] = [Action(1, "w", "1", "web", "ensure a", decided=False)]
    assert "which its disk knew nothing of" in judges.actions(history).offending[0]


def test_a_copy_is_what_the_store_had_at_its_revision() -> None:
    plane = Plane()
    plane.unit(1, "w", "old")
    plane.unit(5, "w", "new")
    old, new = (entry.content for entry in plane.history.log)
    assert old is not None
    assert new is not None
    key = str(key_of(old.obj))
    for revision, content, passed in ((1, old, True), (4, old, True), (5, new, True), (5, old, False), (4, new, False)):
        plane.history.machines.copies[:] = [Copy(S, "w", "s", revision, {key: content})]
        assert judges.copies(plane.history).passed is passed, revision
    plane.history.machines.copies[:] = [Copy(S, "w", "s", 5, {})]
    assert "lacks api.systemd.Unit/default/web" in judges.copies(plane.history).offending[0]
    plane.history.machines.copies[:] = [Copy(S, "w", "another", 5, {})]
    assert judges.copies(plane.history).passed, "of a store that was replaced nothing is known"


@pytest.mark.parametrize(
    ("installed", "message", "passed"),
    [
        ({("w", "web", 3): 1 * S}, "", True),
        ({("w", "web", 3): 9 * S}, "", False),
        ({("w", "web", 2): 1 * S}, "", False),
        ({("w", "old", 3): 1 * S}, "", False),
        ({("x", "web", 3): 1 * S}, "", False),
        ({}, "generation 3 is not applied: no exec.start", True),
    ],
)
def test_a_node_reports_generations_that_it_has(
    installed: dict[tuple[str, str, int], int], message: str, passed: bool
) -> None:
    status = pack(UnitStatus(message=message))
    request = UpdateStatusRequest(key=Key(type=UNIT_TYPE, name="web"), uid="web", status=status, observed_generation=3)
    told = Attempt(client="w", kind="update_status", request=request, start_ns=5 * S)
    history = History(attempts=[told], nodes={"w"})
    history.machines.installed.update(installed)
    assert judges.generations(history).passed is passed


def test_what_was_inherited_and_what_was_forgotten_are_told() -> None:
    history = History()
    assert judges.owners(history).passed
    assert judges.memories(history).passed
    history.machines.inherited.append(DaemonError(S, "w", "default/web goes on as b"))
    history.machines.forgotten.append(DaemonError(S, "w", "unit decided"))
    assert judges.owners(history).offending == ("1.000s w: default/web goes on as b",)
    assert judges.memories(history).offending == ("1.000s w: unit decided",)


@pytest.mark.parametrize(
    ("seen", "lost"), [([b"", b"a", b"b"], 0), ([b"", b"", b"b"], 0), ([b"x", b""], 1), ([b"x", b"a", b""], 1)]
)
def test_a_memory_that_was_kept_or_the_one_before_it_is_seen_next(seen: list[bytes], lost: int) -> None:
    """Decisions that ask to keep a, b and c; the first is the first of its process, and may see anything."""
    complaints: list[str] = []
    memories = Memories(complaints.append)
    for value, kept in zip(seen, (b"a", b"b", b"c"), strict=False):
        decided = Decided(
            controller="unit", key=ObjectKey(UNIT_TYPE, "default", "web"), state=State(), decision=Decision()
        )
        decided.state.memory.value, decided.decision.memory.value = value, kept
        memories.decided(decided)
    assert len(complaints) == lost


def test_a_renewal_whose_client_never_learned_of_it_is_one() -> None:
    plane = Plane()
    plane.lease(1, "w-1", 1, "w", "node-leases")
    plane.node(2, READY)
    plane.node(36, SILENT)
    plane.lease(40, "w-1", 1, "w", "node-leases")
    plane.history.commits.pop()
    plane.node(41, READY)
    assert not any("has renewed nothing" in line for line in judges.readiness(plane.history).offending)
