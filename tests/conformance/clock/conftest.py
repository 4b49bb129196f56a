"""The clocks of the suite: each test runs on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rube.host import Clock, RealClock
from rube.sim.world.kernel import World

Body = Callable[[Clock], Coroutine[Any, Any, None]]
Run = Callable[[Body], None]


def _real(body: Body) -> None:
    asyncio.run(body(RealClock()))


def _uvloop(body: Body) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body(RealClock()))


def _simulated(drift_ppm: int) -> Run:
    def run(body: Body) -> None:
        with World(1) as world:
            host = world.host("h", drift_ppm=drift_ppm)
            world.run(body, host.clock, host=host)

    return run


RUNS: dict[str, Run] = {
    "asyncio": _real,
    "uvloop": _uvloop,
    "sim": _simulated(0),
    "sim-fast": _simulated(100_000),
    "sim-slow": _simulated(-100_000),
}


@pytest.fixture(params=list(RUNS))
def run(request: pytest.FixtureRequest) -> Run:
    """Plays a test's body on one clock."""
    return RUNS[request.param]
