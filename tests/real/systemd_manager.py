"""A real systemd for tests, on a machine that runs another init: a user manager with a bus and directories of its own.

It runs in mount and control-group namespaces of its own, so that nothing of the machine is touched, and everything it
ever started is in one control group, which is killed at the end. Needs root, Linux 5.14, and Debian's packages
`systemd`, `dbus-user-session` and `util-linux`. Units go to `unit_directory`; pids are the machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
INSTALL = "apt install systemd dbus-user-session util-linux (as root)"
START_S_MAX = 15.0
STOP_S_MAX = 5.0
POLL_S = 0.02

_OUTER = """
mount -t cgroup2 none "$RUBE_DIR/cg"
mkdir -p "$RUBE_DIR/cg/$RUBE_GROUP"
echo $$ > "$RUBE_DIR/cg/$RUBE_GROUP/cgroup.procs"
umount "$RUBE_DIR/cg"
exec unshare --mount --cgroup --propagation private sh -euc "$RUBE_INNER"
"""
_INNER = """
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/systemd/system
mount -t cgroup2 none /sys/fs/cgroup
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$RUBE_DIR/home" XDG_RUNTIME_DIR="$RUBE_DIR/run" \
  SYSTEMD_LOG_TARGET=console SYSTEMD_UNIT_PATH="$RUBE_DIR/home/.config/systemd/user:/usr/lib/systemd/user" \
  /lib/systemd/systemd --user --unit=basic.target
"""
_KILL = """
mount -t cgroup2 none "$RUBE_DIR/cg"
group="$RUBE_DIR/cg/$RUBE_GROUP"
[ -d "$group" ] || exit 0
echo 1 > "$group/cgroup.kill"
for _ in $(seq 200); do grep -q "populated 0" "$group/cgroup.events" && break; sleep 0.01; done
find "$group" -depth -type d -exec rmdir {} +
"""


def missing() -> str:
    """The reason why a systemd cannot be started here, with the remedy; empty if it can."""
    if os.geteuid() != 0:
        return "needs root: run the tests as root in a container"
    absent = [name for name in ("unshare", "dbus-daemon", "busctl") if shutil.which(name) is None]
    if absent or not SYSTEMD.exists():
        return f"needs systemd and dbus: {INSTALL}"
    return ""


class SystemdManager:
    """`with SystemdManager() as manager:` gives a systemd that answers on `bus_address`."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="rube-systemd-"))
        self._group = f"rube-test-{self._directory.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self.bus_address = f"unix:path={self._directory}/run/bus"
        self.unit_directory = self._directory / "home/.config/systemd/user"
        self.state_directory = self._directory / "state"

    def __enter__(self) -> SystemdManager:
        for path in (self._directory / "run", self._directory / "cg", self.unit_directory):
            path.mkdir(parents=True)
        (self._directory / "run").chmod(0o700)
        with (self._directory / "systemd.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-euc", _OUTER],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-uc", _KILL], env=self._environment(), check=False
        )
        if self._process is not None:
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def call(self, *arguments: str) -> str:
        """The output of `busctl` for a call to the manager, such as `Reload`."""
        target = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
        done = subprocess.run(
            ["busctl", f"--address={self.bus_address}", "call", *target, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "RUBE_DIR": str(self._directory),
            "RUBE_GROUP": self._group,
            "RUBE_INNER": _INNER,
        }

    def _wait_until_up(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_S_MAX
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                self.call("Subscribe")
            except subprocess.CalledProcessError:
                time.sleep(POLL_S)
            else:
                return
        raise RuntimeError(f"systemd did not come up: {(self._directory / 'systemd.log').read_text()}")
