"""Clocks that drift, jump and restart; timers that are never early."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.sim.world.kernel import World
from rube.sim.world.kernel.hostclock import DRIFT_PPM_MAX, HostClock, seconds_to_ns

PPM = st.integers(-DRIFT_PPM_MAX, DRIFT_PPM_MAX)
NS = st.integers(0, 10**18)


@given(PPM, NS, NS, NS)
def test_true_time_of_a_reading_is_the_first_instant_that_reads_it(ppm: int, base: int, mono: int, ahead: int) -> None:
    clock = HostClock(base, mono, 0, ppm)
    due = clock.true_ns(mono + ahead)
    assert clock.monotonic_ns(due) >= mono + ahead
    assert clock.monotonic_ns(due - 1) < mono + ahead


@given(PPM, PPM, NS, NS)
def test_changing_the_drift_does_not_move_the_reading(before: int, after: int, when: int, later: int) -> None:
    clock = HostClock(0, 5, 10**18, before)
    monotonic, wall = clock.monotonic_ns(when), clock.wall_ns(when)
    clock.set_drift(when, after)
    assert (clock.monotonic_ns(when), clock.wall_ns(when)) == (monotonic, wall)
    assert clock.monotonic_ns(when + later) >= monotonic


@given(st.floats(0, 1e8))
def test_seconds_become_the_first_nanosecond_that_reads_as_much(seconds: float) -> None:
    nanoseconds = seconds_to_ns(seconds)
    assert nanoseconds / 10**9 >= seconds
    assert nanoseconds / 10**9 - seconds < 1e-7


def test_whole_milliseconds_stay_whole() -> None:
    assert [seconds_to_ns(s) for s in (0.1, 1.1, 0.001, 2.3, -1.0)] == [
        10**8,
        11 * 10**8,
        10**6,
        23 * 10**8,
        -(10**9),
    ]


@settings(max_examples=60)
@given(PPM, st.floats(1e-9, 3), st.integers(0, 2**32))
def test_sleeping_to_a_deadline_never_stands_still(ppm: int, delay_s: float, seed: int) -> None:
    async def main() -> int:
        loop, turns = asyncio.get_running_loop(), 0
        deadline = loop.time() + delay_s
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(left)
            turns += 1
            assert turns < 5
        return turns

    with World(seed) as world:
        world.run(main, host=world.host("a", drift_ppm=ppm))


@settings(max_examples=30)
@given(PPM, st.floats(0, 100))
def test_a_timer_never_fires_before_its_own_clock_has_reached_it(ppm: int, delay_s: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + delay_s
        fired = loop.create_future()
        loop.call_at(when, lambda: fired.set_result(loop.time()))
        assert await fired >= when

    with World(1) as world:
        world.run(main, host=world.host("a", drift_ppm=ppm))


def test_sleep_and_timeout_follow_the_drifting_clock() -> None:
    async def sleeper() -> None:
        await asyncio.sleep(100)

    async def limited() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 100)

    with World(1) as world:
        world.run(sleeper, host=world.host("fast", drift_ppm=100_000))
        assert world.now_ns == 90_909_090_910
        start = world.now_ns
        world.run(limited, host=world.host("slow", drift_ppm=-200_000))
        assert world.now_ns - start == 125 * 10**9


@pytest.mark.parametrize(("ppm", "expected_s"), [(100_000, 9.090909091), (-500_000, 15.0)])
def test_set_drift_moves_the_timers_that_are_set(ppm: int, expected_s: float) -> None:
    woken: list[float] = []

    with World(1) as world:
        host = world.host("a")

        async def sleeper() -> None:
            await asyncio.sleep(10)
            woken.append(world.now_ns / 1e9)

        async def caller() -> None:
            asyncio.get_running_loop().call_later(10, lambda: woken.append(world.now_ns / 1e9))
            await asyncio.sleep(20)

        host.spawn("sleeper", sleeper)
        host.spawn("caller", caller)
        world.run_for(0 if ppm > 0 else 5)
        host.set_drift(ppm)
        world.run_for(50)
    assert woken == [expected_s, expected_s]


def test_jump_moves_the_wall_clock_and_no_timer() -> None:
    with World(1) as world:
        host = world.host("a", clock_offset_ns=5)
        before = host.clock.now_ns()
        assert before == world.start_unix_ns + 5

        async def sleeper() -> int:
            await host.clock.sleep(10)
            return host.clock.now_ns()

        world.loop.after_ns(10**9, host.jump_clock, -3600 * 10**9)
        assert world.run(sleeper, host=host) == before + 10 * 10**9 - 3600 * 10**9
        assert world.now_ns == 10 * 10**9


def test_monotonic_jump_fires_the_timers_it_passes() -> None:
    with World(1) as world:
        host = world.host("a")

        async def sleeper() -> None:
            await asyncio.sleep(10)

        world.loop.after_ns(10**9, host.jump_monotonic, 4 * 10**9)
        world.run(sleeper, host=host)
        assert world.now_ns == 6 * 10**9
        with pytest.raises(ValueError, match="cannot step back"):
            host.jump_monotonic(-1)


def test_monotonic_clocks_of_hosts_do_not_agree() -> None:
    with World(1) as world:
        readings = {world.host(f"h{n}").clock.monotonic_ns() for n in range(10)}
    assert len(readings) == 10


def test_absurd_drift_is_refused() -> None:
    with World(1) as world, pytest.raises(ValueError, match="at most"):
        world.host("a", drift_ppm=600_000)
