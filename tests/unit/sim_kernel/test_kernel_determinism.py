"""The same program gives the same trace, whatever the hash seed, the garbage and the process."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rube.sim.world.kernel import World, collector
from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.scheduler import EVENTS_PER_HOUSEKEEPING
from tests.unit.sim_kernel.determinism_program import Cycle, run

PROGRAM = Path(__file__).with_name("determinism_program.py")
ROOT = Path(__file__).parents[3]


def digest_in_a_new_process(hash_seed: int, garbage: int, *options: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(PROGRAM), "7", str(garbage), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("option", ["plain", "shuffled", "steps"])
def test_digest_is_equal_in_other_processes(option: str) -> None:
    options = {"tie_break": option == "shuffled", "trace_steps": option == "steps"}
    here = run(7, **options)
    there = {digest_in_a_new_process(seed, garbage, option) for seed, garbage in ((0, 0), (1, 12_345), (2, 700))}
    assert there == {here}


def test_digest_is_equal_twice_in_one_process_with_other_garbage() -> None:
    first = run(3)
    log: list[str] = []
    for number in range(1000):
        Cycle(log, str(number))
    assert run(3) == first


def test_another_seed_gives_another_digest_and_so_does_another_order() -> None:
    assert len({run(1), run(2), run(1, tie_break=True)}) == 3


def test_the_collector_is_off_in_a_world_and_back_on_after() -> None:
    assert gc.isenabled()
    with World(1):
        assert not gc.isenabled()
        with World(2):
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_seeded_order_explores_but_keeps_callbacks_of_one_process_in_order() -> None:
    def orders(seed: int) -> tuple[tuple[str, ...], list[int]]:
        steps: list[str] = []
        callbacks: list[int] = []

        async def step(name: str) -> None:
            await asyncio.sleep(1)
            steps.append(name)

        async def main() -> None:
            for number in range(10):
                asyncio.get_running_loop().call_soon(callbacks.append, number)
            await asyncio.gather(*(step(name) for name in "abcd"))

        with World(seed, tie_break=True) as world:
            world.run(main)
        return tuple(steps), callbacks

    found = [orders(seed) for seed in range(20)]
    assert len({steps for steps, _ in found}) > 5
    assert all(callbacks == list(range(10)) for _, callbacks in found)


def test_task_numbers_and_names_begin_anew_in_each_world() -> None:
    async def main() -> tuple[str, int]:
        task = asyncio.create_task(asyncio.sleep(0))
        return task.get_name(), hash(task)

    def once() -> tuple[str, int]:
        with World(1) as world:
            return world.run(main)

    assert once() == once()


def test_garbage_is_collected_at_fixed_points_and_in_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "HOUSEKEEPINGS_PER_COLLECTION", 1)
    freed: list[tuple[int, bool]] = []

    class Witness:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            freed.append((asyncio.get_running_loop().now_ns, CURRENT.get(None) is None))  # type: ignore[attr-defined]

    async def main() -> None:
        Witness()
        for _ in range(EVENTS_PER_HOUSEKEEPING + 10):
            await asyncio.sleep(0.001)

    with World(1) as world:
        world.run(main, host=world.host("a"))
    assert freed == [(EVENTS_PER_HOUSEKEEPING * 10**6, True)]
