"""A supervisor on real processes, for the tests to start, watch and break units with."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rube.api import Action, Service, Unit, UnitAction, UnitObservation
from rube.host import Host, RealClock, RealRandomness
from rube.units.drivers.supervisor import SupervisorDriver

Ensure = UnitAction.Ensure
NAME = "rube-test.one.service"
WAIT_S_MAX = 20.0


class Bench:
    """A supervisor under a temporary directory, and what it says of one unit."""

    def __init__(self, directory: Path) -> None:
        host = Host(
            name="node-1",
            clock=RealClock(),
            network=None,  # type: ignore[arg-type]  # the driver opens no connection
            storage=None,  # type: ignore[arg-type]
            random=RealRandomness(),
        )
        self.root = directory
        self.directory = directory / "units" / NAME
        self.driver = SupervisorDriver(host, str(directory))
        self._actions = 0

    async def apply(self, **what: object) -> None:
        self._actions += 1
        action = Action(id=f"action-{self._actions}")
        action.action.Pack(UnitAction(unit=NAME, **what))  # type: ignore[arg-type]
        await self.driver.apply(action)

    async def start(self, unit: Unit) -> None:
        await self.apply(ensure=Ensure(spec=unit, uid="u", generation=1, run=Ensure.START))

    async def stop(self, unit: Unit) -> None:
        await self.apply(ensure=Ensure(spec=unit, uid="u", generation=1, run=Ensure.STOP))

    async def remove(self) -> None:
        """Returns when nothing is left of it."""
        action = Action(id="remove")
        action.action.Pack(UnitAction(unit=NAME, remove=UnitAction.Remove()))
        async with asyncio.timeout(WAIT_S_MAX):
            while await self.driver.apply(action):
                await asyncio.sleep(0.05)

    async def observe(self) -> UnitObservation:
        observation = UnitObservation()
        assert (await self.driver.observe(NAME)).Unpack(observation)
        return observation

    async def until(self, met: Callable[[UnitObservation], bool]) -> UnitObservation:
        seen = UnitObservation()
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while not met(seen := await self.observe()):
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise AssertionError(f"still not so: {seen}\n{self.log()}\n{self.shim_log()}") from error
        return seen

    async def until_sub(self, *sub_states: str) -> UnitObservation:
        return await self.until(lambda seen: seen.status.sub_state in sub_states)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While it lasts the driver's changes are read, as a rubelet does."""

        async def follow() -> None:
            async for _ in self.driver.changes():
                pass

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def shim_log(self) -> str:
        path = self.directory / "shim.log"
        return path.read_text() if path.exists() else ""

    def shim_pid(self) -> int:
        return int(json.loads((self.directory / "state.json").read_text())["shim"][0])


def play(body: Callable[[Bench], Awaitable[None]]) -> None:
    directory = Path(tempfile.mkdtemp(prefix="rube-supervisor-"))

    async def main() -> None:
        bench = Bench(directory)
        try:
            await body(bench)
        finally:
            await bench.apply(remove=UnitAction.Remove())

    try:
        asyncio.run(main())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def make_unit(*start: str, kind: Service.Type.ValueType = Service.SIMPLE) -> Unit:
    unit = Unit()
    unit.service.type = kind
    unit.service.exec.start.extend(start)
    unit.service.time.timeout = 5
    return unit


def shell(script: str, *, kind: Service.Type.ValueType = Service.SIMPLE) -> Unit:
    quoted = script.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("\n", "\\n")
    return make_unit(f'/bin/sh -c "{quoted}"', kind=kind)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
