"""The units that Rube ships, as a real systemd runs them: a user manager, which can't do their sandboxes' part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.cli.systemd_units import UNITS, install_units
from tests.real.systemd_manager import SystemdManager, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

BIN = Path(sys.executable).parent
RESTART_S_MAX = 60.0
EXPOSURE_MAX = {"rubeapiserver": 15, "rubelet": 40}
"""The sandboxes' scores from 0, everything is closed, to 10: the rubelet is root and needs systemd."""
DROP_IN = """
[Service]
DynamicUser=no
CapabilityBoundingSet=~
PrivateUsers=no
ProtectHome=no
ProtectSystem=no
PrivateTmp=no
StateDirectory=
RuntimeDirectory=
ReadWritePaths=
ProtectClock=no
ProtectHostname=no
ProtectKernelLogs=no
ProtectKernelModules=no
ProtectKernelTunables=no
WatchdogSec=5
ExecStart=
ExecStart={command}
"""
"""Resets of what a user manager can't give, and other places for the files of the daemons."""


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    with SystemdManager() as found:
        yield found


class Systemctl:
    """`systemctl --user` of the manager."""

    def __init__(self, manager: SystemdManager) -> None:
        runtime = Path(manager.bus_address.removeprefix("unix:path=")).parent
        self._environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "DBUS_SESSION_BUS_ADDRESS": manager.bus_address,
        }

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["systemctl", "--user", "--no-pager", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        return self("show", "--value", "--property", name, unit)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    paths = install_units(tmp_path, UNITS, BIN)
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_a_daemon_is_closed_off_as_far_as_its_work_allows(unit: str, tmp_path: Path) -> None:
    (path,) = install_units(tmp_path, [unit], BIN)
    threshold = f"--threshold={EXPOSURE_MAX[unit]}"
    command = ["systemd-analyze", "security", "--offline=true", threshold, "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_daemon_is_up_when_it_is_ready_and_replaced_when_it_hangs(
    unit: str, manager: SystemdManager, tmp_path: Path
) -> None:
    command = {
        "rubeapiserver": f"{BIN}/rube apiserver --store sqlite:///{tmp_path}/store.db --listen 127.0.0.1:0",
        "rubelet": f"{BIN}/rubelet --server 127.0.0.1:1 --node worker-1 --data {tmp_path}/node --driver supervisor",
    }
    systemctl = Systemctl(manager)
    (path,) = install_units(manager.unit_directory, [unit], BIN)
    drop_in = path.with_name(f"{path.name}.d") / "test.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(DROP_IN.format(command=command[unit]))
    systemctl("daemon-reload")

    systemctl("start", unit)  # returns when the daemon has said that it is ready
    assert systemctl.show(unit, "ActiveState") == "active"
    assert "listening on" in systemctl.show(unit, "StatusText")
    hanging = systemctl.show(unit, "MainPID")
    systemctl("kill", "--signal=STOP", unit)
    until = time.monotonic() + RESTART_S_MAX
    while int(systemctl.show(unit, "NRestarts")) < 1 or systemctl.show(unit, "ActiveState") != "active":
        assert time.monotonic() < until, systemctl("status", unit)
        time.sleep(0.1)
    assert systemctl.show(unit, "MainPID") != hanging

    systemctl("stop", unit)
    assert systemctl.show(unit, "Result") == "success"
