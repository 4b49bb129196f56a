"""A machine and its daemon: start, kill, stop, boot."""

from __future__ import annotations

import asyncio

from rube.sim.cluster.machines import Daemon, Machine, make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric

STOP_S = 3


def _machine(world: World, starts: list[int]) -> Machine:
    machine = make_machine(world, SimFabric(world), world.host("api-1"))

    async def main() -> None:
        starts.append(world.now_ns // 10**9)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(STOP_S)

    machine.daemon = Daemon(name="daemon", main=main)
    machine.start()
    world.run_for(1)
    return machine


def test_a_daemon_that_is_stopping_starts_again_once_it_has_ended() -> None:
    with World(1) as world:
        starts: list[int] = []
        machine = _machine(world, starts)
        machine.terminate()
        world.run_for(1)
        assert machine.running
        machine.start()
        machine.start()
        world.run_for(10)
        assert starts == [0, 1 + STOP_S]


def test_a_daemon_that_is_killed_stays_down_until_it_is_started() -> None:
    with World(1) as world:
        starts: list[int] = []
        machine = _machine(world, starts)
        machine.kill()
        world.run_for(4)
        assert not machine.running
        machine.start()
        world.run_for(1)
        assert starts == [0, 5]


def test_a_daemon_that_gives_up_starts_again_and_one_that_is_killed_or_stopped_does_not() -> None:
    with World(1) as world:
        machine = make_machine(world, SimFabric(world), world.host("api-1"))
        starts: list[int] = []

        async def main() -> None:
            starts.append(world.now_ns // 10**9)
            await asyncio.sleep(1 if len(starts) < 3 else 100)

        machine.daemon = Daemon(name="daemon", main=main, restart_s=4)
        machine.start()
        world.run_for(12)
        assert starts == [0, 5, 10]
        machine.kill()
        world.run_for(20)
        assert not machine.running
        machine.start()
        machine.terminate()
        world.run_for(20)
        assert not machine.running


def test_a_machine_without_power_starts_nothing() -> None:
    with World(1) as world:
        starts: list[int] = []
        machine = _machine(world, starts)
        machine.terminate()
        world.run_for(1)
        machine.start()
        machine.host.power_off()
        machine.start()
        world.run_for(10)
        assert starts == [0]
        machine.host.power_on()
        machine.start()
        world.run_for(1)
        assert starts == [0, 12]
