"""`rubelet --purge` says what it has removed, and removes what runs, whatever became of its files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api import Action, UnitAction
from rube.cli.local import RUBELET, local_cluster, run
from tests.real.cluster_calls import client_of, put, sleeper, status_of, until_active
from tests.real.supervisor_bench import Bench, Ensure, is_alive, make_unit

NAMES = [f"rube-test.u{number}.service" for number in range(3)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    directory = Path(tempfile.mkdtemp(prefix="rube-supervisor-"))
    bench = Bench(directory)

    async def start() -> None:
        for name in NAMES:
            action = Action(id=os.urandom(8).hex())
            ensure = Ensure(spec=make_unit("/bin/sleep 1000"), uid="u", generation=1, run=Ensure.START)
            action.action.Pack(UnitAction(unit=name, ensure=ensure))
            await bench.driver.apply(action)

    asyncio.run(start())
    yield bench
    purge(bench)
    shutil.rmtree(directory, ignore_errors=True)


def purge(bench: Bench) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rube.cli.rubelet", "--data", str(bench.root), "--driver", "supervisor", "--purge"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def sleepers(bench: Bench) -> list[int]:
    mark = f"RUBE_UNIT={bench.root}/units/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if is_alive(pid)]


def erase(directory: Path) -> None:
    """Removes the directory, in which a shim may write its state meanwhile."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
        if not directory.exists():
            return
    raise AssertionError(f"{directory} comes again and again")


@pytest.mark.parametrize("lost", ["nothing", "definition", "state", "directory", "all", "shim and directory"])
def test_all_units_are_found_and_counted(bench: Bench, lost: str) -> None:
    directory = bench.root / "units" / NAMES[1]
    if lost == "definition":
        (directory / "unit.json").unlink()
    elif lost == "state":
        (directory / "state.json").write_text("{}")
    elif lost == "shim and directory":
        bench.directory = directory
        os.kill(bench.shim_pid(), signal.SIGKILL)
        shutil.rmtree(directory)
    elif lost in ("directory", "all"):
        erase(directory if lost == "directory" else bench.root / "units")
    end = time.monotonic() + 10
    while len(sleepers(bench)) < 3 and time.monotonic() < end:
        time.sleep(0.05)  # a unit runs once it is forked, before it is the program
    assert len(sleepers(bench)) == 3
    ran = purge(bench)
    assert (ran.returncode, ran.stdout) == (0, "rubelet: 3 units removed\n"), ran.stderr
    assert sleepers(bench) == []
    assert purge(bench).stdout == "rubelet: 0 units removed\n"


def test_what_could_not_be_removed_is_named_with_the_reason(bench: Bench) -> None:
    path = bench.root / "units" / NAMES[1]
    shim = next(pid for pid in shims(bench) if str(path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(shim, signal.SIGKILL)
    (path / "request.json.new").mkdir()
    if os.geteuid() != 0:
        pytest.skip("makes a file immutable: run as root")
    if subprocess.run(["chattr", "+i", path / "lock"], check=False, capture_output=True).returncode:
        pytest.skip("needs a file system with immutable files (chattr +i)")
    try:
        ran = purge(bench)
    finally:
        subprocess.run(["chattr", "-i", path / "lock"], check=True)
    assert ran.returncode == 1
    assert "2 units removed, and these are still there: " in ran.stderr
    assert NAMES[1] in ran.stderr
    assert "lock" in ran.stderr
    assert sleepers(bench) == [], "what runs of it is ended all the same"


def shims(bench: Bench) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "rube-shim\n":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_purge_beside_a_running_rubelet_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet("worker-1")
            unit = sleeper("web")
            unit.metadata.labels["node"] = "worker-1"
            await put(client, unit)
            await until_active(client, "web")
            data = str(cluster.node_directory("worker-1"))
            code, text = await run([*RUBELET, "--data", data, "--driver", "supervisor", "--purge"])
            assert code == 1, text
            assert "rubelet.db is in use by another process: stop it" in text
            assert (await status_of(client, "web")).active_state == "active"

    asyncio.run(main())
