"""Hosts and processes: kill, power loss, pause, graceful stop, and what runs in whose name."""

from __future__ import annotations

import asyncio
import sys

import pytest

from rube.sim.world.kernel import (
    Death,
    HostStateError,
    ProcessFenced,
    SimProcess,
    SimulationFailures,
    World,
    current_host,
    current_process,
    in_process,
)


async def forever() -> None:
    await asyncio.Event().wait()


def test_killed_process_never_runs_again_not_even_its_finally() -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            log.append("finally of a child")

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                while True:
                    log.append("tick")
                    await asyncio.sleep(1)
        finally:
            log.append("finally of main")

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        world.run_for(1.5)
        process.kill()
        world.run_for(100)
        assert log == ["tick", "tick"]
        assert (process.alive, process.death, process.returncode) == (False, Death.KILL, -9)
        assert world.host("a").processes == ()


def test_ready_callbacks_of_a_killed_process_are_dropped() -> None:
    log: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, log.append, "timer")
        await forever()

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        world.run_for(0.5)
        process.call_soon(log.append, "soon")
        process.kill()
        world.run_for(10)
    assert log == []


def test_dead_incarnation_is_fenced_from_its_ports() -> None:
    seen: list[str] = []

    with World(1) as world:
        host = world.host("a")

        async def main() -> None:
            current_process().kill()
            for call in (host.clock.now_ns, host.clock.monotonic_ns, lambda: host.clock.timeout(1)):
                with pytest.raises(ProcessFenced):
                    call()
            seen.append("refused")
            try:
                await host.clock.sleep(1)
            except Exception:
                seen.append("swallowed by a retry loop")

        host.spawn("p", main)
        world.run_for(5)
    assert seen == ["refused"]


def test_code_that_goes_on_after_its_own_kill_ends_at_its_next_await() -> None:
    log: list[str] = []

    async def main() -> None:
        current_process().kill()
        asyncio.get_running_loop().call_soon(log.append, "callback")
        task = asyncio.create_task(forever())
        log.append("the rest of the step")
        await asyncio.sleep(0)
        log.append(f"never {task}")

    with World(1) as world:
        world.host("a").spawn("p", main)
        world.run_for(5)
    assert log == ["the rest of the step"]


@pytest.mark.parametrize("death", list(Death))
def test_hooks_learn_how_the_process_died(death: Death) -> None:
    seen: list[tuple[str, Death]] = []

    async def main() -> None:
        await asyncio.sleep(1)

    with World(1) as world:
        host = world.host("a")
        process = host.spawn("p", main if death is Death.EXIT else forever)
        process.on_death(lambda dead, how: seen.append((str(dead), how)))
        world.run_for(0.5)
        if death is Death.KILL:
            process.kill()
        elif death is Death.POWER_LOSS:
            host.power_off()
        world.run_for(1)
    assert seen == [("a/p#1", death)]


def test_power_loss_kills_everything_before_the_first_hook_runs() -> None:
    alive: list[bool] = []

    with World(1) as world:
        host = world.host("a")
        processes = [host.spawn(name, forever) for name in ("p", "q")]
        for process in processes:
            process.on_death(lambda *_: alive.extend(p.alive for p in processes))
        host.on_power_off(lambda h: alive.append(h.powered))
        world.run_for(1)
        host.power_off()
        assert alive == [False] * 5
        with pytest.raises(HostStateError, match="is off"):
            host.spawn("p", forever)
        host.power_on()
        assert host.boots == 2
        assert host.spawn("p", forever).incarnation == 2


def test_power_on_restarts_the_monotonic_clock_only() -> None:
    with World(1) as world:
        host = world.host("a")
        before = host.clock.now_ns()
        host.power_off()
        world.run_for(10)
        host.power_on()
        world.run_for(1)
        assert host.clock.monotonic_ns() == 10**9
        assert host.clock.now_ns() == before + 11 * 10**9


def test_graceful_stop_cancels_main_which_may_take_its_time() -> None:
    log: list[str] = []

    async def main() -> int:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(2)
            log.append("flushed")
        return 3

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        world.run_for(1)
        process.stop()
        process.stop()
        world.run_for(1)
        assert process.alive
        world.run_for(2)
        assert (process.returncode, process.death, log) == (3, Death.EXIT, ["flushed"])


def test_stop_that_is_not_handled_gives_the_signal() -> None:
    with World(1) as world:
        process = world.host("a").spawn("p", forever)
        world.run_for(1)
        process.stop()
        world.run_for(0)
        assert process.returncode == -15


def test_end_of_main_cancels_what_it_left_behind() -> None:
    log: list[str] = []

    async def left() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    async def main() -> None:
        task = asyncio.create_task(left())
        await asyncio.sleep(1)
        log.append(f"main {task.done()}")

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        assert world.run(lambda: waited(process)) == 0
        assert world.now_ns == 2 * 10**9
    assert log == ["main False", "cleaned up"]


async def waited(process: SimProcess) -> int | None:
    return await process.exit


@pytest.mark.parametrize(("code", "status"), [(None, 0), (7, 7), ("a message", 1)])
@pytest.mark.parametrize("in_task", [False, True])
def test_sys_exit_ends_the_process_with_its_status(code: object, status: int, in_task: bool) -> None:
    async def leave() -> None:
        sys.exit(code)  # type: ignore[arg-type]

    async def main() -> None:
        if in_task:
            task = asyncio.create_task(leave())
            await forever()
            del task
        await leave()

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        world.run_for(1)
        assert process.returncode == status


def test_crash_of_main_is_a_failure_unless_expected() -> None:
    async def main() -> None:
        raise RuntimeError("boom")

    with World(1) as world:
        process = world.host("a").spawn("p", main, crash_is_failure=False)
        world.run_for(1)
        assert process.returncode == 1
        assert str(process.exception) == "boom"
        world.host("a").spawn("p", main)
        with pytest.raises(SimulationFailures) as caught:
            world.run_for(1)
        assert str(caught.value.exceptions[0]) == "boom"


def test_paused_host_runs_nothing_and_its_timers_fire_late_in_order() -> None:
    log: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, log.append, "timer")
        await asyncio.sleep(2)
        log.append("slept")

    with World(1) as world:
        host = world.host("a")
        process = host.spawn("p", main)
        world.run_for(0.5)
        host.pause()
        process.call_soon(log.append, "soon")
        world.run_for(10)
        assert log == []
        monotonic = host.clock.monotonic_ns()
        world.run_for(1)
        assert host.clock.monotonic_ns() == monotonic + 10**9
        host.resume()
        world.run_for(0)
    assert log == ["soon", "timer", "slept"]


def test_process_spawned_on_a_paused_host_starts_on_resume() -> None:
    log: list[str] = []

    async def main() -> None:
        log.append("runs")

    with World(1) as world:
        host = world.host("a")
        host.pause()
        host.spawn("p", main)
        world.run_for(1)
        assert log == []
        host.resume()
        world.run_for(0)
    assert log == ["runs"]


def test_killed_while_paused_is_dead_after_resume() -> None:
    log: list[str] = []

    async def main() -> None:
        await asyncio.sleep(1)
        log.append("runs")

    with World(1) as world:
        host = world.host("a")
        process = host.spawn("p", main)
        world.run_for(0.5)
        host.pause()
        world.run_for(1)
        process.kill()
        host.resume()
        world.run_for(1)
    assert log == []


def test_one_name_one_living_process() -> None:
    with World(1) as world:
        host = world.host("a")
        first = host.spawn("p", forever)
        with pytest.raises(HostStateError, match="already runs"):
            host.spawn("p", forever)
        first.kill()
        assert str(host.spawn("p", forever)) == "a/p#2"
        assert host.process("p") is not None
        assert host.process("q") is None


def test_tasks_inherit_the_process_and_handlers_run_in_the_servers() -> None:
    names: list[str] = []

    async def handler() -> None:
        await asyncio.sleep(0)
        names.append(f"{current_process()} on {current_host().name}")

    with World(1) as world:
        server = world.host("server").spawn("api", forever)

        async def client() -> None:
            await asyncio.create_task(handler())
            await server.create_task(handler())
            with in_process(server):
                asyncio.get_running_loop().call_soon(lambda: names.append(str(current_process())))
            await asyncio.sleep(0)

        world.host("client").spawn("cli", client)
        world.run_for(1)
    assert names == ["client/cli#1 on client", "server/api#1 on server", "server/api#1"]


def test_current_process_outside_is_an_error() -> None:
    with pytest.raises(HostStateError, match="no simulated process"):
        current_process()
