"""Definitions that systemd cannot load: the status says so, and they can be replaced and removed all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rube.api import Action, UnitAction
from rube.api.errors import FailedPreconditionError
from rube.units.drivers.dbus import DbusDriver
from tests.real.systemd_manager import SystemdManager, missing
from tests.real.test_systemd_dbus import NAME, apply, ensure, observe, play, sleeper, until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

REMOVE = UnitAction(unit=NAME, remove=UnitAction.Remove())
_EXEC = "ExecStart=/bin/sleep 1000"
BAD = {
    "a line too long": (f"{_EXEC}\nSyslogIdentifier={'x' * 1_100_000}", "error", "systemd cannot read the definition"),
    "nothing to run": ("", "bad-setting", "systemd refuses the definition"),
    "an open quote": ('ExecStart="/bin/sleep 1000', "bad-setting", "systemd refuses the definition"),
    "an unknown specifier": ("ExecStart=/bin/sleep %z", "bad-setting", "systemd refuses the definition"),
}


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    with SystemdManager() as started:
        yield started


def spoil(manager: SystemdManager, service: str) -> None:
    """Puts other settings in the place of those that Rube has written, below its marker."""
    path = manager.unit_directory / NAME
    marker = path.read_text().splitlines()[1]
    path.write_text(f"# x\n{marker}\n[Service]\n{service}\n[Install]\nWantedBy=default.target\n")
    manager.call("Reload")


def left(manager: SystemdManager) -> list[str]:
    return [path.name for path in manager.unit_directory.rglob("*") if not path.is_dir()]


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
def test_what_cannot_be_loaded_is_said_and_removed(manager: SystemdManager, case: str, running: bool) -> None:
    service, load_state, words = BAD[case]

    async def body(driver: DbusDriver) -> None:
        unit = sleeper()
        unit.enabled = True
        await ensure(driver, "a1", unit)
        pid = (await until(driver, lambda seen: seen.status.sub_state == "running")).status.main_pid
        if not running:
            stop = UnitAction.Ensure(spec=unit, uid="u", generation=1, run=UnitAction.Ensure.STOP)
            await apply(driver, "a2", UnitAction(unit=NAME, ensure=stop))
        spoil(manager, service)
        seen = await observe(driver)
        assert (seen.status.load_state, seen.installed) == (load_state, True)
        assert words in seen.status.message
        for attempt in range(200):
            if not await driver.apply(_removal(f"r{attempt}")):
                break
        assert left(manager) == []
        assert not running or not _is_alive(pid)
        assert await driver.list() == []

    play(manager, body)


def test_a_good_definition_takes_the_place_of_one_that_cannot_be_loaded(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        await ensure(driver, "a1", sleeper())
        spoil(manager, BAD["a line too long"][0])
        await ensure(driver, "a2", sleeper())
        seen = await until(driver, lambda seen: seen.status.sub_state == "running")
        assert (seen.status.load_state, seen.status.message) == ("loaded", "")

    play(manager, body)


def test_a_drop_in_that_spoils_a_unit_is_named(manager: SystemdManager) -> None:
    directory = manager.unit_directory / "rube-.service.d"
    directory.mkdir()
    drop_in = directory / "spoils.conf"
    drop_in.write_text("[Service]\nExecStart=/bin/true\n")  # a second command

    async def body(driver: DbusDriver) -> None:
        with pytest.raises(FailedPreconditionError, match=r"systemd refuses the definition.*rube-\.service\.d/spoils"):
            await ensure(driver, "a1", sleeper())
        assert "spoils.conf" in (await observe(driver)).status.message
        await apply(driver, "r1", REMOVE)

    try:
        play(manager, body)
    finally:
        drop_in.unlink()
        directory.rmdir()


def test_a_drop_in_with_a_line_too_long_is_named(manager: SystemdManager) -> None:
    """systemd says `No buffer space available`, of whatever it is asked about the unit."""
    directory = manager.unit_directory / f"{NAME}.d"
    directory.mkdir()
    drop_in = directory / "long.conf"
    drop_in.write_text(f"[Service]\nEnvironment=X={'x' * 1_100_000}\n")

    async def body(driver: DbusDriver) -> None:
        with pytest.raises(FailedPreconditionError) as refused:
            await ensure(driver, "a1", sleeper())
        assert refused.value.message.startswith(f"{NAME}: ")
        assert f"line 2 of {drop_in} has 1100015 bytes" in refused.value.message
        await apply(driver, "r1", REMOVE)

    try:
        play(manager, body)
    finally:
        drop_in.unlink()
        directory.rmdir()


def test_a_unit_that_somebody_masks_stays_masked(manager: SystemdManager) -> None:
    mask = manager.unit_directory / NAME
    mask.symlink_to("/dev/null")

    async def body(driver: DbusDriver) -> None:
        with pytest.raises(FailedPreconditionError, match="was not made by Rube"):
            await ensure(driver, "a1", sleeper())
        assert mask.is_symlink()

    try:
        play(manager, body)
    finally:
        mask.unlink()


def test_arguments_that_dbus_cannot_send_leave_the_rest_to_be_seen(manager: SystemdManager) -> None:
    async def body(driver: DbusDriver) -> None:
        await ensure(driver, "a1", sleeper())
        spoil(manager, "ExecStart=/bin/sh -c 'sleep 1000' \\xff")
        manager.call("RestartUnit", "ss", NAME, "replace")
        seen = await until(driver, lambda seen: seen.status.sub_state == "running")
        assert (seen.status.active_state, seen.status.result) == ("active", "success")

    play(manager, body)


def _removal(action_id: str) -> Action:
    action = Action(id=action_id)
    action.action.Pack(REMOVE)
    return action


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
