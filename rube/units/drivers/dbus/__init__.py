"""The driver that runs units by systemd itself, over D-Bus. Needs the extra `rube-plane[systemd]` (dbus-fast)."""

from __future__ import annotations

from rube.units.drivers.dbus.driver import DbusConfig, DbusDriver

__all__ = ["DbusConfig", "DbusDriver"]
