"""kill -9 of a rubelet between any two steps: units are started once, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from google.protobuf.any_pb2 import Any
from node_world import NODE, NodeWorld, unit

from rube.api import controller_pb2
from rube.api.errors import ResourceExhaustedError
from rube.controllers.driver import Driver
from rube.host import Engine, Host, Write
from rube.sim.kernel import World, current_process


class Steps:
    """Kills the rubelet at step number `fatal`."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.taken = 0

    async def step(self) -> None:
        self.taken += 1
        if self.taken == self._fatal:
            current_process().kill()
            await asyncio.Event().wait()


class SteppedEngine:
    """A step before and after each commit."""

    def __init__(self, inner: Engine, steps: Steps) -> None:
        self._inner, self._steps = inner, steps
        self.get, self.scan, self.close = inner.get, inner.scan, inner.close
        self.snapshot, self.checkpoint = inner.snapshot, inner.checkpoint

    async def commit(self, batch: Sequence[Write]) -> None:
        await self._steps.step()
        await self._inner.commit(batch)
        await self._steps.step()


class SteppedStorage:
    def __init__(self, host: Host, steps: Steps) -> None:
        self._storage, self._steps = host.storage, steps

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        return SteppedEngine(await self._storage.open(url), self._steps)


class SteppedDriver:
    """A step before and after each action; notes which ids took effect on which unit."""

    def __init__(self, inner: Driver, steps: Steps) -> None:
        self._inner, self._steps = inner, steps
        self.list, self.close = inner.list, inner.close

    async def observe(self, name: str) -> Any:
        return await self._inner.observe(name)

    async def apply(self, action: controller_pb2.Action) -> bool:
        await self._steps.step()
        under_way = await self._inner.apply(action)
        await self._steps.step()
        return under_way

    def changes(self) -> AsyncIterator[str]:
        return self._inner.changes()


def run_killed_at(fatal: int) -> tuple[int, int]:
    """Puts two units and deletes one, with a kill -9 of the rubelet at a step; gives (steps, starts of the unit)."""
    steps = Steps(fatal)
    with World(seed=11) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)

        def start() -> None:
            nodes.start_rubelet(
                driver=lambda driver: SteppedDriver(driver, steps),
                ports=lambda host: replace(host, storage=SteppedStorage(host, steps)),
            )

        start()
        for act in (lambda: nodes.put("web", unit()), lambda: nodes.put("gone", unit()), lambda: nodes.delete("gone")):
            act()
            world.run_for(3)
            if nodes.machine(NODE).host.process("rubelet") is None:
                start()
                world.run_for(3)
        world.run_for(5)
        assert nodes.status("web").active_state == "active"
        assert nodes.status("web").main_pid == nodes.seen("web").status.main_pid
        assert not nodes.seen("gone").installed
        return steps.taken, len(starts)


def test_a_unit_deleted_before_its_start_succeeded_is_never_started() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        nodes.start_apiserver()
        broken = Broken()
        nodes.start_rubelet(driver=broken.wrap)
        starts = count_starts(nodes)
        nodes.put("web", unit())
        world.run_for(5)
        assert nodes.status("web").message == "no space left"
        nodes.delete("web")
        world.run_for(1)
        broken.is_broken = False
        world.run_for(120)
        assert starts == []


class Broken:
    """A driver that can carry out nothing as long as it is broken."""

    def __init__(self) -> None:
        self.is_broken = True

    def wrap(self, driver: Driver) -> Driver:
        apply = driver.apply

        async def maybe(action: controller_pb2.Action) -> None:
            if self.is_broken:
                raise ResourceExhaustedError("no space left")
            await apply(action)

        driver.apply = maybe  # type: ignore[method-assign]
        return driver


def count_starts(nodes: NodeWorld) -> list[int]:
    """The pids that the unit `web` has had."""
    pids: list[int] = []
    manager = nodes.services_of(NODE)

    def look(name: str) -> None:
        pid = manager.observation("rube-default.web.service").status.main_pid
        if pid and pid not in pids:
            pids.append(pid)

    manager.on_change(look)
    return pids


FATAL_MAX = 56


@pytest.mark.parametrize("fatal", range(1, FATAL_MAX))
def test_killed_at_any_step_units_are_started_once_and_reported(fatal: int) -> None:
    _, starts = run_killed_at(fatal)
    assert starts == 1


def test_the_kills_cover_every_step() -> None:
    steps, starts = run_killed_at(0)
    assert 20 <= steps < FATAL_MAX
    assert starts == 1
