"""The work queue: the pure core, and waiting on it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rube.api.errors import ResourceExhaustedError
from rube.client import WorkQueue, WorkQueueConfig, WorkQueueCore
from rube.host import Clock, RealClock
from rube.sim.world.kernel import World

CONFIG = WorkQueueConfig(keys_max=3)
S = 1_000_000_000


def queue(*keys: str) -> WorkQueueCore[str]:
    core: WorkQueueCore[str] = WorkQueueCore(CONFIG)
    for key in keys:
        core.add(key)
    return core


def test_keys_come_once_in_the_order_they_were_added() -> None:
    core = queue("b", "a", "b")
    assert (len(core), core.take(0), core.take(0), core.take(0)) == (2, "b", "a", None)


def test_a_key_added_while_it_is_worked_on_comes_again_once_after_done() -> None:
    core = queue("a")
    assert core.take(0) == "a"
    core.add("a")
    core.add("a")
    assert core.take(0) is None
    core.done("a")
    assert (core.take(0), core.take(0)) == ("a", None)
    core.done("a")
    assert (core.take(0), len(core)) == (None, 0)


def test_the_earliest_of_several_delays_counts() -> None:
    core = queue()
    core.add_at("a", 5)
    core.add_at("a", 3)
    core.add_at("a", 9)
    assert (core.next_due_ns(), core.take(2), core.take(3), core.take(10)) == (3, None, "a", None)
    assert core.next_due_ns() is None


def test_an_add_overrules_a_delay() -> None:
    core = queue()
    core.add_at("a", 5)
    core.add("a")
    core.add_at("a", 6)
    assert (core.take(0), core.next_due_ns()) == ("a", None)
    core.done("a")
    assert core.take(100) is None


def test_a_delay_that_ends_while_the_key_is_worked_on_waits_for_done() -> None:
    core = queue("a")
    core.take(0)
    core.add_at("a", 5)
    assert core.take(5) is None
    core.done("a")
    assert core.take(5) == "a"


def test_a_key_past_the_bound_is_refused_and_a_known_one_is_not() -> None:
    core = queue("a", "b")
    core.add_at("c", 5)
    with pytest.raises(ResourceExhaustedError, match="3 keys"):
        core.add("d")
    core.add("a")
    core.add("c")
    assert len(core) == 3


class QueueMachine(RuleBasedStateMachine):
    """Against a model: which keys are wanted from when, and which are being worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.core: WorkQueueCore[str] = WorkQueueCore(WorkQueueConfig())
        self.now_ns = 0
        self.wanted: dict[str, int] = {}
        self.working: set[str] = set()

    keys = st.sampled_from("abcd")

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.core.add(key)
        self.wanted[key] = min(self.wanted.get(key, self.now_ns), self.now_ns)

    @rule(key=keys, delay_ns=st.integers(0, 10))
    def add_at(self, key: str, delay_ns: int) -> None:
        self.core.add_at(key, self.now_ns + delay_ns)
        self.wanted[key] = min(self.wanted.get(key, self.now_ns + delay_ns), self.now_ns + delay_ns)

    @rule(passed_ns=st.integers(0, 8))
    def wait(self, passed_ns: int) -> None:
        self.now_ns += passed_ns

    @rule()
    def take(self) -> None:
        due = {key for key, due_ns in self.wanted.items() if due_ns <= self.now_ns and key not in self.working}
        key = self.core.take(self.now_ns)
        if key is None:
            assert not due
            return
        assert key in due
        del self.wanted[key]
        self.working.add(key)

    @rule(key=keys)
    def done(self, key: str) -> None:
        if key in self.working:
            self.working.remove(key)
            self.core.done(key)

    @invariant()
    def counts_what_waits(self) -> None:
        assert len(self.core) == len(self.wanted)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_worker_waits_for_a_key_and_for_a_delay() -> None:
    async def main() -> None:
        work: WorkQueue[str] = WorkQueue(RealClock(), WorkQueueConfig())
        waiting = asyncio.create_task(work.get())
        await asyncio.sleep(0)
        work.add("a")
        assert await waiting == "a"
        work.add_after("a", 0.01)
        work.done("a")
        async with asyncio.timeout(10):
            assert await work.get() == "a"
        assert len(work) == 0

    asyncio.run(main())


def test_no_two_workers_have_one_key() -> None:
    async def main() -> None:
        work: WorkQueue[int] = WorkQueue(RealClock())
        busy: set[int] = set()
        finished = 0

        async def worker() -> None:
            nonlocal finished
            while finished < 60:
                key = await work.get()
                assert key not in busy
                busy.add(key)
                await asyncio.sleep(0)
                busy.remove(key)
                finished += 1
                work.add((key + 1) % 5)
                work.done(key)

        work.add(0)
        work.add(3)
        async with asyncio.timeout(10):
            workers = [asyncio.create_task(worker()) for _ in range(4)]
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        for task in workers:
            task.cancel()
        results = await asyncio.gather(*workers, return_exceptions=True)
        assert not [result for result in results if isinstance(result, AssertionError)]

    asyncio.run(main())


def test_each_of_many_waiting_workers_gets_its_key() -> None:
    async def main() -> list[str]:
        work: WorkQueue[str] = WorkQueue(RealClock())
        workers = [asyncio.create_task(work.get()) for _ in range(5)]
        await asyncio.sleep(0)
        for key in "abcde":
            work.add(key)
        return await asyncio.gather(*workers)

    assert asyncio.run(main()) == ["a", "b", "c", "d", "e"]


def test_a_waiting_worker_takes_over_the_time_from_one_that_is_cancelled() -> None:
    async def main(clock: Clock) -> list[str]:
        work: WorkQueue[str] = WorkQueue(clock)
        workers = [asyncio.create_task(work.get()) for _ in range(3)]
        await asyncio.sleep(0)
        work.add_after("late", 0.02)
        await asyncio.sleep(0)
        workers[0].cancel()
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            done, pending = await asyncio.wait(workers[1:], return_when=asyncio.FIRST_COMPLETED)
            work.add("now")
            await asyncio.wait(pending)
        return [task.result() for task in (*done, *pending)]

    with World(1) as world:
        host = world.host("h")
        assert world.run(main, host.clock, host=host) == ["late", "now"]


def test_a_worker_that_is_woken_and_cancelled_at_once_loses_no_key() -> None:
    async def main() -> str:
        work: WorkQueue[str] = WorkQueue(RealClock())
        workers = [asyncio.create_task(work.get()) for _ in range(2)]
        await asyncio.sleep(0)
        work.add("a")
        workers[0].cancel()
        async with asyncio.timeout(5):
            return await workers[1]

    assert asyncio.run(main()) == "a"
