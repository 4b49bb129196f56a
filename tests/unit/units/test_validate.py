"""The mistakes of a unit, named by field."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rube.api import Condition, Service, Unit
from rube.api.errors import InvalidArgumentError
from rube.units.checks import unit_violations
from rube.units.checks.texts import ITEMS_MAX
from rube.units.validate import validate_unit


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


def _condition(type_name: str, value: str) -> Callable[[Unit], None]:
    return lambda unit: unit.condition.append(Condition(type=type_name, value=value))


def _environment(name: str, value: str) -> Callable[[Unit], None]:
    return lambda unit: unit.service.environment.update({name: value})


def _service(**fields: Any) -> Callable[[Unit], None]:
    """Returns what sets a whole service; `exec` is the one of its commands."""
    return lambda unit: unit.service.CopyFrom(Service(**fields))


def _stopping(**fields: Any) -> Callable[[Unit], None]:
    return _service(exec=Service.Exec(stop=["/bin/true"]), **fields)


_TRUE = Service.Exec(start=["/bin/true"])
_EXIT = Service.ExitStatus(force_restart=[1])
_SIGNAL = Service.ExitStatus(force_restart_signal=["SIGHUP"])


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
        (_service(exec=_TRUE, type=Service.ONESHOT, status=_EXIT), "service.status.force_restart"),
        (_service(exec=_TRUE, type=Service.ONESHOT, status=_SIGNAL), "service.status.force_restart_signal"),
        (_service(exec=_TRUE, type=Service.ONESHOT, restart=Service.ALWAYS), "service.restart"),
        (_service(exec=_TRUE, type=Service.ONESHOT, restart=Service.ON_SUCCESS), "service.restart"),
        (_service(exec=Service.Exec(start=["/bin/true ; /bin/false"])), "service.exec.start"),
        (lambda unit: unit.ClearField("service"), "service.exec.start"),
        (_stopping(), "service.remain_after_exit"),
        (_stopping(type=Service.SIMPLE, remain_after_exit=True), "service.exec.start"),
        (_stopping(bus_name="org.example.Name", remain_after_exit=True), "service.exec.start"),
        (_set("description", "50%zoom"), "description"),
        (_set("description", "\ufffe"), "description"),
        (_set("description", "x" * (1 << 20)), "description"),
        (_set("service.title", "a\x00"), "service.title"),
        (_set("service.exec.start_pre", ["/bin/echo %x"]), "service.exec.start_pre[0]"),
        (_set("service.exec.start_pre", ["/bin/echo " + "x" * (1 << 17)]), "service.exec.start_pre[0]"),
        (_set("service.exec.start_pre", [r"/bin/echo \xff"]), "service.exec.start_pre[0]"),
        (_set("service.exec.start_pre", ["/bin/true"] * 1001), "service.exec.start_pre"),
        (_set("service.exec.start_pre", ["/bin/true", " "]), "service.exec.start_pre[1]"),
        (_set("service.user", "a:b"), "service.user"),
        (_set("service.user", "4294967295"), "service.user"),
        (_set("service.group", "-1"), "service.group"),
        (_set("service.group", "-"), "service.group"),
        (_set("service.group", "007"), "service.group"),
        (_set("service.user", "a\tb"), "service.user"),
        (_set("service.bus_name", "nodots"), "service.bus_name"),
        (_set("service.slice", "system"), "service.slice"),
        (_set("service.umask", "10000"), "service.umask"),
        (_set("service.standard_output", "file:relative"), "service.standard_output"),
        (_set("service.standard_error", "jornal"), "service.standard_error"),
        (_set("service.standard_input", "append:/x"), "service.standard_input"),
        (_set("service.protect_system", "strickt"), "service.protect_system"),
        (_set("service.working_directory", "/" + "x" * 256), "service.working_directory"),
        (_set("service.root_directory", "here"), "service.root_directory"),
        (_set("service.runtime_directory", ["/run/x"]), "service.runtime_directory[0]"),
        (_set("service.state_directory", ["a/../b"]), "service.state_directory[0]"),
        (_set("service.state_directory", ["private/a"]), "service.state_directory[0]"),
        (_set("service.limits.memory_bytes", 0), "service.limits.memory_bytes"),
        (_set("service.limits.tasks", 0), "service.limits.tasks"),
        (_set("service.limits.cpu_percent", 30_000_000), "service.limits.cpu_percent"),
        (_set("after", ["getty@.service"]), "after[0]"),
        (_set("after", ["a" * 256 + ".target"]), "after[0]"),
        (_set("after", ["@a.service"]), "after[0]"),
        (_set("install.alias", ["a.target"]), "install.alias[0]"),
        (_condition("PathExist", "/x"), "condition[0].type"),
        (_condition("PathExists", "relative"), "condition[0].value"),
        (_condition("PathExists", "!"), "condition[0].value"),
        (_environment("A B", "x"), "service.environment['A B']"),
        (_environment("A", "%x"), "service.environment['A']"),
        (_environment("A", "\0"), "service.environment['A']"),
        (_environment("A", "x" * (1 << 17)), "service.environment['A']"),
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


@pytest.mark.parametrize(
    "change",
    [
        _set("service.pid_file", "/run/x.pid"),
        _set("service.pid_file", "x.pid"),
        _set("service.time.restart", math.inf),
        _set("service.kill.signal", "TERM"),
        _set("service.kill.signal", "SIGRTMIN+3"),
        _set("service.status.success_signal", ["15", "SIGPOLL"]),
        _set("service.umask", "00022"),
        _set("service.working_directory", "-~"),
        _set("service.working_directory", "%h/x"),
        _set("service.user", "DOMAIN\\\\user name"),
        _set("service.user", "%u"),
        _set("service.exec.start_pre", [r"/bin/echo \q %% %h 100% $1 ${"]),
        _set("service.exec.start_pre", ["%h/bin/x"]),
        _set("service.limits.open_files", 2**64 - 1),
        _set("service.standard_output", "append:%L/x.log"),
        _set("service.standard_input", "fd:x"),
        _set("description", "100% of 50%% in %H"),
        _set("after", ["getty@tty1.service", "dev-sda\\x2d1.device", "%p-x.service"]),
        _set("service.runtime_directory", ["a/b"]),
        _set("service.bus_name", "org.example.Name"),
        _service(exec=_TRUE, type=Service.DBUS, bus_name="org.example.Name", restart=Service.ALWAYS, status=_EXIT),
        _service(exec=Service.Exec(start=["/bin/true ; /bin/false", "/bin/true"]), type=Service.ONESHOT),
        _service(exec=_TRUE, type=Service.ONESHOT, restart=Service.ON_FAILURE),
        _stopping(remain_after_exit=True),
        _stopping(type=Service.ONESHOT, remain_after_exit=True),
        _condition("PathExists", "|!/x"),
        _condition("PathExistsGlob", "/x/*"),
        _environment("A", "tab\t newline\n bell\a 'quotes' \"double\" \\\\ $X"),
    ],
)
def test_what_systemd_takes_is_taken(change: Callable[[Unit], None]) -> None:
    unit = valid()
    change(unit)
    validate_unit(unit)


def test_all_that_is_wrong_is_named_at_once() -> None:
    unit = valid()
    unit.service.exec.start[:] = ["relative/x"]
    unit.service.nice = 40
    unit.service.user = "a/b"
    unit.wants.append("graphical")
    with pytest.raises(InvalidArgumentError) as caught:
        validate_unit(unit)
    for field in ("service.exec.start[0]", "service.nice", "service.user", "wants[0]"):
        assert field in caught.value.message
    assert caught.value.message.count(";") == 3


def test_what_is_named_is_bounded() -> None:
    unit = valid()
    unit.wants.extend(["nothing"] * 1000)
    with pytest.raises(InvalidArgumentError) as caught:
        validate_unit(unit)
    assert caught.value.message.endswith("; and 80 more")


def _lists(message: Message, path: str = "") -> Iterator[tuple[str, Message, FieldDescriptor]]:
    """Every list and map of a message and of those in it."""
    for field in message.DESCRIPTOR.fields:
        name = f"{path}.{field.name}" if path else field.name
        if field.is_repeated:
            yield name, message, field  # type: ignore[misc]  # two types of one descriptor
        elif field.message_type is not None and field.message_type.full_name.startswith("api."):
            yield from _lists(getattr(message, field.name), name)


@pytest.mark.parametrize("name", [name for name, _, _ in _lists(Unit())])
def test_every_list_and_map_of_a_unit_has_a_bound(name: str) -> None:
    unit = valid()
    message, field = next((message, field) for each, message, field in _lists(unit) if each == name)
    items = getattr(message, field.name)
    for number in range(ITEMS_MAX + 1):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            items[f"V{number}"] = "x"
        elif field.message_type is not None:
            items.add(type="Host", value="x")
        else:
            items.append(1 if field.cpp_type == field.CPPTYPE_INT32 else "a.service")
    assert name in {violation.field for violation in unit_violations(unit)}


@pytest.mark.parametrize(
    "line",
    [
        "/bin/echo " + "a " * 400_000,
        "/bin/echo" + " ; x" * 200_000,
        "/bin/echo " + "''" * 400_000,
        "/bin/echo " + r"\x41" * 200_000,
        "/bin/echo " + "$A" * 400_000,
        "%" * 1_000_000,
    ],
)
def test_what_is_hostile_takes_seconds_not_minutes(line: str) -> None:
    unit = valid()
    unit.service.exec.start_pre.append(line)
    start = time.process_time()
    unit_violations(unit)
    assert time.process_time() - start < 10
