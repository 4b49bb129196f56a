"""The ledger in a simulated world: partitions and power losses that a seed draws. `python -m pytest test_ledger.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
from judge import Append, History, Read, judge
from ledger import Clerk, config_of, keep

from rube.api.errors import UnavailableError
from rube.host import Host
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork

ADDRESSES = {name: f"{name}:7000" for name in "abc"}


Reader = Callable[[Clerk], Awaitable[list[str]]]


async def hasty(clerk: Clerk) -> list[str]:
    """Reads a copy without asking whether it is the newest: the mistake that the barrier is there for."""
    return clerk.copy()


class Machine:
    """A host with a disk, on which one member keeps the ledger and one clerk uses it."""

    def __init__(self, world: World, fabric: SimFabric, name: str, history: History, read: Reader) -> None:
        self.host = world.host(name, drift_ppm=100)
        self.clerk: Clerk | None = None
        self.appends = True
        self._world, self._history, self._read = world, history, read
        self._numbers = count(1)
        self._ports = Host(
            name=name,
            clock=self.host.clock,
            network=SimNetwork(fabric, self.host),
            storage=SimStorage(SimDisk(self.host)),
            random=self.host.random,
        )

    def start(self) -> None:
        config = config_of(self.host.name, ADDRESSES)
        self.host.spawn("ledger", lambda: keep(self._ports, config, self._work, "sqlite:///ledger.db"))

    async def _work(self, clerk: Clerk) -> None:
        self.clerk = clerk
        while True:
            try:
                if self.appends:
                    await self._append(clerk)
                asked_ns = self._world.now_ns
                self._history.reads.append(Read(asked_ns, await self._read(clerk)))
            except UnavailableError:
                pass  # not acknowledged: the line may be appended, or not
            await asyncio.sleep(0.1)

    async def _append(self, clerk: Clerk) -> None:
        line = f"{self.host.name}-{next(self._numbers)}"
        position = await clerk.append(line)
        self._history.appends.append(Append(self._world.now_ns, line, position))

    def lose_power(self, seconds: float) -> None:
        self.host.power_off()
        self._world.run_for(seconds)
        self.host.power_on()
        self.start()


def break_it(world: World, fabric: SimFabric, machines: list[Machine]) -> None:
    """Cuts one member off at a time, in one direction or both, and takes the power of another."""
    moments = world.random("test/faults")
    for _ in range(3):
        world.run_for(moments.uniform(0.2, 1))
        one, other = moments.sample(machines, 2)
        rest = [machine.host.name for machine in machines if machine is not one]
        fabric.partition([one.host.name], rest, one_way=moments.random() < 0.3)
        world.run_for(moments.uniform(0.5, 3))
        fabric.heal_all()
        world.run_for(moments.uniform(0, 1))
        other.lose_power(moments.uniform(0.1, 1))


def run(seed: int, read: Reader = Clerk.read) -> tuple[History, str]:
    """The history of a run, and the hash of all that happened."""
    with World(seed, tie_break=True) as world:
        fabric, history = SimFabric(world), History()
        machines = [Machine(world, fabric, name, history, read) for name in ADDRESSES]
        for machine in machines:
            machine.start()
        world.run_until(lambda: all(machine.clerk for machine in machines))
        world.run_for(2)  # all of them vote
        break_it(world, fabric, machines)
        world.run_for(5)
        for machine in machines:
            machine.appends = False
        world.run_for(5)
        for machine in machines:
            assert machine.clerk is not None
            history.copies[machine.host.name] = machine.clerk.copy()
        return history, world.trace.digest()


@pytest.mark.parametrize("seed", range(3))
def test_it_stays_one_ledger(seed: int) -> None:
    history, _ = run(seed)
    assert len(history.appends) > 100
    assert judge(history) == []


def test_equal_seeds_give_equal_runs() -> None:
    assert run(7)[1] == run(7)[1]


def test_a_read_without_the_barrier_is_found() -> None:
    found = next(found for seed in range(3) if (found := judge(run(seed, hasty)[0])))
    assert all("acknowledged before it was asked" in said for said in found)


WHOLE = ["a-1", "b-1", "c-1"]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (History(copies={"a": WHOLE, "b": WHOLE[:2]}), "the copies of a and b differ"),
        (History(copies={"a": ["a-1", "a-1"]}), "a line stands twice in the copy of a"),
        (History([Append(1, "b-2", 4)], copies={"a": WHOLE}), "b-2 was acknowledged at position 4"),
        (History(reads=[Read(0, ["b-1"])], copies={"a": WHOLE}), "a read at 0 ns showed other lines"),
        (History([Append(1, "b-1", 2)], [Read(2, ["a-1"])], {"a": WHOLE}), "a read at 2 ns showed 1 lines; 2 had"),
    ],
)
def test_the_judge_finds_each_violation(history: History, said: str) -> None:
    assert [found.startswith(said) for found in judge(history)] == [True]
