"""A program with every known leak of determinism in it; prints the digest of its trace.

Arguments: seed, amount of garbage to make first, and optionally "shuffled" (seeded order) or "steps" (finer trace).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from rube.sim.world.kernel import SimHost, World


class Cycle:
    """Garbage that only the collector frees, and that runs code when it does."""

    def __init__(self, log: list[str], name: str) -> None:
        self.me = self
        self.log = log
        self.name = name

    def __del__(self) -> None:
        self.log.append(self.name)


def run(seed: int, *, tie_break: bool = False, trace_steps: bool = False) -> str:
    with World(seed, tie_break=tie_break, trace_steps=trace_steps) as world:
        hosts = [world.host(f"h{n}", drift_ppm=37 * n - 50) for n in range(5)]
        freed: list[str] = []
        for host in hosts:
            host.spawn("worker", lambda host=host: worker(world, host, freed))  # type: ignore[misc]
        world.run_for(20)
        hosts[1].process("worker").kill()
        hosts[2].power_off()
        hosts[3].pause()
        world.run_for(20)
        hosts[3].resume()
        hosts[4].set_drift(-5000)
        hosts[4].jump_clock(-(10**9))
        world.run_for(20)
        world.trace.add("freed", *freed)
        return world.trace.digest()


async def numbers(world: World, host: SimHost) -> AsyncIterator[int]:
    try:
        while True:
            await asyncio.sleep(0.5)
            yield host.random.stream("numbers").randrange(100)
    finally:
        world.trace.add("closed", host.name)


async def worker(world: World, host: SimHost, freed: list[str]) -> None:
    random = host.random.stream("worker")

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(random.uniform(0, 2))
            if number == 3:
                raise ValueError(number)
            await asyncio.sleep(10)
        finally:
            world.trace.add("child", host.name, number, host.clock.now_ns())

    for turn in range(30):
        Cycle(freed, f"{host.name} {turn}")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(child(number))
        except* ValueError:
            pass
        done, pending = await asyncio.wait(
            {asyncio.create_task(asyncio.sleep(n % 3)) for n in range(9)}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
            world.trace.add("cancelled", host.name, task.get_name())
        async for number in numbers(world, host):
            world.trace.add("number", host.name, number, len(done))
            break


if __name__ == "__main__":
    keep = []
    for count in range(int(sys.argv[2])):
        loop: list[object] = []
        loop.append(loop)
        if count % 3:
            keep.append(loop)
    print(run(int(sys.argv[1]), tie_break="shuffled" in sys.argv, trace_steps="steps" in sys.argv))
