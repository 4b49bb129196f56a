"""The rigs on which the drivers' suite runs: a driver, its machine, and a way to break both."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from rube.api import Action, LogsRequest, UnitAction, UnitObservation
from rube.controllers.driver import Driver
from rube.host import Clock, Host, RealClock, RealRandomness
from rube.sim.units.service_manager import SimServiceDriver, SimServiceManager
from rube.sim.world.kernel import World
from rube.units.drivers.dbus import DbusConfig, DbusDriver
from rube.units.drivers.supervisor import SupervisorDriver
from tests.conformance.driver.driver_units import Case
from tests.real.systemd_manager import SystemdManager

WAIT_S_MAX = 20.0
POLL_S = 0.02


class Machine(Protocol):
    """One kind of machine: opens drivers on itself."""

    clock: Clock
    keeps_logs: bool

    async def open(self) -> Driver: ...

    def prepare(self, name: str, case: Case) -> None: ...

    async def crash(self, name: str, main_pid: int) -> None: ...


class Rig:
    """A driver and the means to use it in a few words."""

    def __init__(self, machine: Machine, driver: Driver) -> None:
        self.machine = machine
        self.driver = driver
        self._actions = 0
        self._names: set[str] = set()
        self.under_way = False
        """What the last `apply` said."""

    async def ensure(self, name: str, case: Case, run: UnitAction.Ensure.Run.ValueType, *, generation: int = 1) -> str:
        """Applies an Ensure and returns the action's id."""
        self.machine.prepare(name, case)
        self._names.add(name)
        ensure = UnitAction.Ensure(spec=case.unit, uid="uid-1", generation=generation, run=run)
        return await self.apply(UnitAction(unit=name, ensure=ensure))

    async def remove(self, name: str) -> str:
        """Removes the unit, and waits until that is done."""
        self._names.discard(name)
        removal = UnitAction(unit=name, remove=UnitAction.Remove())
        action_id = await self.apply(removal)
        async with self.machine.clock.timeout(WAIT_S_MAX):
            while self.under_way:
                await self.machine.clock.sleep(POLL_S)
                await self.apply(removal, action_id)
        return action_id

    async def apply(self, unit_action: UnitAction, action_id: str = "") -> str:
        if not action_id:
            self._actions += 1
            action_id = f"action-{self._actions}"
        action = Action(id=action_id)
        action.action.Pack(unit_action)
        self.under_way = await self.driver.apply(action)
        return action_id

    async def observe(self, name: str) -> UnitObservation:
        observation = UnitObservation()
        assert (await self.driver.observe(name)).Unpack(observation)
        return observation

    async def until(self, name: str, met: Callable[[UnitObservation], bool]) -> UnitObservation:
        """The first observation that is as wanted; fails with the last one."""
        seen = UnitObservation()
        try:
            async with self.machine.clock.timeout(WAIT_S_MAX):
                while not met(seen := await self.observe(name)):
                    await self.machine.clock.sleep(POLL_S)
        except TimeoutError as error:
            raise AssertionError(f"still not so after {WAIT_S_MAX} s: {seen}") from error
        return seen

    async def logs(self, name: str, **fields: int | bool) -> list[str]:
        """The lines of one request that does not follow."""
        request = LogsRequest(**fields)  # type: ignore[arg-type]  # the names are those of the message
        return [line.text async for response in self.driver.logs(name, request) for line in response.lines]

    async def until_printed(self, name: str, line: str) -> None:
        async with self.machine.clock.timeout(WAIT_S_MAX):
            while line not in await self.logs(name):
                await self.machine.clock.sleep(POLL_S)

    async def until_sub(self, name: str, sub_state: str) -> UnitObservation:
        return await self.until(name, lambda seen: seen.status.sub_state == sub_state)

    async def crash(self, name: str) -> None:
        """Kills the main process with SIGKILL."""
        await self.machine.crash(name, (await self.observe(name)).status.main_pid)

    async def reopen(self) -> None:
        """A new driver on the same machine, as after a kill of the rubelet."""
        await self.driver.close()
        self.driver = await self.machine.open()

    async def clean_up(self) -> None:
        for name in sorted(self._names):
            await self.remove(name)
        await self.driver.close()


Body = Callable[[Rig], Awaitable[None]]
Run = Callable[[Body], None]


async def _play(machine: Machine, body: Body) -> None:
    rig = Rig(machine, await machine.open())
    try:
        await body(rig)
    finally:
        await rig.clean_up()


class RealMachine:
    """This machine, its units supervised under a temporary directory."""

    keeps_logs = True

    def __init__(self, directory: str) -> None:
        self.clock = RealClock()
        self.directory = directory

    async def open(self) -> Driver:
        return SupervisorDriver(make_host(self.clock), self.directory)

    def prepare(self, name: str, case: Case) -> None:
        """The definition says it all."""

    async def crash(self, name: str, main_pid: int) -> None:
        os.kill(main_pid, 9)


class SimMachine:
    """A simulated host."""

    keeps_logs = True

    def __init__(self, world: World) -> None:
        self.host = world.host("node-1")
        self.clock: Clock = self.host.clock
        self.manager = SimServiceManager(self.host)

    async def open(self) -> Driver:
        return SimServiceDriver(self.clock, self.manager)

    def prepare(self, name: str, case: Case) -> None:
        self.manager.behave(name, case.behaviour)

    async def crash(self, name: str, main_pid: int) -> None:
        self.manager.crash(name, signal=9)


class SystemdMachine:
    """This machine, its units run by a real systemd."""

    keeps_logs = False

    def __init__(self, manager: SystemdManager) -> None:
        self.clock = RealClock()
        self.manager = manager

    async def open(self) -> Driver:
        config = DbusConfig(
            unit_directory=str(self.manager.unit_directory),
            state_directory=str(self.manager.state_directory),
            bus_address=self.manager.bus_address,
            boot_target="default.target",
        )
        return DbusDriver(make_host(self.clock), config)

    def prepare(self, name: str, case: Case) -> None:
        """The definition says it all."""

    async def crash(self, name: str, main_pid: int) -> None:
        os.kill(main_pid, 9)


def make_host(clock: Clock) -> Host:
    """A machine for drivers, which need a name and a clock of it."""
    return Host(
        name="node-1",
        clock=clock,
        network=None,  # type: ignore[arg-type]  # a driver opens no connection through its host
        storage=None,  # type: ignore[arg-type]  # nor an engine
        random=RealRandomness(),
    )


def run_systemd(manager: SystemdManager, body: Body) -> None:
    asyncio.run(_play(SystemdMachine(manager), body))  # type: ignore[arg-type]  # a stand-in


def run_supervisor(body: Body) -> None:
    directory = tempfile.mkdtemp(prefix="rube-driver-")
    try:
        asyncio.run(_play(RealMachine(directory), body))  # type: ignore[arg-type]  # a stand-in
    finally:
        shutil.rmtree(directory)


def run_sim(body: Body) -> None:
    with World(seed=1) as world:
        machine = SimMachine(world)
        world.run(_play, machine, body, host=machine.host)


@asynccontextmanager
async def reading_changes(rig: Rig) -> AsyncIterator[set[str]]:
    """The names that `changes` gives while the block runs."""
    seen: set[str] = set()

    async def read() -> None:
        async for name in rig.driver.changes():
            seen.add(name)

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
