"""The simulation kernel against raw SimPy, in one run: what asyncio, drifting clocks and the trace cost.

The figure to reach: 100 tasks that each await `asyncio.sleep(1)` again and again, on hosts that all drift, with the
trace on, make at least 20% of the process timeouts per second that raw SimPy makes with 100 processes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import simpy

from rube.sim.world.kernel import World

TASKS = 100
SECONDS = 400
SLEEPS = TASKS * SECONDS
ROUNDS = 5
RATIO_MIN = 0.20


def raw_simpy() -> None:
    """100 SimPy processes that each yield a timeout of 1, again and again."""
    env = simpy.Environment()

    def process() -> Any:
        while True:
            yield env.timeout(1)

    for _ in range(TASKS):
        env.process(process())
    env.run(until=SECONDS + 0.5)


def kernel() -> None:
    """100 tasks that each await asyncio.sleep(1), on 100 hosts whose clocks all drift, with the trace on."""

    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with World(1) as world:
        for number in range(TASKS):
            world.host(f"host-{number}", drift_ppm=2 * number - TASKS + 1).spawn("sleeper", main)
        world.run_for(SECONDS + 0.5)
        assert len(world.trace.digest()) == 64


def tie_broken_kernel() -> None:
    """The same as `kernel`, but on one exact clock, so that a seed chooses among 100 tasks at each instant."""

    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with World(1, tie_break=True) as world:
        for number in range(TASKS):
            world.host("host").spawn(f"sleeper-{number}", main)
        world.run_for(SECONDS + 0.5)


def yields() -> None:
    """100 tasks that each await asyncio.sleep(0): steps that take no virtual time."""

    async def main() -> None:
        for _ in range(SECONDS):
            await asyncio.sleep(0)

    with World(1) as world:
        for number in range(TASKS):
            world.host("host").spawn(f"yielder-{number}", main)
        world.run_for(1)


@pytest.mark.parametrize("program", [raw_simpy, kernel, tie_broken_kernel, yields])
def test_steps(benchmark: Any, program: Callable[[], None]) -> None:
    benchmark.group = f"simulation kernel: {SLEEPS} steps"
    benchmark.pedantic(program, rounds=3, warmup_rounds=1)
    benchmark.extra_info["steps_per_s"] = round(SLEEPS / benchmark.stats.stats.min)


def test_ratio_to_raw_simpy(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.pedantic(kernel, rounds=1)
    pairs = [(_seconds(raw_simpy), _seconds(kernel)) for _ in range(ROUNDS)]
    ratio = statistics.median(raw / ours for raw, ours in pairs)
    benchmark.extra_info["ratio_to_raw_simpy"] = round(ratio, 3)
    raw_s, kernel_s = (min(column) for column in zip(*pairs, strict=True))
    with capsys.disabled():
        print(
            f"\nkernel: {SLEEPS / kernel_s:,.0f} sleeps/s, raw SimPy {SLEEPS / raw_s:,.0f} timeouts/s, "
            f"ratio {ratio:.3f} (median of {ROUNDS} pairs)"
        )
    assert ratio >= RATIO_MIN


def _seconds(program: Callable[[], None]) -> float:
    start = time.process_time()  # of this process alone: a busy machine moves the ratio less
    program()
    return time.process_time() - start
