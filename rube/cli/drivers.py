"""Chooses the driver that runs a node's units."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rube.api.errors import FailedPreconditionError
from rube.distribution import install_command

if TYPE_CHECKING:
    from rube.controllers.driver import Driver
    from rube.host import Host

DRIVERS = ("auto", "systemd", "supervisor")


def choose_driver(name: str) -> str:
    """`auto` is systemd where this machine runs it, the extra is installed and units may be written."""
    if name != "auto":
        return name
    booted = Path("/run/systemd/system").is_dir()  # sd_booted(3)
    can = os.geteuid() == 0 and importlib.util.find_spec("dbus_fast") is not None
    return "systemd" if booted and can else "supervisor"


def make_driver(name: str, host: Host, data: Path, *, bus: str, unit_dir: str) -> Driver:
    """Returns the driver of that name; each imports only what it needs. Raises FailedPreconditionError for a missing
    extra."""
    if name == "supervisor":
        from rube.units.drivers.supervisor import SupervisorDriver

        return SupervisorDriver(host, str(data))
    if importlib.util.find_spec("dbus_fast") is None:
        raise FailedPreconditionError(f"the systemd driver needs dbus-fast: {install_command('systemd')}")
    from rube.units.drivers.dbus import DbusConfig, DbusDriver

    config = DbusConfig(bus_address=bus or None, unit_directory=unit_dir, state_directory=str(data / "units"))
    return DbusDriver(host, config)
