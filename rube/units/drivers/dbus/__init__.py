"""systemd itself as the unit controller's hands, over D-Bus. Needs the extra `rube-plane[systemd]` (dbus-fast)."""

from rube.units.drivers.dbus.driver import DbusConfig, DbusDriver

__all__ = ["DbusConfig", "DbusDriver"]
