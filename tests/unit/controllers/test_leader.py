"""Leader election: never two leaders at once while clocks drift less than the margin, and always one in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rube.api import GetRequest, GetResponse, Lease, Object, PutRequest, PutResponse
from rube.api.errors import AbortedError
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.controllers.cluster.leader import LeaderConfig, LeaderElection, Leadership
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import SimProcess, World
from rube.sim.world.network import SimFabric
from tests.unit.controllers.cluster_fake import STORE, FakeCluster, away

LEASE = ObjectKey("api.Lease", "leader-leases", "placement")
DURATION_S = 15.0
LATENCY_S = 0.02


class Act(NamedTuple):
    """A process acted, at a true time, in the belief to lead."""

    at_ns: int
    holder: str
    term: int


class Line:
    """One candidate's connection: it can be cut, on the way there or on the way back."""

    def __init__(self, election: Election, name: str) -> None:
        self._election = election
        self._clock = election.machines[name].ports.clock
        self.cut = False
        self.lose_answers = False

    async def get(self, request: GetRequest) -> GetResponse:
        await self._clock.sleep(LATENCY_S)
        self._check(self.cut)
        return await self._election.cluster.get(request)

    async def put(self, request: PutRequest) -> PutResponse:
        await self._clock.sleep(LATENCY_S)
        self._check(self.cut)
        if request.fence.term < self._election.fence_term:
            raise AbortedError("fenced", fence=request.fence.group, term=self._election.fence_term)
        response = await self._election.cluster.put(request)
        self._election.fence_term = request.fence.term
        await self._clock.sleep(LATENCY_S)
        self._check(self.lose_answers)
        return response

    def _check(self, broken: bool) -> None:
        if broken:
            raise away()


class Election:
    """Candidates on hosts of their own, and what each does while it leads."""

    def __init__(self, world: World, drifts_ppm: dict[str, int]) -> None:
        self.world = world
        self.cluster = FakeCluster()
        self.fence_term = 0
        self.acts: list[Act] = []
        fabric = SimFabric(world)
        self.machines = {
            name: make_machine(world, fabric, world.host(name, drift_ppm=drift)) for name, drift in drifts_ppm.items()
        }
        self.lines = {name: Line(self, name) for name in self.machines}

    def start(self, name: str) -> SimProcess:
        machine = self.machines[name]

        async def work(leadership: Leadership) -> None:
            while True:
                if leadership.holds():
                    self.acts.append(Act(self.world.now_ns, name, leadership.fence.term))
                await machine.ports.clock.sleep(0.1)

        async def main() -> None:
            config = LeaderConfig(group="placement", holder=name, duration_s=DURATION_S, retry_s=2.0)
            await LeaderElection(self.lines[name], machine.ports, config).run(work)

        return machine.host.spawn("candidate", main)

    def leader(self) -> str:
        """The processes that acted during the last 200 ms."""
        recent = {act.holder for act in self.acts if act.at_ns > self.world.now_ns - 200_000_000}
        assert len(recent) <= 1, f"two leaders: {recent}"
        return next(iter(recent), "")

    def lease(self) -> Lease:
        lease = Lease()
        self.cluster.objects[LEASE].spec.Unpack(lease)
        return lease

    def check_safety(self) -> None:
        """In true time no term acts after a later one has, and a term has one holder."""
        terms = [act.term for act in self.acts]
        assert terms == sorted(terms)
        assert len({(act.term, act.holder) for act in self.acts}) == len({act.term for act in self.acts})


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=3) as made:
        yield made


def test_one_leads_and_keeps_leading(world: World) -> None:
    election = Election(world, {"a": 0, "b": 0, "c": 0})
    for name in election.machines:
        election.start(name)
    world.run_for(5)
    first = election.leader()
    assert first
    world.run_for(120)
    assert election.leader() == first
    assert {act.term for act in election.acts} == {1}


def test_after_a_crash_another_leads_with_a_higher_term_once_the_lease_lapsed(world: World) -> None:
    election = Election(world, {"a": 0, "b": 0})
    process = election.start("a")
    world.run_for(10)
    election.start("b")
    process.kill()
    world.run_for(DURATION_S - 5)
    assert election.leader() == ""
    world.run_for(12)
    assert election.leader() == "b"
    assert election.lease().term == 2
    election.check_safety()


def test_a_graceful_stop_gives_the_lease_away(world: World) -> None:
    election = Election(world, {"a": 0, "b": 0})
    process = election.start("a")
    world.run_for(10)
    election.start("b")
    world.run_for(3)
    process.stop()
    world.run_for(4)
    assert election.leader() == "b"
    election.check_safety()


def test_a_leader_that_is_cut_off_stops_before_another_begins(world: World) -> None:
    election = Election(world, {"a": 0, "b": 0})
    election.start("a")
    world.run_for(10)
    election.start("b")
    world.run_for(3)
    election.lines["a"].cut = True
    world.run_for(40)
    assert election.leader() == "b"
    last_of_a = max(act.at_ns for act in election.acts if act.holder == "a")
    first_of_b = min(act.at_ns for act in election.acts if act.holder == "b")
    assert first_of_b - last_of_a > 1_000_000_000, "the margin"
    election.lines["a"].cut = False
    world.run_for(40)
    assert election.leader() == "b"
    election.check_safety()


def test_lost_answers_do_not_end_a_term_too_early_nor_too_late(world: World) -> None:
    """A renewal that was written without an answer makes the next one ABORTED; the lease is still its own."""
    election = Election(world, {"a": 0, "b": 0})
    election.start("a")
    world.run_for(10)
    election.start("b")
    for _ in range(20):
        election.lines["a"].lose_answers = True
        world.run_for(3)
        election.lines["a"].lose_answers = False
        world.run_for(5)
        assert election.leader() == "a"
    assert {act.term for act in election.acts} == {1}


@pytest.mark.parametrize("seed", range(4))
def test_with_drifting_clocks_and_flapping_lines_no_two_lead(seed: int) -> None:
    """Clocks up to 5% off each other, which the margin of 20% covers: safety needs no fence here."""
    with World(seed=seed) as world:
        random = world.random("test")
        election = Election(world, {"a": 50_000, "b": 0, "c": -50_000})
        for name in election.machines:
            election.start(name)
        for _ in range(60):
            line = election.lines[random.choice("abc")]
            line.cut = random.random() < 0.4
            line.lose_answers = random.random() < 0.2
            if random.random() < 0.1:
                host = election.machines[random.choice("abc")].host
                host.pause()
                world.run_for(random.uniform(1, 30))
                host.resume()
            world.run_for(random.uniform(0.5, 15))
        for line in election.lines.values():
            line.cut = line.lose_answers = False
        world.run_for(60)
        assert election.leader()
        election.check_safety()
        assert len({act.term for act in election.acts}) > 2, "the lease moved"


def test_losing_the_lease_cancels_the_work_at_once(world: World) -> None:
    election = Election(world, {"a": 0})
    ended: list[int] = []

    async def work(leadership: Leadership) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(world.now_ns)

    async def main() -> None:
        config = LeaderConfig(group="placement", holder="a", duration_s=DURATION_S, retry_s=2.0)
        await LeaderElection(election.lines["a"], election.machines["a"].ports, config).run(work)

    election.machines["a"].host.spawn("candidate", main)
    world.run_for(1)
    thief = Lease(holder="thief", term=9)
    obj = Object()
    obj.CopyFrom(election.cluster.objects[LEASE])
    obj.spec.Pack(thief)
    election.cluster.add(obj)
    world.run_for(3)
    assert len(ended) == 1


def test_a_lease_that_came_with_a_backup_holds_for_nobody(world: World) -> None:
    """The store was restored: its lease is of a process that has ended, in a store that is gone."""
    election = Election(world, {"a": 0})
    lease = Lease(holder="gone", term=7, store_id="the store before")
    lease.duration.FromSeconds(15)
    election.fence_term = 7
    obj = Object(spec=pack(lease))
    obj.metadata.namespace, obj.metadata.name = LEASE.namespace, LEASE.name
    election.cluster.add(obj)
    election.start("a")
    world.run_for(1)
    assert election.acts
    assert election.acts[0].term == 8, "the fence goes on"


def test_a_lease_of_this_store_is_waited_for(world: World) -> None:
    election = Election(world, {"a": 0})
    for store_id in ("", STORE):
        lease = Lease(holder="other", term=7, store_id=store_id)
        lease.duration.FromSeconds(15)
        obj = Object(spec=pack(lease))
        obj.metadata.namespace, obj.metadata.name = LEASE.namespace, LEASE.name
        election.cluster.add(obj)
    election.start("a")
    world.run_for(10)
    assert not election.acts
