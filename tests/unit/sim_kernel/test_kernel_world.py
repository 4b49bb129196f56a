"""A world: how synchronous code runs it, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from rube.sim.world.kernel import (
    ProcessDiedError,
    RunTimeoutError,
    World,
    WorldClosedError,
    current_host,
)


async def forever() -> None:
    await asyncio.Event().wait()


def test_run_on_a_host_whose_power_fails() -> None:
    with World(1) as world:
        host = world.host("a")
        world.loop.after_ns(10**9, host.power_off)
        with pytest.raises(ProcessDiedError):
            world.run(forever, host=host)


def test_run_times_out_in_virtual_time() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with World(1) as world:
        with pytest.raises(RunTimeoutError):
            world.run(main, timeout_s=10)
        assert world.now_ns == 10 * 10**9
        with pytest.raises(RunTimeoutError):
            world.run_until(lambda: False, timeout_s=5)
        assert world.now_ns == 15 * 10**9


def test_run_until_stops_at_the_event_that_made_it_true() -> None:
    log: list[str] = []
    with World(1) as world:
        for second in (1, 2, 3):
            world.loop.after_ns(second * 10**9, log.append, "x")
        world.run_until(lambda: len(log) == 2)
        assert world.now_ns == 2 * 10**9


def test_run_raises_what_main_raises_and_tasks_of_the_observer_live_on() -> None:
    log: list[int] = []

    async def background() -> None:
        while True:
            await asyncio.sleep(1)
            log.append(1)

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(background())

    async def fail() -> None:
        raise KeyError("mine")

    with World(1) as world:
        task = world.run(start)
        with pytest.raises(KeyError, match="mine"):
            world.run(fail)
        world.run_for(3.5)
        assert log == [1, 1, 1]
        assert not task.done()


def test_a_world_cannot_run_inside_itself_or_after_its_end() -> None:
    with World(1) as world:

        async def nested() -> None:
            world.run_for(1)

        with pytest.raises(Exception, match="driven from synchronous code"):
            world.run(nested)
    with pytest.raises(WorldClosedError):
        world.run_for(1)
    world.close()


def test_closing_a_world_contains_what_dead_code_raises() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            ended.append("reached nothing")
            current_host().clock.now_ns()
            ended.append("reached the clock")

    with World(1) as world:
        world.host("a").spawn("p", stubborn)
        world.run_for(1)
        assert ended == []
    assert ended == ["reached nothing"]
