"""A process that is killed between two chosen steps: before and after each commit and each action of its driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from google.protobuf.any_pb2 import Any

from rube.api import Action
from rube.controllers.driver import Driver
from rube.host import Engine, Host, Write
from rube.sim.world.kernel import current_process
from tests.simulation.node_world import NODE, NodeWorld


class Steps:
    """Kills the process that takes step number `fatal`; each outside effect is a step before it and one after it."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.taken = 0

    async def step(self) -> None:
        self.taken += 1
        if self.taken == self._fatal:
            current_process().kill()
            await asyncio.Event().wait()  # a dead task runs no further


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
        return SteppedEngine(await self._storage.open(url), self._steps)  # type: ignore[return-value]


class SteppedDriver:
    """A step before and after each action."""

    def __init__(self, inner: Driver, steps: Steps) -> None:
        self._inner, self._steps = inner, steps
        self.list, self.close = inner.list, inner.close

    async def observe(self, name: str) -> Any:
        return await self._inner.observe(name)

    async def apply(self, action: Action) -> bool:
        await self._steps.step()
        under_way = await self._inner.apply(action)
        await self._steps.step()
        return under_way

    def changes(self) -> AsyncIterator[str]:
        return self._inner.changes()


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
