"""A unit's files are damaged or vanish: that is this unit's trouble, and it is neither doubled nor lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rube.api import Service, Unit, UnitAction, UnitObservation
from rube.api.errors import FailedPreconditionError, UnavailableError
from rube.units.drivers.supervisor import SupervisorDriver, presence
from tests.real.supervisor_bench import NAME, Bench, Ensure, is_alive, make_unit, play

MARK = "RUBE_TEST_MARKER"


def sleeper(bench: Bench, restart: Service.Restart.ValueType = Service.NO) -> Unit:
    unit = make_unit("/bin/sleep 1000")
    unit.service.environment[MARK] = str(bench.root)
    unit.service.restart = restart
    return unit


def running(bench: Bench) -> set[int]:
    """The living processes of the unit, by a mark of the test's own in their environment."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}={bench.root}".encode() in (entry / "environ").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return {pid for pid in found if is_alive(pid)}


def a_new_driver(bench: Bench) -> None:
    """Puts a new driver in the place of the old, as after the end of the rubelet."""
    bench.driver = SupervisorDriver(bench.driver._host, str(bench.root))


def vanish(directory: Path) -> None:
    """Removes it in one step, before a shim can write anything new into it."""
    moved = Path(f"{directory}.vanished-{os.urandom(4).hex()}")
    directory.rename(moved)
    shutil.rmtree(moved)


def without_action(seen: UnitObservation) -> UnitObservation:
    """A shim may not have seen that its action was noted as carried out; it is not carried out twice for that."""
    seen.ClearField("last_action_id")
    return seen


def write(bench: Bench, name: str, content: bytes) -> None:
    (bench.directory / name).write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "an empty object": lambda path: path.write_bytes(b"{}"),
    "nothing": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\0\xff\xfe"),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a list": lambda path: path.write_bytes(b"[1]"),
    "wrong types": lambda path: path.write_bytes(b'{"shim": "x", "state": 5, "uid": [], "plan": 7}'),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", ["state.json", "unit.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_living_shim_writes_damaged_files_again_and_its_unit_goes_on(name: str, damage: str) -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        before = await bench.until_sub("running")
        DAMAGE[damage](bench.directory / name)
        a_new_driver(bench)
        assert await bench.driver.list() == [NAME]
        assert without_action(await bench.observe()) == without_action(before)
        assert running(bench) == {before.status.main_pid}

    play(body)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_lost_state_of_a_dead_shim_is_said_and_the_restart_policy_decides(damage: str) -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGKILL)
        await bench.until(lambda seen: "is gone" in seen.status.message)
        DAMAGE[damage](bench.directory / "state.json")
        if damage != "removed":
            seen = await bench.observe()
            assert "state.json: damaged" in seen.error
            assert seen.status.active_state == "failed"
        async with bench.following():
            seen = await bench.until(lambda seen: not seen.error and seen.status.sub_state == "failed")
        assert (seen.status.sub_state, seen.status.result) == ("failed", "supervisor-lost")
        assert "its record" in seen.reason
        assert not is_alive(pid)

    play(body)


def test_a_unit_whose_state_and_shim_are_lost_is_started_again_by_its_policy_and_not_doubled() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench, Service.ALWAYS))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGKILL)
        write(bench, "state.json", b"garbage")
        async with bench.following():
            seen = await bench.until(lambda seen: seen.status.main_pid not in (0, pid))
        assert running(bench) == {seen.status.main_pid}

    play(body)


def test_one_damaged_unit_is_no_trouble_to_the_others() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        broken = bench.directory.parent / "rube-test.broken.service"
        for name in ("unit.json", "state.json", "request.json"):
            (broken / name).mkdir(parents=True)
        (bench.directory.parent / "a file").touch()
        async with bench.following():
            await bench.until_sub("running")
            assert await bench.driver.list() == [broken.name, NAME]
            observed = await bench.driver.observe(broken.name)
            assert b"state.json" in observed.value

    play(body)


def test_an_older_releases_shim_is_not_doubled_and_its_files_are_read() -> None:
    """Rube 0.1 wrote the kernel's boot_id, no format, no notes, and took no name among the sockets."""

    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        before = await bench.until_sub("running")
        path = bench.directory / "state.json"
        state = json.loads(path.read_text())
        state["boot_id"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for field in ("format", "notes", "digest"):
            del state[field]
        path.write_text(json.dumps(state))
        a_new_driver(bench)
        assert without_action(await bench.observe()) == without_action(before)
        await bench.apply(ensure=Ensure(spec=sleeper(bench), uid="u", generation=2, run=Ensure.START))
        assert running(bench) == {before.status.main_pid}

    play(body)


@pytest.mark.parametrize("name", ["state.json", "unit.json"])
def test_what_a_later_release_wrote_is_left_alone_and_said(name: str) -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGSTOP)  # of a later release, it would not write it again
        shim = bench.shim_pid()
        path = bench.directory / name
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "format": 99}))
        with pytest.raises(FailedPreconditionError, match=f"{name}: format 99 is of a later Rube"):
            await bench.observe()
        with pytest.raises(FailedPreconditionError, match="format 99"):
            await bench.apply(ensure=Ensure(spec=sleeper(bench), uid="u", generation=2, run=Ensure.RESTART))
        assert running(bench) == {pid}
        os.kill(shim, signal.SIGCONT)

    play(body)


def test_a_directory_that_vanishes_under_a_running_unit_comes_back_and_nothing_runs_twice() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        before = await bench.until_sub("running")
        vanish(bench.directory)
        assert without_action(await bench.observe()) == without_action(before)
        vanish(bench.root)
        a_new_driver(bench)
        assert await bench.driver.list() == [NAME]
        assert without_action(await bench.observe()) == without_action(before)
        await bench.apply(ensure=Ensure(spec=sleeper(bench), uid="u", generation=2, run=Ensure.START))
        assert running(bench) == {before.status.main_pid}
        await bench.apply(remove=UnitAction.Remove())
        assert running(bench) == set()
        assert not bench.directory.exists()

    play(body)


def test_an_idle_driver_has_vanished_files_written_again_by_itself() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        await bench.until_sub("running")
        async with bench.following():
            await asyncio.sleep(0.2)
            vanish(bench.directory.parent)
            async with asyncio.timeout(20):
                while not (bench.directory / "state.json").exists() or not (bench.directory / "unit.json").exists():
                    await asyncio.sleep(0.02)

    play(body)


def test_a_start_while_the_directory_is_gone_is_taken_by_the_shim_that_runs() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        pid = (await bench.until_sub("running")).status.main_pid
        shim = bench.shim_pid()
        vanish(bench.directory)
        await bench.apply(ensure=Ensure(spec=sleeper(bench), uid="u", generation=2, run=Ensure.RESTART))
        seen = await bench.until(lambda seen: seen.status.main_pid not in (0, pid))
        assert running(bench) == {seen.status.main_pid}
        assert bench.shim_pid() == shim

    play(body)


def test_processes_without_files_and_without_a_shim_are_found_said_and_not_doubled() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGKILL)
        vanish(bench.directory)
        a_new_driver(bench)
        assert await bench.driver.list() == [NAME]
        seen = await bench.observe()
        assert (seen.installed, seen.uid) == (True, "")
        assert "processes of the unit run" in seen.error
        await bench.start(sleeper(bench))
        seen = await bench.until_sub("running")
        assert running(bench) == {seen.status.main_pid}
        assert seen.status.main_pid != pid

    play(body)


@pytest.mark.parametrize("lost", [("unit.json",), ("unit.json", "state.json", "request.json", "lock"), ("state.json",)])
def test_a_unit_is_removed_whatever_became_of_its_files(lost: tuple[str, ...]) -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        await bench.until_sub("running")
        for name in lost:
            (bench.directory / name).unlink()
        a_new_driver(bench)
        assert await bench.driver.list() == [NAME]
        await bench.apply(remove=UnitAction.Remove())
        assert running(bench) == set()
        assert await bench.driver.list() == []

    play(body)


def test_processes_that_are_left_of_a_removed_directory_are_removed() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        await bench.until_sub("running")
        os.kill(bench.shim_pid(), signal.SIGKILL)
        vanish(bench.directory)
        assert await bench.driver.list() == [NAME]
        await bench.apply(remove=UnitAction.Remove())
        assert running(bench) == set()

    play(body)


def test_a_stopped_shim_whose_files_vanished_is_said() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(sleeper(bench))
        await bench.until_sub("running")
        shim = bench.shim_pid()
        os.kill(shim, signal.SIGSTOP)
        try:
            vanish(bench.directory)
            with pytest.raises(UnavailableError, match="does not answer, and files are missing"):
                await bench.observe()
        finally:
            os.kill(shim, signal.SIGCONT)
        await bench.until_sub("running")

    play(body)


def test_a_name_that_somebody_else_has_taken_keeps_no_unit_from_running() -> None:
    import _socket

    async def body(bench: Bench) -> None:
        squatter = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        squatter.bind(presence._name_of(str(bench.directory)))
        await bench.start(sleeper(bench))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGKILL)
        async with bench.following():
            await bench.until_sub("failed")
        assert not is_alive(pid)
        squatter.close()

    play(body)


def test_files_directories_and_logs_are_their_owners_alone() -> None:
    async def body(bench: Bench) -> None:
        before = os.umask(0)
        try:
            await bench.start(make_unit("/bin/sh -c 'echo secret; exec sleep 1000'"))
            await bench.until(lambda _: bench.log() != "")
        finally:
            os.umask(before)
        assert bench.directory.stat().st_mode & 0o777 == 0o700
        assert bench.directory.parent.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o077 for path in bench.directory.iterdir()} == {
            path.name: 0 for path in bench.directory.iterdir()
        }

    play(body)


def test_a_definition_of_more_than_4_mib_of_json_runs() -> None:
    async def body(bench: Bench) -> None:
        unit = sleeper(bench)
        for number in range(20):
            unit.service.environment[f"LARGE_{number}"] = "\x01" * 60_000
        await bench.start(unit)
        assert (bench.directory / "unit.json").stat().st_size > 4 * 1024 * 1024
        await bench.until_sub("running")

    play(body)
