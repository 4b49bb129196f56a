"""Attributes that are inherited unasked from the rubelet's starter, and the limits of its user."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rube.api import Service
from rube.api.errors import FailedPreconditionError
from tests.real.supervisor_bench import Bench, is_alive, make_unit, play, shell

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: run the tests as root in a container")

STARTER = """
import asyncio, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.real.supervisor_bench import Bench, shell
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGALRM):
    signal.signal(number, signal.SIG_IGN)
os.umask(0o777 & ~0o700)
os.nice(7)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
os.environ["SECRET_OF_THE_SHELL"] = "1"
os.dup2(1, 77, inheritable=True)
os.chdir("/tmp")
script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; pwd; nice; ulimit -n; ulimit -f; "
script += "ls /proc/self/fd; env; exec sleep 1000"
asyncio.run(Bench(Path(sys.argv[1])).start(shell(script)))
os._exit(0)
"""


def test_nothing_of_the_shell_that_started_the_rubelet_comes_to_a_unit() -> None:
    async def body(bench: Bench) -> None:
        root = str(Path(__file__).parents[2])
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTER, str(bench.root), root)
        assert await process.wait() == 0
        bench._actions += 1
        await bench.until(lambda _: "INVOCATION_ID" in bench.log())
        lines = bench.log().splitlines()
        masks = dict(line.split() for line in lines[:2])
        assert int(masks["SigBlk:"], 16) == 0
        settable = sum(1 << (number - 1) for number in signal.valid_signals())
        ignored = int(masks["SigIgn:"], 16) & settable
        assert ignored == 1 << (signal.SIGPIPE - 1), "as systemd's IgnoreSIGPIPE= is by default"
        umask, pwd, nice, files, size = lines[2:7]
        assert (umask, pwd, files) == ("0022", "/", "1024")
        if os.geteuid() == 0:
            assert (nice, size) == ("0", "unlimited")
        variables = [line for line in lines if "=" in line]
        names = {line.split("=")[0] for line in variables} - {"PWD", "OLDPWD", "SHLVL", "_"}
        assert names == {"PATH", "LANG", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "RUBE_UNIT"}
        handles = {int(line) for line in lines[7:] if line.isdigit()}
        assert handles <= {0, 1, 2, 3}, "3 is ls's own"
        # The shim hears of its children, and of a stop.
        seen = await bench.until_sub("running")
        os.kill(seen.status.main_pid, signal.SIGKILL)
        await bench.until_sub("failed")

    play(body)


def test_a_shim_from_a_shell_that_blocks_signals_stops_its_unit_at_sigterm() -> None:
    async def body(bench: Bench) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1})
        try:
            await bench.start(make_unit("/bin/sleep 1000"))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGTERM)
        assert (await bench.until_sub("dead")).status.exit_status == signal.SIGTERM
        assert not is_alive(pid)

    play(body)


@needs_root
def test_a_limit_above_the_machines_is_lowered_as_systemd_does_and_said() -> None:
    async def body(bench: Bench) -> None:
        most = int(Path("/proc/sys/fs/nr_open").read_text())
        unit = shell("ulimit -n; exec sleep 1000")
        unit.service.limits.open_files = most + 1
        await bench.start(unit)
        seen = await bench.until(lambda seen: bench.log() != "" and "lowered" in seen.status.message)
        assert int(bench.log()) <= most
        assert f"limits.open_files is lowered from {most + 1} to {bench.log().strip()}" in seen.status.message
        assert seen.status.sub_state == "running"

    play(body)


@needs_root
def test_a_unit_of_another_user_prints_and_opens_its_output_by_name() -> None:
    async def body(bench: Bench) -> None:
        unit = shell("echo one; echo two > /dev/stdout; echo three > /dev/stderr; exec sleep 1000")
        unit.service.user = "nobody"
        await bench.start(unit)
        await bench.until(lambda _: bench.log() == "one\ntwo\nthree\n")

    play(body)


WITH_CAPABILITIES = """
import asyncio, ctypes, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from rube.units.drivers.supervisor.privileges import _Header, _LIBC, _Sets, _VERSION_3, _call
from tests.real.supervisor_bench import Bench, shell

os.setgroups([0, 4, 27])
header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
_call(_LIBC.capget, ctypes.byref(header), sets)
for each in sets:
    each.inheritable = each.permitted
_call(_LIBC.capset, ctypes.byref(header), sets)
_call(_LIBC.prctl, 47, 2, 5, 0, 0)  # an ambient CAP_KILL
secret = os.open("/etc/shadow", os.O_RDONLY)
os.set_inheritable(secret, True)
unit = shell("umask; cat /proc/self/status; ls /proc/self/fd; echo END; exec sleep 1000")
unit.service.user, unit.service.umask = sys.argv[3], "027"
if sys.argv[4]:
    unit.service.no_new_privileges = True
asyncio.run(Bench(Path(sys.argv[1])).start(unit))
os._exit(0)
"""


@needs_root
@pytest.mark.parametrize(("user", "no_new_privileges"), [("", ""), ("nobody", ""), ("nobody", "yes")])
def test_a_unit_has_the_rights_of_its_user_alone(user: str, no_new_privileges: str) -> None:
    async def body(bench: Bench) -> None:
        root = str(Path(__file__).parents[2])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WITH_CAPABILITIES, str(bench.root), root, user, no_new_privileges
        )
        assert await process.wait() == 0
        bench._actions += 1
        await bench.until(lambda _: "END" in bench.log())
        lines = bench.log().splitlines()
        status = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines if ":" in line}
        found = pwd.getpwnam(user or "root")
        assert lines[0] == "0027"
        assert status["Uid"] == [str(found.pw_uid)] * 4
        assert status["Gid"] == [str(found.pw_gid)] * 4
        groups = {str(each) for each in os.getgrouplist(user, found.pw_gid)} if user else set()
        assert set(status["Groups"]) == groups
        assert {int(status[name][0], 16) for name in ("CapInh", "CapAmb")} == {0}
        rights = {int(status[name][0], 16) for name in ("CapPrm", "CapEff")}
        assert rights == {0 if user else int(status["CapBnd"][0], 16)}
        assert status["NoNewPrivs"] == ["1" if no_new_privileges else "0"]
        assert {int(line) for line in lines if line.isdigit() and line != lines[0]} <= {0, 1, 2, 3}, "3 is ls's own"

    play(body)


@pytest.mark.parametrize(
    ("field", "value"), [("root_directory", "/srv"), ("protect_system", "strict"), ("private_tmp", True)]
)
def test_a_unit_that_would_be_less_confined_is_refused(field: str, value: object) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        setattr(unit.service, field, value)
        with pytest.raises(FailedPreconditionError, match=f"service.{field}: the supervisor of this node cannot"):
            await bench.start(unit)
        unit.service.ClearField(field)  # type: ignore[arg-type]
        unit.service.protect_system = "no"
        await bench.start(unit)
        await bench.until_sub("running")

    play(body)


WITHOUT_THE_RIGHT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.real.supervisor_bench import Bench, Ensure, make_unit

async def main():
    bench = Bench(Path(sys.argv[1]))
    unit = make_unit("/bin/sleep 1000")
    unit.service.user = "nobody"
    unit.service.time.stop_timeout = 0.3
    await bench.start(unit)
    pid = (await bench.until_sub("running")).status.main_pid
    await bench.until(lambda _: Path(f"/proc/{pid}/comm").read_text() == "sleep\\n")
    if sys.argv[3] == "restart":
        del unit.service.exec.start[:]
        unit.service.exec.start.append("/bin/sleep 2000")
        await bench.apply(ensure=Ensure(spec=unit, uid="u", generation=2, run=Ensure.RESTART))
    else:
        await bench.stop(unit)
    seen = await bench.until(lambda seen: seen.error and seen.status.sub_state == "final-sigkill")
    await asyncio.sleep(1)  # three times the time that a stop is given
    print(pid, seen.error)

asyncio.run(main())
"""


def left_beside(tmp_path: Path, way: str) -> tuple[int, str]:
    """A unit's process that its supervisor was not allowed to end, and what the driver said of it."""
    root = str(Path(__file__).parents[2])
    command = ["setpriv", "--bounding-set=-kill", sys.executable, "-c", WITHOUT_THE_RIGHT, str(tmp_path), root, way]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    pid, said = ran.stdout.strip().split(" ", 1)
    return int(pid), said


needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv: apt install util-linux")


@needs_root
@needs_setpriv
@pytest.mark.parametrize("way", ["stop", "restart"])
def test_a_process_that_may_not_be_signalled_is_named_and_nothing_starts_beside_it(tmp_path: Path, way: str) -> None:
    """A set-uid program is such; here the supervisor is root without the right to kill."""
    pid, said = left_beside(tmp_path, way)
    uid = pwd.getpwnam("nobody").pw_uid
    assert said == (
        f"process {pid} (sleep, uid {uid}) may not be signalled by the rubelet, which runs as uid 0: end it as root "
        f"(kill -9 {pid}), or run the rubelet as root"
    )
    assert is_alive(pid)

    async def after() -> None:
        bench = Bench(tmp_path)
        seen = await bench.observe()
        assert (seen.status.sub_state, seen.status.main_pid) == ("final-sigkill", pid)
        os.kill(pid, signal.SIGKILL)
        if way == "restart":
            seen = await bench.until_sub("running")
            assert (seen.status.main_pid != pid, seen.error) == (True, "")
            os.kill(seen.status.main_pid, signal.SIGKILL)  # the shim may not
        else:
            assert not (await bench.until_sub("failed", "dead")).error
        bench._actions = 100
        await bench.remove()

    asyncio.run(after())


@needs_root
@needs_setpriv
def test_a_supervisor_that_takes_over_names_what_it_may_not_end(tmp_path: Path) -> None:
    pid, _ = left_beside(tmp_path, "restart")

    async def after() -> None:
        bench = Bench(tmp_path)
        os.kill(bench.shim_pid(), signal.SIGKILL)
        async with bench.following():
            await bench.until(lambda seen: seen.status.main_pid not in (0, pid))  # this one may kill
        assert not is_alive(pid)
        bench._actions = 100
        await bench.remove()

    asyncio.run(after())


@pytest.mark.parametrize(
    ("kind", "value", "starts"),
    [
        ("PathExists", "/etc/passwd", True),
        ("PathExists", "!/etc/passwd", False),
        ("PathExistsGlob", "/etc/pass*", True),
        ("FileNotEmpty", "/dev/null", False),
    ],
)
def test_a_condition_that_does_not_hold_skips_the_start_and_is_said(kind: str, value: str, starts: bool) -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        unit.service.restart = Service.ALWAYS
        unit.condition.add(type=kind, value=value)
        await bench.start(unit)
        if starts:
            await bench.until_sub("running")
            return
        seen = await bench.until_sub("dead")
        assert (seen.status.active_state, seen.status.result) == ("inactive", "success")
        assert seen.status.message == f"not started: the condition Condition{kind}={value} does not hold"

    play(body)


def test_an_assertion_that_does_not_hold_is_said_and_judged_again_at_the_next_start() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("/bin/sleep 1000")
        condition = unit.condition.add(type="PathExists", value=str(bench.root / "there"))
        setattr(condition, "assert", True)
        await bench.start(unit)
        seen = await bench.until_sub("dead")
        assert seen.status.message == f"not started: the assertion AssertPathExists={bench.root}/there does not hold"
        (bench.root / "there").touch()
        await bench.start(unit)
        await bench.until_sub("running")

    play(body)
