"""The supervisor on real processes, where it goes further than the drivers' common suite."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rube.api import Service, Unit, UnitAction
from rube.api.errors import FailedPreconditionError
from rube.units.drivers.supervisor import processes
from rube.units.drivers.supervisor.logs import LOG_BYTES_MAX, LOG_FILES, UnitLogReader
from tests.real.supervisor_bench import NAME, Bench, Ensure, is_alive, make_unit, play, shell


def test_a_unit_outlives_a_kill_of_the_process_that_started_it() -> None:
    async def body(bench: Bench) -> None:
        script = (
            "import asyncio, os, sys, signal\n"
            "from pathlib import Path\n"
            "sys.path.insert(0, sys.argv[2])\n"
            "from tests.real.supervisor_bench import Bench, make_unit\n"
            "asyncio.run(Bench(Path(sys.argv[1])).start(make_unit('/bin/sleep 1000')))\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        root = str(Path(__file__).parents[2])
        command = (sys.executable, "-c", script, str(bench.root), root)
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == -signal.SIGKILL
        bench._actions += 1
        pid = (await bench.observe()).status.main_pid
        assert is_alive(pid)
        os.kill(pid, signal.SIGTERM)
        seen = await bench.until_sub("dead")
        assert (seen.status.exit_code, seen.status.exit_status) == (2, signal.SIGTERM)

    play(body)


def test_everything_the_unit_forked_is_killed_with_it() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("setsid sleep 1001 & (setsid sleep 1002 &) ; echo $! ; exec sleep 1003")
        await bench.start(unit)
        await bench.until(lambda _: bench.log().strip() != "")
        below = children_of(bench.shim_pid())
        assert len(below) == 3
        await bench.stop(unit)
        await bench.until_sub("dead")
        assert not [pid for pid in below if is_alive(pid)]

    play(body)


def children_of(root: int) -> list[int]:
    """All living descendants, by ps."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [(int(pid), int(parent), stat) for pid, parent, stat in (line.split()[:3] for line in listed.splitlines())]
    found = [root]
    for parent in found:
        found += [pid for pid, its, stat in rows if its == parent and not stat.startswith("Z")]
    return found[1:]


def test_a_state_from_before_a_reboot_says_nothing() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        await bench.start(unit)
        await bench.stop(unit)
        await bench.until_sub("dead")
        path = bench.directory / "state.json"
        state = json.loads(path.read_text())
        state.update(boot_id="an earlier one", state="running", main_pid=os.getpid(), shim=[os.getpid(), 1])
        path.write_text(json.dumps(state))
        seen = await bench.observe()
        assert (seen.installed, seen.status.active_state, seen.status.main_pid) == (True, "inactive", 0)
        await bench.start(unit)
        assert (await bench.until_sub("running")).status.main_pid != os.getpid()

    play(body)


def test_a_daemon_with_a_pid_file_is_followed_by_it() -> None:
    async def body(bench: Bench) -> None:
        pid_file = bench.root / "daemon.pid"
        unit = shell(f"setsid sleep 1000 & echo $! > {pid_file}", kind=Service.FORKING)
        unit.service.pid_file = str(pid_file)
        await bench.start(unit)
        seen = await bench.until_sub("running")
        assert seen.status.main_pid == int(pid_file.read_text())
        os.kill(seen.status.main_pid, signal.SIGKILL)
        assert (await bench.until_sub("failed")).status.result == "signal"

    play(body)


def test_a_pid_file_that_comes_late_is_waited_for() -> None:
    async def body(bench: Bench) -> None:
        pid_file = bench.root / "daemon.pid"
        unit = shell(f"(sleep 0.3; sh -c 'echo $$ > {pid_file}; exec sleep 1000') &", kind=Service.FORKING)
        unit.service.pid_file = str(pid_file)
        await bench.start(unit)
        assert (await bench.observe()).status.sub_state == "start"
        await bench.until_sub("running")

    play(body)


NOTIFY = """
import os, socket, sys, time
address = os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1)
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
time.sleep(0.2)
end.sendto(b"READY=1", address)
for _ in range(int(sys.argv[1])):
    time.sleep(0.1)
    end.sendto(b"WATCHDOG=1", address)
time.sleep(1000)
"""


def notifying(bench: Bench, pings: int) -> Unit:
    script = bench.root / "notify.py"
    script.write_text(NOTIFY)
    return make_unit(f"{sys.executable} -I -S {script} {pings}", kind=Service.NOTIFY)


def test_a_notifying_unit_is_up_when_it_says_so() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(notifying(bench, 0))
        assert (await bench.observe()).status.active_state == "activating"
        await bench.until_sub("running")

    play(body)


def test_the_watchdog_ends_a_unit_that_falls_silent() -> None:
    async def body(bench: Bench) -> None:
        unit = notifying(bench, 5)
        unit.service.time.watchdog = 0.4
        await bench.start(unit)
        await bench.until_sub("running")
        seen = await bench.until_sub("failed")
        assert (seen.status.result, seen.status.exit_status) == ("watchdog", signal.SIGABRT)

    play(body)


def test_nobody_else_can_notify_in_a_units_name() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("echo $NOTIFY_SOCKET; exec sleep 1000", kind=Service.NOTIFY)
        await bench.start(unit)
        await bench.until(lambda _: bench.log().strip() != "")
        from socket import AF_UNIX, SOCK_DGRAM, socket

        with socket(AF_UNIX, SOCK_DGRAM) as end:
            end.sendto(b"READY=1", bench.log().strip().replace("@", "\0", 1))
        await asyncio.sleep(0.2)
        assert (await bench.observe()).status.sub_state == "start"

    play(body)


def test_the_process_is_set_up_as_the_definition_says() -> None:
    async def body(bench: Bench) -> None:
        extra = bench.root / "env"
        extra.write_text("# comment\nFROM_FILE='a b'\nA=over\n")
        unit = shell("echo $A:$FROM_FILE:$N:$(umask):$(pwd):$(ulimit -n):$(nice); kill -0 $MAINPID; exec sleep 1000")
        unit.service.environment["A"] = "under"
        unit.service.environment["N"] = "%n %%"
        unit.service.environment_file.extend([str(extra), "-/nonexistent/env"])
        unit.service.umask = "0077"
        unit.service.nice = 5
        unit.service.working_directory = str(bench.root)
        unit.service.limits.open_files = 77
        await bench.start(unit)
        await bench.until(lambda _: "\n" in bench.log())
        assert bench.log().splitlines()[0] == f"over:a b:{NAME} %:0077:{bench.root}:77:5"

    play(body)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: run the tests as root in a container")
def test_the_user_and_group_are_those_of_the_definition() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("id -un; id -gn; echo $HOME; exec sleep 1000")
        unit.service.user, unit.service.group = "nobody", "daemon"
        await bench.start(unit)
        await bench.until(lambda _: bench.log().count("\n") == 3)
        assert bench.log().split() == ["nobody", "daemon", "/nonexistent"]

    play(body)


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("working_directory", "/nonexistent", 200),
        ("user", "nosuchuser", 217),
        ("group", "nosuchgroup", 216),
        ("standard_output", "append:/nonexistent/log", 209),
    ],
)
def test_what_cannot_be_set_up_ends_with_systemds_status_and_a_reason(field: str, value: str, status: int) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/true")
        setattr(unit.service, field, value)
        await bench.start(unit)
        seen = await bench.until_sub("failed")
        assert (seen.status.exit_code, seen.status.exit_status) == (1, status)
        assert value.rpartition(":")[2] in seen.reason

    play(body)


def test_a_missing_environment_file_fails_the_start_with_a_reason() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        unit.service.environment_file.append("/nonexistent/env")
        await bench.start(unit)
        seen = await bench.until_sub("failed")
        assert seen.status.result == "resources"
        assert "/nonexistent/env" in seen.reason

    play(body)


def test_stop_commands_know_the_main_process_and_how_it_ended() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("exec sleep 1000")
        unit.service.exec.stop.append("/bin/sh -c 'echo stop $MAINPID'")
        unit.service.exec.stop_post.append("/bin/sh -c 'echo post $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS'")
        await bench.start(unit)
        pid = (await bench.until_sub("running")).status.main_pid
        await bench.stop(unit)
        await bench.until_sub("dead")
        assert bench.log().splitlines() == [f"stop {pid}", "post success killed 15"]

    play(body)


def test_what_has_no_effect_is_said() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        unit.wants.append("graphical.target")
        unit.service.limits.memory_bytes = 1 << 30
        await bench.start(unit)
        message = (await bench.observe()).status.message
        assert message == "no effect without systemd: service.limits.memory_bytes, wants"

    play(body)


def test_specifiers_that_are_not_replaced_are_named_with_their_fields() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("echo %y%i %n %% $A; exec sleep 1000")
        unit.service.environment["A"] = "%d %U 100%%u"
        await bench.start(unit)
        await bench.until(lambda _: bench.log().strip() != "")
        assert bench.log().split() == ["%y", NAME, "%", "%d", str(os.getuid()), "100%u"]
        message = (await bench.observe()).status.message
        assert message == "not replaced without systemd: %d in service.environment.A, %y in service.exec.start"

    play(body)


def test_a_unit_that_prints_without_end_stays_within_its_bound_and_takes_requests() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/usr/bin/yes and so on")
        await bench.start(unit)
        await bench.until(lambda _: (bench.directory / f"log.{LOG_FILES - 1}").exists())
        for _ in range(200):
            assert sum(map(size_of, bench.directory.glob("log*"))) <= LOG_FILES * LOG_BYTES_MAX
            await asyncio.sleep(0.005)
        with UnitLogReader(str(bench.directory)) as reader:
            lines = reader.last(1000).split(b"\n")
            assert set(lines[1:-1]) == {b"and so on"}
            # The oldest file may begin, and the newest end, within a line.
            assert b"and so on".endswith(lines[0])
            assert b"and so on".startswith(lines[-1])
        await bench.stop(unit)
        await bench.until_sub("dead")

    play(body)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has just been renamed
        return 0


def test_what_a_unit_prints_last_is_in_its_log_when_it_is_down() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(shell("seq 1 200000; echo the end >&2"))
        await bench.until_sub("dead")
        assert bench.log().endswith("200000\nthe end\n")

    play(body)


def test_a_long_directory_is_no_hindrance() -> None:
    directory = Path(tempfile.mkdtemp(prefix="rube-supervisor-"))
    deep = directory / ("d" * 100) / ("e" * 100)

    async def main() -> None:
        bench = Bench(deep)
        await bench.start(notifying_at(deep))
        await bench.until_sub("running")
        await bench.apply(remove=UnitAction.Remove())

    def notifying_at(root: Path) -> Unit:
        root.mkdir(parents=True)
        (root / "notify.py").write_text(NOTIFY)
        return make_unit(f"{sys.executable} -I -S {root}/notify.py 0", kind=Service.NOTIFY)

    try:
        asyncio.run(main())
    finally:
        shutil.rmtree(directory)


def test_a_shim_is_small() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("/bin/sleep 1000"))
        await bench.until_sub("running")
        status = Path(f"/proc/{bench.shim_pid()}/status").read_text()
        (resident,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        assert int(resident) < 20_000

    play(body)


def test_sigterm_to_a_shim_stops_its_unit() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("/bin/sleep 1000"))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGTERM)
        assert (await bench.until_sub("dead")).status.exit_status == signal.SIGTERM
        assert not is_alive(pid)

    play(body)


def test_a_directory_that_cannot_be_written_is_an_error_that_names_it() -> None:
    async def main() -> None:
        bench = Bench(Path("/proc/rube"))
        with pytest.raises(FailedPreconditionError, match="/proc/rube"):
            await bench.start(make_unit("/bin/sleep 1000"))

    asyncio.run(main())


def test_a_shim_that_cannot_write_goes_on_and_tells_later() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("/bin/sleep 1000"))
        pid = (await bench.until_sub("running")).status.main_pid
        in_the_way = bench.directory / "state.json.new"
        in_the_way.mkdir()
        os.kill(pid, signal.SIGKILL)
        await bench.until(lambda _: "cannot write" in bench.shim_log())
        assert (await bench.observe()).status.sub_state == "running"
        in_the_way.rmdir()
        seen = await bench.until_sub("failed")
        assert (seen.status.result, seen.status.exit_status) == ("signal", signal.SIGKILL)

    play(body)


def test_nothing_is_started_that_no_account_can_be_kept_of() -> None:
    async def body(bench: Bench) -> None:
        marker = f"RUBE_TEST_MARKER={bench.root}"
        unit = make_unit("/bin/sleep 1000")
        unit.service.environment["RUBE_TEST_MARKER"] = str(bench.root)
        in_the_way = bench.directory / "state.json.new"
        in_the_way.mkdir(parents=True)
        with pytest.raises(FailedPreconditionError, match=r"supervisor .* ended with status 1: cannot write the state"):
            await bench.start(unit)
        assert "cannot write the state" in bench.shim_log()
        assert processes.marked(marker) == set()
        in_the_way.rmdir()
        await bench.start(unit)
        pid = (await bench.until_sub("running")).status.main_pid
        await bench.until(lambda _: processes.marked(marker) == {pid})  # once its program has begun

    play(body)


def test_what_a_shim_killed_at_once_has_started_is_found_by_the_next() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        unit.service.environment["RUBE_TEST_MARKER"] = str(bench.root)
        unit.service.exec.start_pre.append("/bin/sleep 1000")
        starting = asyncio.create_task(bench.start(unit))
        while not (started := processes.marked(f"RUBE_TEST_MARKER={bench.root}")):
            await asyncio.sleep(0)
        os.kill(bench.shim_pid(), signal.SIGKILL)
        await asyncio.wait([starting])
        unit.service.exec.ClearField("start_pre")
        await bench.apply(ensure=Ensure(spec=unit, uid="u", generation=1, run=Ensure.RESTART))
        pid = (await bench.until_sub("running")).status.main_pid
        await bench.until(lambda _: processes.marked(f"RUBE_TEST_MARKER={bench.root}") == {pid})
        assert pid not in started

    play(body)


def test_an_action_that_a_reboot_cut_off_is_carried_out_after_it() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        await bench.start(unit)
        await bench.stop(unit)
        await bench.until_sub("dead")
        state = json.loads((bench.directory / "state.json").read_text())
        next_id = f"action-{bench._actions + 1}"
        state.update(boot_id="an earlier one", state="running", request_id=next_id)
        (bench.directory / "state.json").write_text(json.dumps(state))
        (bench.directory / "request.json").write_text(json.dumps({"id": next_id, "verb": "start"}))
        await bench.start(unit)
        await bench.until_sub("running")

    play(body)


LONG = pytest.mark.parametrize("seconds", [30 * 86_400.0, 1e9, math.inf], ids=["month", "decades", "infinite"])


@LONG
def test_a_restart_is_waited_for_however_long(seconds: float) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/false")
        unit.service.restart = Service.ALWAYS
        unit.service.time.restart = seconds
        await bench.start(unit)
        await bench.until_sub("auto-restart")
        await asyncio.sleep(0.5)
        seen = await bench.observe()
        assert (seen.status.sub_state, seen.reason) == ("auto-restart", "")

    play(body)


@LONG
@pytest.mark.parametrize("field", ["limit", "timeout", "watchdog"])
def test_limits_of_time_may_be_however_long(field: str, seconds: float) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        setattr(unit.service.time, field, seconds)
        await bench.start(unit)
        first = (await bench.until_sub("running")).status.main_pid
        await asyncio.sleep(0.3)
        seen = await bench.observe()
        assert (seen.status.sub_state, seen.status.main_pid, seen.reason) == ("running", first, "")

    play(body)
