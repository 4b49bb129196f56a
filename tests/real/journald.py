"""A real systemd-journald in a mount namespace of its own, and processes whose output it takes for a unit's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

JOURNALD = "/lib/systemd/systemd-journald"
_HIERARCHIES = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")
CGROUPS = next((path for path in map(Path, _HIERARCHIES) if path.is_dir()), Path("/"))
"""The directory in which journald looks up the unit of a process."""
UP_S_MAX = 20.0
_SETUP = f"""
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/systemd/units /run/log/journal
exec {JOURNALD}
"""


def missing() -> str:
    """The reason why there is none to be had here; empty if there is."""
    if os.geteuid() != 0:
        return "needs root, for a mount namespace"
    if not Path(JOURNALD).exists() or shutil.which("journalctl") is None or shutil.which("nsenter") is None:
        return "needs systemd-journald, journalctl and nsenter: apt-get install systemd util-linux"
    if not os.access(CGROUPS, os.W_OK):
        return f"needs a cgroup hierarchy that it may write: {CGROUPS}"
    return ""


class Journald:
    """`with Journald() as journald:` runs it; `journalctl` is the command that reads it."""

    def __enter__(self) -> Journald:
        self._process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", _SETUP], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._enter = ("nsenter", "-m", "-t", str(self._process.pid))
        self.journalctl = (*self._enter, "journalctl")
        self._cgroups: list[Path] = []
        until = time.monotonic() + UP_S_MAX
        while self._call("test", "-S", "/run/systemd/journal/stdout").returncode:
            assert time.monotonic() < until, "journald does not come up"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        for cgroup in self._cgroups:
            for pid in (cgroup / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            _remove(cgroup)

    def start(self, unit: str, script: str) -> tuple[subprocess.Popen[bytes], str]:
        """A shell script as that unit's process, and the id of this invocation. Its output goes to the journal."""
        cgroup = CGROUPS / "system.slice" / unit
        if not cgroup.exists():
            cgroup.mkdir(parents=True)
            self._cgroups.append(cgroup)
        invocation = uuid.uuid4().hex
        self._call("ln", "-sfn", invocation, f"/run/systemd/units/invocation:{unit}")
        joined = f"echo $$ > {cgroup}/cgroup.procs; exec systemd-cat -t test sh -c '{script}'"
        return subprocess.Popen([*self._enter, "sh", "-c", joined]), invocation

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._enter, *arguments], check=False, capture_output=True)


def _remove(cgroup: Path) -> None:
    """Once the processes in it are gone."""
    until = time.monotonic() + UP_S_MAX
    while True:
        try:
            return cgroup.rmdir()
        except OSError:
            assert time.monotonic() < until, f"{cgroup} is still in use"
            time.sleep(0.05)
