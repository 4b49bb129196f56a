"""The D-Bus driver on a real systemd: the drivers' whole suite is in tests/conformance/driver; here is the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from rube.api import Action, Service, Unit, UnitAction, UnitObservation
from rube.api.errors import FailedPreconditionError, UnavailableError
from rube.host import Host, RealClock, RealRandomness
from rube.units.drivers.dbus import DbusConfig, DbusDriver
from tests.real.systemd_manager import SystemdManager, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

Ensure = UnitAction.Ensure
NAME = "rube-test.one.service"
WAIT_S_MAX = 20.0


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    with SystemdManager() as started:
        yield started


def make_driver(manager: SystemdManager) -> DbusDriver:
    host = Host(
        name="node-1",
        clock=RealClock(),
        network=None,  # type: ignore[arg-type]  # a driver opens no connection through the host
        storage=None,  # type: ignore[arg-type]
        random=RealRandomness(),
    )
    return DbusDriver(
        host,
        DbusConfig(
            unit_directory=str(manager.unit_directory),
            state_directory=str(manager.state_directory),
            bus_address=manager.bus_address,
            boot_target="default.target",
        ),
    )


def play(manager: SystemdManager, body: Callable[[DbusDriver], Awaitable[None]]) -> None:
    async def main() -> None:
        driver = make_driver(manager)
        try:
            await body(driver)
        finally:
            for name in await driver.list():
                await apply(driver, f"clean-{name}", UnitAction(unit=name, remove=UnitAction.Remove()))
            await driver.close()

    asyncio.run(main())


async def apply(driver: DbusDriver, action_id: str, unit_action: UnitAction) -> None:
    action = Action(id=action_id)
    action.action.Pack(unit_action)
    await driver.apply(action)


async def ensure(driver: DbusDriver, action_id: str, unit: Unit, *, name: str = NAME) -> None:
    await apply(
        driver, action_id, UnitAction(unit=name, ensure=Ensure(spec=unit, uid="u", generation=1, run=Ensure.START))
    )


async def observe(driver: DbusDriver, name: str = NAME) -> UnitObservation:
    observation = UnitObservation()
    assert (await driver.observe(name)).Unpack(observation)
    return observation


async def until(driver: DbusDriver, met: Callable[[UnitObservation], bool], name: str = NAME) -> UnitObservation:
    seen = UnitObservation()
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            while not met(seen := await observe(driver, name)):
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(f"still not so: {seen}") from error
    return seen


def sleeper() -> Unit:
    unit = Unit(description="sleeps")
    unit.service.exec.start.append("/bin/sleep 1000")
    unit.service.restart = Service.ON_FAILURE
    unit.service.time.restart = 0.1
    return unit


def test_a_service_that_falls_silent_is_ended_by_its_watchdog(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        unit = sleeper()
        unit.service.time.watchdog = 0.2
        unit.service.restart = Service.NO
        await ensure(driver, "a1", unit)
        seen = await until(driver, lambda seen: seen.status.active_state == "failed")
        assert seen.status.result == "watchdog"

    play(manager, body)


def test_many_ensures_at_once_share_reloads(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        names = [f"rube-test.many-{index}.service" for index in range(20)]
        await asyncio.gather(*(ensure(driver, "a1", sleeper(), name=name) for name in names))
        for name in names:
            await until(driver, lambda seen: seen.status.sub_state == "running", name)
        assert driver._reloads_begun <= 3
        assert await driver.list() == sorted(names)

    play(manager, body)


def test_units_are_all_found_again_after_a_reload_by_somebody_else(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        await ensure(driver, "a1", sleeper())
        seen: set[str] = set()

        async def read() -> None:
            async for name in driver.changes():
                seen.add(name)

        reader = asyncio.create_task(read())
        await until(driver, lambda _: NAME in seen)
        await asyncio.sleep(0.3)
        seen.clear()
        await asyncio.to_thread(manager.call, "Reload")
        await until(driver, lambda _: NAME in seen)
        assert await driver.list() == [NAME]
        assert (await observe(driver)).status.sub_state == "running"
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    play(manager, body)


def test_a_crash_reaches_changes_by_signal(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        await ensure(driver, "a1", sleeper())
        pid = (await until(driver, lambda seen: seen.status.main_pid > 0)).status.main_pid
        seen: set[str] = set()

        async def read() -> None:
            async for name in driver.changes():
                seen.add(name)

        reader = asyncio.create_task(read())
        await until(driver, lambda _: NAME in seen)
        await asyncio.sleep(0.3)
        seen.clear()
        os.kill(pid, 9)
        async with asyncio.timeout(3):  # far less than a resync takes
            while NAME not in seen:
                await asyncio.sleep(0.01)
        after = await until(driver, lambda seen: seen.status.main_pid not in (0, pid))
        assert after.status.restarts == 1
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    play(manager, body)


def test_a_lost_connection_is_made_again(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        await ensure(driver, "a1", sleeper())
        bus = driver._bus._bus
        assert bus is not None
        bus.disconnect()
        assert (await until(driver, lambda seen: seen.status.sub_state == "running")).installed

    play(manager, body)


def test_enabling_links_the_unit_to_its_target(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        unit = sleeper()
        unit.enabled = True
        await ensure(driver, "a1", unit)
        link = manager.unit_directory / "default.target.wants" / NAME
        assert link.is_symlink()
        assert (await observe(driver)).status.unit_file_state == "enabled"
        await apply(driver, "a2", UnitAction(unit=NAME, remove=UnitAction.Remove()))
        assert not link.is_symlink()
        assert not (manager.unit_directory / NAME).exists()
        assert (await observe(driver)).status.load_state == "not-found"

    play(manager, body)


def test_what_was_disabled_by_hand_is_seen_and_enabled_again(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        unit = sleeper()
        unit.enabled = True
        await ensure(driver, "1", unit)
        await driver._bus.manager("DisableUnitFiles", "asb", [NAME], False)
        await driver._bus.manager("Reload")  # as `systemctl disable` does
        await until(driver, lambda seen: seen.status.unit_file_state == "disabled")
        await ensure(driver, "2", unit)
        assert (await observe(driver)).status.unit_file_state == "enabled"

    play(manager, body)


def test_a_file_that_somebody_else_made_is_left_alone(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        path = manager.unit_directory / NAME
        path.write_text("[Service]\nExecStart=/bin/true\n")
        try:
            with pytest.raises(FailedPreconditionError, match="not made by Rube"):
                await ensure(driver, "a1", sleeper())
            await apply(driver, "a2", UnitAction(unit=NAME, remove=UnitAction.Remove()))
            assert path.exists()
            assert await driver.list() == []
        finally:
            path.unlink()

    play(manager, body)


def test_values_reach_systemd_as_they_were_written(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        unit = sleeper()
        values = {"A": 'quo"te back\\slash', "B": "line\nExecStart=/bin/evil", "C": " blanks\t", "D": "ünï"}
        for name, value in values.items():
            unit.service.environment[name] = value
        await ensure(driver, "a1", unit)
        service = await driver._bus.properties(NAME, "Service")
        assert sorted(service["Environment"]) == sorted(f"{name}={value}" for name, value in values.items())
        assert len(service["ExecStart"]) == 1

    play(manager, body)


def test_no_bus_is_an_error_that_says_so() -> None:
    async def main() -> None:
        host = Host(
            name="n",
            clock=RealClock(),
            network=None,  # type: ignore[arg-type]
            storage=None,  # type: ignore[arg-type]
            random=RealRandomness(),
        )
        driver = DbusDriver(host, DbusConfig(bus_address="unix:path=/nonexistent/bus"))
        with pytest.raises(UnavailableError, match="/nonexistent/bus"):
            await driver.observe(NAME)
        await driver.close()

    asyncio.run(main())


def test_a_start_that_a_dependency_prevents_says_so(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        broken, unit = sleeper(), sleeper()
        broken.service.type = Service.ONESHOT
        broken.service.restart = Service.NO
        broken.service.exec.start[0] = "/bin/false"
        other = "rube-test.broken.service"
        await apply(driver, "a1", UnitAction(unit=other, ensure=Ensure(spec=broken, uid="u", generation=1)))
        unit.requires.append(other)
        unit.after.append(other)
        await ensure(driver, "a2", unit)
        seen = await observe(driver)
        assert (seen.status.active_state, seen.error) == ("inactive", "a unit that it requires did not start")

    play(manager, body)
