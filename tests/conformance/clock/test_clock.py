"""The promises of every Clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rube.host import Clock

Run = Callable[[Callable[[Clock], Coroutine[Any, Any, None]]], None]
DELAY_S = 0.0014
"""Not a whole number of milliseconds, which some timers count in."""
DELAY_NS = 1_400_000
UNIX_NS_MIN = 1_600_000_000 * 10**9


def test_a_sleep_never_ends_early(run: Run) -> None:
    async def body(clock: Clock) -> None:
        for _ in range(20):
            start_ns = clock.monotonic_ns()
            await clock.sleep(DELAY_S)
            assert clock.monotonic_ns() - start_ns >= DELAY_NS

    run(body)


def test_a_timeout_never_ends_early(run: Run) -> None:
    async def body(clock: Clock) -> None:
        for _ in range(20):
            start_ns = clock.monotonic_ns()
            with pytest.raises(TimeoutError):
                async with clock.timeout(DELAY_S):
                    await asyncio.Event().wait()
            assert clock.monotonic_ns() - start_ns >= DELAY_NS

    run(body)


def test_a_block_that_ends_in_time_is_left_alone(run: Run) -> None:
    async def body(clock: Clock) -> None:
        async with clock.timeout(60):
            await clock.sleep(DELAY_S)
        async with clock.timeout(None):
            await clock.sleep(0)

    run(body)


def test_cancellation_passes_through(run: Run) -> None:
    async def body(clock: Clock) -> None:
        async def wait() -> None:
            async with clock.timeout(60):
                await clock.sleep(60)

        task = asyncio.create_task(wait())
        await clock.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(body)


def test_no_time_or_less_still_lets_others_run(run: Run) -> None:
    async def body(clock: Clock) -> None:
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "other")
        await clock.sleep(-1)
        assert ran == ["other"]

    run(body)


def test_wall_time_is_since_1970_and_the_monotonic_clock_never_goes_back(run: Run) -> None:
    async def body(clock: Clock) -> None:
        assert clock.now_ns() > UNIX_NS_MIN
        before_ns = clock.monotonic_ns()
        for _ in range(100):
            after_ns = clock.monotonic_ns()
            assert after_ns >= before_ns
            before_ns = after_ns

    run(body)
