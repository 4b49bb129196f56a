"""A real systemd's reading of environment files and command lines: many of them at once, each in a unit of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.real.systemd_manager import SystemdManager

WAIT_S_MAX = 60.0
BATCH_MAX = 200

_DEFINITION = """\
[Service]
Type=oneshot
StandardOutput=append:{directory}/{name}.out
StandardError=null
StartLimitIntervalSec=0
{lines}
"""


def outputs(manager: SystemdManager, directory: Path, definitions: Sequence[Sequence[bytes]]) -> list[bytes | None]:
    """The output of each unit; None where systemd refused it or its start failed. A definition: lines of [Service]."""
    found: list[bytes | None] = []
    for start in range(0, len(definitions), BATCH_MAX):
        found += _batch(manager, directory, definitions[start : start + BATCH_MAX])
    return found


def _batch(manager: SystemdManager, directory: Path, definitions: Sequence[Sequence[bytes]]) -> list[bytes | None]:
    names = [f"printer-{index}" for index in range(len(definitions))]
    for name, lines in zip(names, definitions, strict=True):
        head = _DEFINITION.format(directory=directory, name=name, lines="").encode()
        (manager.unit_directory / f"{name}.service").write_bytes(head + b"\n".join(lines) + b"\n")
        (directory / f"{name}.out").unlink(missing_ok=True)
    manager.call("Reload")
    systemctl(manager, "start", *(f"{name}.service" for name in names))
    failed = {
        line.split()[0] for line in systemctl(manager, "list-units", "--failed", "--plain", "--no-legend").splitlines()
    }
    systemctl(manager, "reset-failed")
    found: list[bytes | None] = []
    for name in names:
        out = directory / f"{name}.out"
        found.append(out.read_bytes() if out.exists() and f"{name}.service" not in failed else None)
        (manager.unit_directory / f"{name}.service").unlink()
    return found


def systemctl(manager: SystemdManager, *arguments: str) -> str:
    """The output of systemctl; it may fail, as some units are meant to."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "DBUS_SESSION_BUS_ADDRESS": manager.bus_address,
        "XDG_RUNTIME_DIR": str(Path(manager.bus_address.removeprefix("unix:path=")).parent),
    }
    done = subprocess.run(
        ["systemctl", "--user", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
        env=environment,
    )
    return done.stdout.rstrip("\n")
