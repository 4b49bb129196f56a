"""The bus adapter without a bus."""

from __future__ import annotations

import asyncio
import sys

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import RealClock
from rube.units.drivers.dbus.bus import SystemdBus


def test_without_dbus_fast_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dbus_fast", None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'rube-plane\[systemd\]'"):
        asyncio.run(SystemdBus(RealClock(), None).connect())
