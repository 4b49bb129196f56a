"""asyncio's own tools on the simulated loop."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from rube.sim.world.kernel import (
    DeadlockError,
    LivelockError,
    SimulatedIOError,
    SimulationError,
    SimulationFailures,
    World,
    scheduler,
)
from rube.sim.world.kernel.unsupported import REMEDIES


def seconds() -> float:
    return asyncio.get_running_loop().time()


def test_sleep_takes_exactly_its_virtual_time() -> None:
    async def main() -> None:
        await asyncio.sleep(86_400)

    with World(1) as world:
        world.run(main, timeout_s=1e6)
        assert world.now_ns == 86_400 * 10**9


def test_sleep_returns_its_result_and_zero_yields_once() -> None:
    async def main() -> tuple[str, str]:
        return await asyncio.sleep(1, "later"), await asyncio.sleep(0, "now")

    with World(1) as world:
        assert world.run(main) == ("later", "now")


def test_cancelled_sleep_ends_at_once() -> None:
    async def main() -> float:
        task = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seconds()

    with World(1) as world:
        assert world.run(main) == 1.0


def test_timeout_expires_on_time_and_can_be_rescheduled() -> None:
    async def main() -> float:
        async def wait() -> None:
            async with asyncio.timeout(1) as timeout:
                timeout.reschedule(seconds() + 5)
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await wait()
        return seconds()

    with World(1) as world:
        assert world.run(main) == 5.0


def test_queue_passes_items_between_tasks() -> None:
    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

        async def produce() -> None:
            for number in range(5):
                await queue.put(number)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            return [await queue.get() for _ in range(5)]

    with World(1) as world:
        assert world.run(main) == [0, 1, 2, 3, 4]


def test_event_semaphore_lock_and_condition_wake_their_waiters() -> None:
    async def main() -> list[str]:
        log: list[str] = []
        event, semaphore, condition = asyncio.Event(), asyncio.Semaphore(1), asyncio.Condition()

        async def worker(name: str) -> None:
            await event.wait()
            async with semaphore:
                await asyncio.sleep(1)
                log.append(f"{name} {seconds():.0f}")
            async with condition:
                condition.notify_all()

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(worker(name))
            event.set()
            async with condition:
                await condition.wait_for(lambda: len(log) == 3)
        return log

    with World(1) as world:
        assert world.run(main) == ["a 1", "b 2", "c 3"]


def test_gather_wait_and_wait_for() -> None:
    async def main() -> tuple[list[int], int, int]:
        async def number(value: int) -> int:
            await asyncio.sleep(value)
            return value

        gathered = await asyncio.gather(*(number(n) for n in (3, 1, 2)))
        tasks = {asyncio.create_task(number(n)) for n in range(1, 5)}
        done, pending = await asyncio.wait(tasks, timeout=2.5)
        for task in pending:
            task.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(number(10), 1)
        return gathered, len(done), len(pending)

    with World(1) as world:
        assert world.run(main) == ([3, 1, 2], 2, 2)


def test_shield_protects_the_inner_task() -> None:
    async def main() -> str:
        inner = asyncio.create_task(asyncio.sleep(2, "kept"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 1)
        return await inner

    with World(1) as world:
        assert world.run(main) == "kept"


def test_as_completed_follows_virtual_time() -> None:
    async def main() -> list[int]:
        return [await first for first in asyncio.as_completed([asyncio.sleep(n, n) for n in (3, 1, 2)])]

    with World(1) as world:
        assert world.run(main) == [1, 2, 3]


def test_to_thread_runs_inline_and_completes_later() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> tuple[str, float]:
        variable.set("seen")
        found = await asyncio.to_thread(variable.get)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return found, seconds()

    with World(1) as world:
        assert world.run(main) == ("seen", 0.0001)


def test_call_later_and_call_at_can_be_cancelled() -> None:
    async def main() -> list[str]:
        loop, log = asyncio.get_running_loop(), list[str]()
        loop.call_later(1, log.append, "one")
        loop.call_later(2, log.append, "two").cancel()
        handle = loop.call_at(3, log.append, "three")
        soon = loop.call_soon(log.append, "never")
        soon.cancel()
        await asyncio.sleep(4)
        assert soon.cancelled()
        assert handle.when() == 3.0
        return log

    with World(1) as world:
        assert world.run(main) == ["one", "three"]


def test_infinite_timers_never_fire_and_nan_is_refused() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(float("inf"), pytest.fail)
        with pytest.raises(ValueError, match="NaN"):
            await asyncio.sleep(float("nan"))
        await asyncio.sleep(float("inf"))

    with World(1) as world:
        with pytest.raises(DeadlockError):
            world.run(main, timeout_s=1e10)


def test_cancelled_timers_are_swept_out() -> None:
    async def main() -> int:
        for _ in range(20_000):
            async with asyncio.timeout(1000):
                await asyncio.sleep(0.001)
        return len(asyncio.get_running_loop()._queue)  # type: ignore[attr-defined]

    with World(1) as world:
        assert world.run(main) < 9000


@pytest.mark.parametrize("method", sorted(REMEDIES))
def test_real_io_is_refused_with_a_remedy(method: str) -> None:
    with World(1) as world:
        with pytest.raises(SimulatedIOError, match=rf"{method}.*: (use|stop) "):
            getattr(world.loop, method)()


def test_unhandled_exceptions_surface_when_the_run_ends() -> None:
    async def main() -> None:
        async def fail() -> None:
            raise ValueError("in a task that is never awaited")

        asyncio.get_running_loop().call_soon(lambda: dict[str, int]()["missing"])
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with World(1) as world:
        with pytest.raises(SimulationFailures) as caught:
            world.run(main)
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


def test_an_exception_handler_takes_what_would_surface() -> None:
    taken: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: taken.append(context["exception"]))
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with World(1) as world:
        world.run(main)
    assert [type(error) for error in taken] == [ZeroDivisionError]


def test_standing_still_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CALLBACKS_AT_ONE_INSTANT_MAX", 1000)

    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with World(1) as world:
        with pytest.raises(LivelockError, match="stands still at 0 ns, last in observer"):
            world.run(main)


def test_timers_that_take_no_time_are_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "EVENTS_AT_ONE_INSTANT_MAX", 10_000)

    with World(1) as world:

        def again() -> None:
            world.loop.after_ns(0, again)

        again()
        with pytest.raises(LivelockError, match="stands still at 0 ns"):
            world.run_for(1)


def test_simpy_can_step_the_timers_itself() -> None:
    log: list[str] = []

    async def sleeper() -> None:
        await asyncio.sleep(1)
        log.append("slept")

    with World(1) as world:
        world.loop.call_later(2, log.append, "called")
        world.host("a").spawn("p", sleeper)
        world.run_for(0.5)
        world.env.step()
        world.run_for(0)
        assert log == ["slept"]
        world.env.step()
        world.run_for(0)
        assert world.now_ns == 2 * 10**9
    assert log == ["slept", "called"]


def test_simpy_processes_share_the_queue() -> None:
    log: list[object] = []

    with World(1) as world:

        def device() -> object:
            yield world.env.timeout(10**9)
            log.append(world.now_ns)

        world.env.process(device())  # type: ignore[arg-type]
        world.run_for(2)
    assert log == [10**9]


def test_every_method_of_asyncios_loop_is_refused_or_implemented() -> None:
    names = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    with World(1) as world:
        missing = {
            name
            for name in names
            if getattr(getattr(world.loop, name), "__func__", None) is vars(asyncio.AbstractEventLoop)[name]
        }
    assert missing == set()


async def crash_unnoticed(kept: list[asyncio.Task[None]]) -> None:
    async def fail() -> None:
        raise ValueError("kept")

    kept.append(asyncio.create_task(fail()))
    await asyncio.sleep(100)


def test_closing_surfaces_exceptions_of_tasks_that_were_kept_but_never_asked() -> None:
    kept: list[asyncio.Task[None]] = []
    world = World(1)
    world.host("a").spawn("p", lambda: crash_unnoticed(kept))
    world.run_for(1)
    with pytest.raises(SimulationFailures) as caught:
        world.close()
    assert [str(error) for error in caught.value.exceptions] == ["kept"]


def test_an_error_in_the_block_is_not_hidden_by_failures_at_the_close() -> None:
    kept: list[asyncio.Task[None]] = []

    def drive() -> None:
        with World(1) as world:
            world.host("a").spawn("p", lambda: crash_unnoticed(kept))
            world.run_for(1)
            raise KeyError("first")

    with pytest.raises(KeyError, match="first") as caught:
        drive()
    assert "kept" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("method", "arguments"), [("stop", ()), ("close", ()), ("run_forever", ()), ("run_until_complete", (None,))]
)
def test_simulated_code_cannot_drive_or_end_the_loop(method: str, arguments: tuple[None, ...]) -> None:
    async def main() -> None:
        getattr(asyncio.get_running_loop(), method)(*arguments)

    with World(1) as world, pytest.raises(SimulationError, match="in a world"):
        world.run(main)


def test_a_loop_that_waits_for_nanoseconds_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "EVENTS_PER_SECOND_MAX", 20_000)

    async def main() -> None:
        while True:
            await asyncio.sleep(1e-9)

    with (
        World(1) as world,
        pytest.raises(LivelockError, match="20000 timers within the second of virtual"),
    ):
        world.run(main)


def test_many_timers_in_many_seconds_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "EVENTS_PER_SECOND_MAX", 20_000)

    async def main() -> None:
        for _ in range(30_000):
            await asyncio.sleep(1e-3)

    with World(1) as world:
        world.run(main)


def test_eager_tasks_are_refused() -> None:
    async def main() -> None:
        asyncio.get_running_loop().create_task(never, eager_start=False)  # type: ignore[call-arg]  # of Python 3.14
        with pytest.raises(SimulationError, match="eager_start=True"):
            asyncio.get_running_loop().create_task(never, eager_start=True)  # type: ignore[call-arg]

    never = asyncio.sleep(0)
    with World(1) as world:
        world.run(main)


def test_an_executor_runs_no_more_at_a_time_than_it_has_workers() -> None:
    world = World(1)
    loop = world.loop
    began: list[tuple[str, float]] = []

    def work(name: str) -> str:
        began.append((name, loop.time()))
        loop.spend(1_000_000_000)
        return name

    async def main() -> None:
        with ThreadPoolExecutor(max_workers=1) as one:
            futures = [loop.run_in_executor(one, work, name) for name in "abcd"]
            futures[1].cancel()  # its turn never comes
            await asyncio.sleep(0.5)
            futures[0].cancel()  # it has the worker nevertheless
            assert [await future for future in futures[2:]] == ["c", "d"]
        assert loop.time() == pytest.approx(3, abs=0.01)

    with world:
        world.run(main)
    assert [name for name, _ in began] == ["a", "c", "d"]
    assert [at for _, at in began] == pytest.approx([0, 1, 2], abs=0.01)


def test_an_executor_with_a_dead_process_runs_nothing_more() -> None:
    world = World(1)
    host = world.host("a")
    ran: list[str] = []

    def work(name: str) -> None:
        ran.append(name)
        world.loop.spend(1_000_000_000)

    async def main() -> None:
        one = ThreadPoolExecutor(max_workers=1)
        for name in "ab":
            world.loop.run_in_executor(one, work, name)
        await asyncio.Event().wait()

    with world:
        process = host.spawn("program", main)
        world.run_for(0.5)
        process.kill()
        world.run_for(5)
    assert ran == ["a"]
