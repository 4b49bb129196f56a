"""What is wrong with a unit is said by field."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from rube.api.errors import InvalidArgumentError
from rube.api.systemd_pb2 import Service, Unit
from rube.controllers.systemd.validate import validate_unit


def valid() -> Unit:
    unit = Unit()
    unit.service.exec.start.append("/bin/true")
    return unit


def test_a_small_unit_is_valid() -> None:
    validate_unit(valid())


def _set(path: str, value: object) -> Callable[[Unit], None]:
    def change(unit: Unit) -> None:
        *parents, last = path.split(".")
        message: object = unit
        for parent in parents:
            message = getattr(message, parent)
        if isinstance(value, list):
            getattr(message, last).extend(value)
        else:
            setattr(message, last, value)

    return change


def _no_start(unit: Unit) -> None:
    del unit.service.exec.start[:]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_no_start, "service.exec.start"),
        (_set("service.exec.start", ["/bin/false"]), "service.exec.start"),
        (_set("service.exec.start_pre", ["relative/path"]), "service.exec.start_pre[0]"),
        (_set("service.exec.stop", ['echo "open']), "service.exec.stop[0]"),
        (_set("service.type", 99), "service.type"),
        (_set("service.restart", 99), "service.restart"),
        (_set("service.kill.mode", 99), "service.kill.mode"),
        (_set("state", 99), "state"),
        (_set("service.time.restart", -1.0), "service.time.restart"),
        (_set("service.time.restart", math.inf), "service.time.restart"),
        (_set("service.time.limit", math.nan), "service.time.limit"),
        (_set("service.time.watchdog", 1e12), "service.time.watchdog"),
        (_set("start_limit.interval", -0.5), "start_limit.interval"),
        (_set("service.status.success", [256]), "service.status.success[0]"),
        (_set("service.status.prevent_restart_signal", ["SIGNOPE"]), "service.status.prevent_restart_signal[0]"),
        (_set("service.kill.signal", "TERM "), "service.kill.signal"),
        (_set("service.nice", 20), "service.nice"),
        (_set("service.umask", "9"), "service.umask"),
        (_set("service.working_directory", "here"), "service.working_directory"),
        (_set("service.environment_file", ["env"]), "service.environment_file[0]"),
        (_set("service.type", Service.DBUS), "service.bus_name"),
        (_set("service.pid_file", "/run/x.pid"), "service.pid_file"),
        (_set("wants", ["graphical"]), "wants[0]"),
        (_set("install.wanted_by", ["multi user.target"]), "install.wanted_by[0]"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[Unit], None], field: str) -> None:
    unit = valid()
    change(unit)
    with pytest.raises(InvalidArgumentError) as caught:
        validate_unit(unit)
    assert caught.value.metadata["field"] == field
    assert caught.value.message.startswith(field)


def test_a_oneshot_may_have_several_commands_but_no_restart_always() -> None:
    unit = valid()
    unit.service.type = Service.ONESHOT
    unit.service.exec.start.append("/bin/false")
    validate_unit(unit)
    unit.service.restart = Service.ALWAYS
    with pytest.raises(InvalidArgumentError, match=r"service\.restart"):
        validate_unit(unit)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_unit_moves_after_a_time_that_can_be(seconds: float) -> None:
    unit = valid()
    unit.node_lost.move_after = seconds
    with pytest.raises(InvalidArgumentError) as caught:
        validate_unit(unit)
    assert "node_lost.move_after" in caught.value.message
