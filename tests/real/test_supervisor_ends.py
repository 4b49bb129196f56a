"""No end of a process is missed, whatever else happens at the same time: an idle shim has no period to fall back on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rube.api import Action, Service, UnitAction, UnitObservation
from tests.real.supervisor_bench import Bench, Ensure, is_alive, make_unit, play, shell

UNITS_KILLED = 60


def test_an_end_while_the_shim_is_stopped_is_seen_when_it_goes_on() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("/bin/sleep 1000"))
        pid = (await bench.until_sub("running")).status.main_pid
        shim = bench.shim_pid()
        os.kill(shim, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(4)  # longer than any period that a shim once had
        os.kill(shim, signal.SIGCONT)
        seen = await bench.until_sub("failed")
        assert (seen.status.result, seen.status.exit_status) == ("signal", signal.SIGKILL)

    play(body)


def test_all_of_many_units_that_are_killed_at_once_come_back() -> None:
    directory = Path(tempfile.mkdtemp(prefix="rube-supervisor-"))
    names = [f"rube-test.u{number}.service" for number in range(UNITS_KILLED)]
    unit = make_unit("/bin/sleep 1000")
    unit.service.restart, unit.service.time.restart = Service.ALWAYS, 0.1

    async def main() -> None:
        bench = Bench(directory)

        async def apply(name: str, **what: object) -> None:
            action = Action(id=os.urandom(8).hex())
            action.action.Pack(UnitAction(unit=name, **what))  # type: ignore[arg-type]
            while await bench.driver.apply(action):
                await asyncio.sleep(0.05)

        async def pids() -> dict[str, int]:
            found = {}
            for name in names:
                seen = UnitObservation()
                assert (await bench.driver.observe(name)).Unpack(seen)
                found[name] = seen.status.main_pid if seen.status.sub_state == "running" else 0
            return found

        try:
            ensure = Ensure(spec=unit, uid="u", generation=1, run=Ensure.START)
            await asyncio.gather(*(apply(name, ensure=ensure) for name in names))
            for _ in range(3):
                before = await pids()
                assert all(before.values())
                for pid in before.values():
                    os.kill(pid, signal.SIGKILL)
                async with asyncio.timeout(40):
                    while any(pid in (0, before[name]) for name, pid in (await pids()).items()):
                        await asyncio.sleep(0.1)
        finally:
            await asyncio.gather(*(apply(name, remove=UnitAction.Remove()) for name in names))

    asyncio.run(main())


def test_a_main_process_that_is_another_ones_child_is_missed_as_a_zombie_too() -> None:
    """Its parent, of the unit too, never asks how it ended: so it stays a zombie, and no signal tells the shim."""

    async def body(bench: Bench) -> None:
        pid_file = bench.root / "daemon.pid"
        script = bench.root / "daemon.py"
        script.write_text(
            "import os, sys, time\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "child = os.fork()\n"
            "if child == 0: time.sleep(1000)\n"
            f"open({str(pid_file)!r}, 'w').write(str(child))\n"
            "time.sleep(1000)\n"
        )
        unit = make_unit(f"{sys.executable} -I -S {script}", kind=Service.FORKING)
        unit.service.pid_file = str(pid_file)
        await bench.start(unit)
        pid = (await bench.until_sub("running")).status.main_pid
        assert pid == int(pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
        await bench.until_sub("dead")

    play(body)


def test_an_idle_shim_is_not_woken() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("/bin/sleep 1000"))
        await bench.until_sub("running")

        def switches() -> int:
            lines = Path(f"/proc/{bench.shim_pid()}/status").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

        async with bench.following():
            before = -1
            while before != switches():  # it is still busy with its start
                before = switches()
                await asyncio.sleep(1)
            await asyncio.sleep(7)
            assert switches() == before

    play(body)


def test_what_blocks_before_its_program_can_be_stopped_and_removed() -> None:
    """A FIFO as standard output or environment file is opened in the new process, which can be killed."""

    async def body(bench: Bench) -> None:
        os.mkfifo(bench.root / "fifo")
        unit = make_unit("/bin/true", kind=Service.ONESHOT)
        unit.service.standard_output = f"file:{bench.root}/fifo"
        unit.service.time.start_timeout = 0.5
        await bench.start(unit)
        assert (await bench.until_sub("failed")).status.result == "timeout"
        unit.service.time.start_timeout = 1000
        await bench.start(unit)
        await bench.until_sub("start")
        await bench.stop(unit)
        await bench.until(lambda seen: seen.status.active_state in ("inactive", "failed"))

    play(body)


def test_what_is_left_running_on_purpose_keeps_its_output_and_keeps_no_unit_from_its_removal() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("(sleep 1; echo still here; exec sleep 1000) & echo $!; exec sleep 1000")
        unit.service.kill.mode = Service.PROCESS
        await bench.start(unit)
        await bench.until(lambda _: bench.log().strip() != "")
        left = int(bench.log())
        await bench.stop(unit)
        await bench.until_sub("dead")
        await bench.until(lambda _: "still here" in bench.log())
        await bench.start(unit)
        await bench.until(lambda _: bench.log().count("\n") == 3)
        again = int(bench.log().split("\n")[2])
        await bench.apply(remove=UnitAction.Remove())
        assert is_alive(left)
        os.kill(left, signal.SIGKILL)
        os.kill(again, signal.SIGKILL)

    play(body)


@pytest.mark.parametrize("limit", [0, 1, 3, 4])
def test_a_process_without_files_to_open_runs_or_fails_and_is_no_second_shim(limit: int) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        unit.service.environment["RUBE_TEST_MARKER"] = str(bench.root)
        if os.geteuid() == 0:
            unit.service.user = "nobody"
        unit.service.limits.open_files = limit
        await bench.start(unit)
        seen = await bench.until(lambda seen: seen.status.sub_state in ("running", "failed"))
        end = time.monotonic() + 10
        while shims(bench) not in ([bench.shim_pid()], []) and time.monotonic() < end:
            await asyncio.sleep(0.05)  # a fork of the shim has its command line until it is the program
        assert shims(bench) in ([bench.shim_pid()], [])
        if limit == 4:
            assert seen.status.sub_state == "running"

    def shims(bench: Bench) -> list[int]:
        marker = str(bench.directory).encode()
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if marker in read(entry / "cmdline")]

    def read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError:
            return b""

    play(body)
