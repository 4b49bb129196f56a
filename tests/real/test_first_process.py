"""A daemon as the first process of a container: its orphans are reaped, its signals heard, its boot its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rube.units.boot import boot_identity, is_same_boot
from tests.real.test_daemon_streams import WAIT_S_MAX, daemons, until

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]


def may_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not may_unshare(), reason="needs new PID namespaces: run the tests as root, with CAP_SYS_ADMIN"
)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_rubelet_as_process_1_reaps_orphans_and_ends_at_sigterm(tmp_path: Path) -> None:
    command, socket = daemons(tmp_path)["rubelet"]
    process = subprocess.Popen([*UNSHARE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(socket.exists, "it serves")
        (first,) = children_of(process.pid)
        enter = ["nsenter", "-t", str(first), "-p"]
        subprocess.run([*enter, "sh", "-c", "(sleep 0.3 &) ; (sleep 0.4 &)"], check=True)
        until(lambda: len(children_of(first)) == 3, "the orphans are its children")
        until(lambda: len(children_of(first)) == 1, "they are reaped")
        os.kill(first, signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("ending", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)])
def test_the_first_process_ends_as_the_daemon_does(ending: str, status: int) -> None:
    code = f"import os, sys\nfrom rube.cli.first_process import leave_first_process\nleave_first_process()\n{ending}\n"
    assert subprocess.run([*UNSHARE, sys.executable, "-c", code], check=False).returncode == status


def test_a_process_that_is_not_the_first_stays_what_it_is() -> None:
    code = "import os\nfrom rube.cli.first_process import leave_first_process\nbefore = os.getpid()\n"
    code += "leave_first_process()\nassert os.getpid() == before\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_container_that_is_started_again_is_another_boot() -> None:
    code = "from rube.units.boot import boot_identity\nprint(boot_identity())"
    seen = []
    for _ in range(2):
        ran = subprocess.run([*UNSHARE, sys.executable, "-c", code], check=True, capture_output=True, text=True)
        seen.append(ran.stdout.strip())
        time.sleep(0.05)  # clock ticks are hundredths of a second
    first, second = seen
    assert first.partition("/")[0] == second.partition("/")[0], "the kernel's word is the same"
    assert not is_same_boot(first, second)
    assert not is_same_boot(first, boot_identity())
