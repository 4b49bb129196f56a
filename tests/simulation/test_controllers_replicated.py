"""Three replicas of the controllers: whatever happens to the leader, and whenever, each unit is placed once.

What shows it: the store's revision counts all writes, and there are no others; and `Tickets`, a controller whose
memory alone knows what it has asked for, never asks for two things.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import pytest

from rube.api import Decision, Fence, Lease, NodeHealthMemory, Object, State
from rube.api.errors import AbortedError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.types import pack
from rube.api.well_known import LEASE_TYPE, UNIT_TYPE
from rube.controllers.contract import Input, View
from rube.server import preconditions
from rube.sim.world.kernel import World
from tests.doc_blocks import ROOT
from tests.simulation.controllers_world import ELECTION_S, NAMES, TICK_S, ControllersWorld

TICKETS = "tickets"
CONTROLLERS_PAGE = ROOT / "docs" / "howto" / "controllers.md"
FAILOVER_S = 4 * ELECTION_S
"""An election takes one to two timeouts, and as long again where the votes were split."""
QUIET_S = 0.011
"""A unit is placed within this time of its put where nothing happens."""
WRITES = 3
"""The put of a unit, its placement, its ticket."""


class Tickets:
    """Keyed by units: puts one lease for each, named by when it first saw the unit, which is in its memory alone."""

    name = "tickets"
    type = UNIT_TYPE
    selector = ""

    @property
    def inputs(self) -> Sequence[Input]:
        return (Input(type=LEASE_TYPE, namespace=TICKETS, requeue=_unit_of, select=_ticket_of),)

    def decide(self, state: State) -> Decision:
        decision = Decision()
        memory = NodeHealthMemory(change_time=state.now)
        if state.HasField("object"):
            state.memory.Unpack(memory)
            decision.memory.Pack(memory, TYPE_URL_PREFIX, deterministic=True)
        if state.HasField("object") and not state.related:
            put = decision.calls.add().put
            ticket = put.objects.add(spec=pack(Lease(holder=state.key.name)))
            ticket.metadata.namespace = TICKETS
            ticket.metadata.name = f"{state.key.name}-{memory.change_time.ToNanoseconds()}"
            put.preconditions.add(
                key=ObjectKey(LEASE_TYPE, TICKETS, ticket.metadata.name).to_proto(),
                absent=True,
            )
        return decision


def _unit_of(ticket: Object, view: View) -> Iterator[ObjectKey]:
    yield ObjectKey(UNIT_TYPE, "default", ticket.metadata.name.rpartition("-")[0])


def _ticket_of(key: ObjectKey, unit: Object | None, view: View) -> Iterator[Object]:
    return (one for one in view.list(LEASE_TYPE) if one.metadata.name.rpartition("-")[0] == key.name)


def tickets_sent(cluster: ControllersWorld) -> dict[str, set[str]]:
    """The names of the tickets that were asked for, whoever did and however often, by unit."""
    sent: dict[str, set[str]] = {}
    for request in cluster.sent:
        for obj in request.objects:
            if obj.metadata.namespace == TICKETS:
                sent.setdefault(obj.metadata.name.rpartition("-")[0], set()).add(obj.metadata.name)
    return sent


def check(cluster: ControllersWorld, units: int, before: int, writes: int = WRITES) -> None:
    """Every unit is placed, and nothing was written more often than that takes."""
    placed, revision = cluster.units()
    assert len(placed) == units
    assert all(placed.values())
    assert revision - before == writes * units
    if writes == WRITES:
        sent = tickets_sent(cluster)
        assert len(sent) == units
        assert all(len(names) == 1 for names in sent.values()), sent


def run_for_instants(world: World, instants: int) -> bool:
    """Lets so many things happen, one after the other; False: QUIET_S were over before."""
    end_ns = world.now_ns + round(QUIET_S * 1e9)
    left = instants + 1

    def over() -> bool:
        nonlocal left
        left -= 1
        return left <= 0 or world.now_ns >= end_ns

    world.run_until(over, timeout_s=1)
    return world.now_ns < end_ns


@pytest.mark.parametrize("volatile", [True, False], ids=["memory", "disk"])
def test_the_leader_is_killed_at_every_instant_of_a_placement(volatile: bool) -> None:
    with World(seed=1) as world:
        cluster = ControllersWorld(world, [Tickets()], volatile=volatile)
        cluster.start_all()
        _, before = cluster.units()
        waited_s: list[float] = []
        instants = 0
        is_quiet = False
        while not is_quiet:
            name = f"unit-{instants}"
            leader = cluster.leader
            assert leader is not None
            cluster.start_putting(name)
            is_quiet = not run_for_instants(world, instants)
            cluster.kill(leader)
            waited_s.append(cluster.until_placed(name))
            cluster.start(leader)
            cluster.settle()
            instants += 1
        check(cluster, instants, before)
        assert instants > 50
        failovers_s = [waited for waited in waited_s if waited > TICK_S]
        assert len(failovers_s) > 10
        assert median(failovers_s) < 2 * ELECTION_S
        assert not volatile or f"the median is {median(failovers_s):.1f} s" in CONTROLLERS_PAGE.read_text()
        assert max(failovers_s) < FAILOVER_S


def test_two_or_all_are_killed_at_once() -> None:
    """Their memory goes, too; one that is left over ends its group, and all form another one, whose terms go on."""
    with World(seed=2) as world:
        cluster = ControllersWorld(world)
        cluster.start_all()
        _, before = cluster.units()
        for names in ("abc", "ab", "bc", "ca"):
            for name in names:
                cluster.kill(name)
            cluster.put_unit(names)
            world.run_for(5)
            for name in names:
                cluster.start(name)
            assert cluster.until_placed(names) < 4
            cluster.settle()
        check(cluster, 4, before, writes=2)


def test_terms_go_on_where_the_apiserver_has_seen_them() -> None:
    with World(seed=7) as world:
        cluster = ControllersWorld(world)
        cluster.put_fenced("old", "replicated/placement", 1_000_000)
        cluster.start_all()
        assert cluster.until_placed("old") < 1
        cluster.put_unit("new")
        assert cluster.until_placed("new") < 1


FAULTS = ["kill"] * 2 + ["start"] * 2 + ["stop", "go on", "cut off from peers", "cut off from apiserver", "heal", "put"]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_unit_is_placed_once(seed: int) -> None:
    draw = random.Random(seed)
    with World(seed) as world:
        cluster = ControllersWorld(world)
        cluster.start_all()
        _, before = cluster.units()
        units = 0
        for _ in range(40):
            fault, name = draw.choice(FAULTS), draw.choice(NAMES)
            if fault == "put":
                cluster.start_putting(f"unit-{units}")
                units += 1
            else:
                cluster.afflict(fault, name)
            world.run_for(draw.choice([0.001, 0.003, 0.3, 1.0, 3.0]))
        cluster.mend()
        cluster.settle()
        world.run_for(10)
        check(cluster, units, before, writes=2)


def test_a_leader_cut_off_from_its_peers_decides_nothing() -> None:
    """It still reaches the apiserver, which needs no fence to stop it: what no quorum has never goes out."""
    with World(seed=3) as world:
        cluster = ControllersWorld(world, [Tickets()])
        cluster.start_all()
        _, before = cluster.units()
        old = cluster.leader
        assert old is not None
        cluster.fabric.partition([old], [name for name in NAMES if name != old])
        cluster.put_unit("web")
        assert cluster.until_placed("web") < FAILOVER_S
        assert cluster.leader != old
        world.run_for(5)
        check(cluster, 1, before)
        cluster.fabric.heal_all()
        cluster.settle()
        cluster.put_unit("db")
        assert cluster.until_placed("db") < 0.1
        world.run_for(1)
        check(cluster, 2, before)


def test_a_leader_cut_off_from_the_apiserver_lets_another_one_lead() -> None:
    with World(seed=4) as world:
        cluster = ControllersWorld(world, [Tickets()])
        cluster.start_all()
        _, before = cluster.units()
        old = cluster.leader
        assert old is not None
        cluster.fabric.partition([old], ["api-1"])
        cluster.put_unit("web")
        cluster.until_placed("web", 60)
        assert cluster.leader != old
        cluster.fabric.heal_all()
        world.run_for(5)
        check(cluster, 1, before)


def test_a_leader_stopped_at_any_instant_goes_on_as_a_follower() -> None:
    with World(seed=5) as world:
        cluster = ControllersWorld(world, [Tickets()])
        cluster.start_all()
        _, before = cluster.units()
        every = range(0, 36, 2)
        for instants in every:
            old = cluster.leader
            assert old is not None
            cluster.start_putting(f"unit-{instants}")
            run_for_instants(world, instants)
            cluster.machine(old).host.pause()
            cluster.until_placed(f"unit-{instants}")
            cluster.put_unit(f"after-{instants}")
            cluster.until_placed(f"after-{instants}")
            assert cluster.leader != old
            cluster.machine(old).host.resume()
            cluster.settle()
        world.run_for(5)
        check(cluster, 2 * len(every), before)


def test_what_an_old_leader_sent_and_comes_late_is_refused_by_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def check_fence(fence: Fence, record: Any) -> Any:
        try:
            return preconditions.check_fence(fence, record)
        except AbortedError as error:
            refused.append(error.metadata["fence"])
            raise

    monkeypatch.setattr("rube.server.writes.check_fence", check_fence)
    with World(seed=6) as world:
        cluster = ControllersWorld(world, [Tickets()])
        cluster.start_all()
        _, before = cluster.units()
        old = cluster.leader
        assert old is not None
        cluster.fabric.set_link(old, "api-1", latency_ms=6000, one_way=True)
        cluster.start_putting("web")
        world.run_for(QUIET_S)
        assert tickets_sent(cluster).keys() == {"web"}  # and it is on its way for six seconds
        cluster.machine(old).host.pause()
        cluster.until_placed("web")
        assert cluster.leader != old
        world.run_for(8)
        cluster.machine(old).host.resume()
        world.run_for(5)
        check(cluster, 1, before)
        # The ticket was put by the new leader as the old one had left it, under the old fence: that one exists already.
        assert refused == ["replicated/placement"]
