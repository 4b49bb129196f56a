"""What a Unit must be before anything is done with it. Pure."""

from __future__ import annotations

import math
import re
import signal

from rube.api import systemd_pb2
from rube.api.errors import InvalidArgumentError
from rube.controllers.systemd.render import directives
from rube.controllers.systemd.service.commandline import CommandLineError, parse_commands

_Service = systemd_pb2.Service
_UNIT_TYPES = "service|socket|device|mount|automount|swap|target|path|timer|slice|scope"
_UNIT_NAME = re.compile(rf"[A-Za-z0-9:_.\\@%-]+\.({_UNIT_TYPES})\Z")
_UMASK = re.compile(r"[0-7]{1,4}\Z")
_UNIT_NAME_LISTS = (
    "wants",
    "requires",
    "requisite",
    "binds_to",
    "part_of",
    "conflicts",
    "before",
    "after",
    "on_failure",
)
_EXEC_LISTS = ("start", "start_pre", "start_post", "condition", "reload", "stop", "stop_post")
_ABSOLUTE = ("root_directory",)
NICE_MIN, NICE_MAX = -20, 19

__all__ = ["validate_unit"]


def validate_unit(unit: systemd_pb2.Unit) -> None:
    """Raises InvalidArgumentError, naming the first wrong field, for a unit that cannot be installed."""
    directives(unit)
    for field in _UNIT_NAME_LISTS:
        for index, name in enumerate(getattr(unit, field)):
            _unit_name(f"{field}[{index}]", name)
    for field in ("wanted_by", "required_by", "also", "alias"):
        for index, name in enumerate(getattr(unit.install, field)):
            _unit_name(f"install.{field}[{index}]", name)
    if unit.state not in systemd_pb2.Unit.State.values():
        raise _wrong("state", f"{unit.state} is no value of api.systemd.Unit.State")
    if unit.node_lost.HasField("move_after") and not 0 < unit.node_lost.move_after < math.inf:
        raise _wrong("node_lost.move_after", f"{unit.node_lost.move_after:g} is no number of seconds greater than 0")
    _validate_commands(unit.service)
    _validate_times(unit)
    _validate_status(unit.service)
    _validate_context(unit.service)


def _validate_commands(service: systemd_pb2.Service) -> None:
    commands = service.exec
    oneshot = service.type == _Service.ONESHOT
    for field in _EXEC_LISTS:
        for index, line in enumerate(getattr(commands, field)):
            try:
                parsed = parse_commands(line)
            except CommandLineError as error:
                raise _wrong(f"service.exec.{field}[{index}]", str(error)) from error
            if field == "start" and len(parsed) > 1 and not oneshot:
                raise _wrong(f"service.exec.{field}[{index}]", "only a unit of type ONESHOT has several commands")
    if not commands.start and not (commands.stop and (oneshot or not service.type)):
        raise _wrong("service.exec.start", "is missing: a service needs a command to run")
    if len(commands.start) > 1 and not oneshot:
        raise _wrong("service.exec.start", "has several commands: only a unit of type ONESHOT may")
    if not commands.start and not service.remain_after_exit:
        raise _wrong("service.remain_after_exit", "must be true where exec.start is missing")
    if oneshot and service.restart in (_Service.ALWAYS, _Service.ON_SUCCESS):
        raise _wrong("service.restart", "of a unit of type ONESHOT cannot be ALWAYS or ON_SUCCESS")
    if service.type == _Service.DBUS and not service.bus_name:
        raise _wrong("service.bus_name", "is missing: a unit of type DBUS needs one")
    if service.pid_file and service.type not in (_Service.FORKING, _Service.NOTIFY):
        raise _wrong("service.pid_file", "is used by units of type FORKING only")


def _validate_times(unit: systemd_pb2.Unit) -> None:
    time = unit.service.time
    named = [(f"service.time.{field.name}", float(value)) for field, value in time.ListFields()]
    if unit.start_limit.HasField("interval"):
        named.append(("start_limit.interval", unit.start_limit.interval))
    for field, value in named:
        if math.isnan(value) or value < 0:
            raise _wrong(field, f"{value!r} is not a number of seconds: use 0 or more")
    if math.isinf(time.restart):
        raise _wrong("service.time.restart", "cannot be infinite: use `restart: NO`")


def _validate_status(service: systemd_pb2.Service) -> None:
    status = service.status
    for field in ("success", "prevent_restart", "force_restart"):
        for index, code in enumerate(getattr(status, field)):
            if not 0 <= code <= 255:
                raise _wrong(f"service.status.{field}[{index}]", f"{code} is no exit status: use 0 to 255")
        for index, name in enumerate(getattr(status, f"{field}_signal")):
            _signal(f"service.status.{field}_signal[{index}]", name)
    if service.kill.signal:
        _signal("service.kill.signal", service.kill.signal)


def _validate_context(service: systemd_pb2.Service) -> None:
    if service.HasField("nice") and not NICE_MIN <= service.nice <= NICE_MAX:
        raise _wrong("service.nice", f"{service.nice} is not in {NICE_MIN} to {NICE_MAX}")
    if service.umask and not _UMASK.match(service.umask):
        raise _wrong("service.umask", f"{service.umask!r} is no octal mode such as 0022")
    directory = service.working_directory.removeprefix("-")
    if directory and directory != "~" and not directory.startswith(("/", "%")):
        raise _wrong("service.working_directory", f"{directory!r} is not an absolute path, nor ~")
    for field in _ABSOLUTE:
        value = getattr(service, field)
        if value and not value.startswith(("/", "%")):
            raise _wrong(f"service.{field}", f"{value!r} is not an absolute path")
    for index, path in enumerate(service.environment_file):
        if not path.removeprefix("-").startswith(("/", "%")):
            raise _wrong(f"service.environment_file[{index}]", f"{path!r} is not an absolute path")


def _unit_name(field: str, name: str) -> None:
    if not _UNIT_NAME.match(name):
        raise _wrong(field, f"{name!r} is no unit's name: end it in .service, .target or another unit type")


def _signal(field: str, name: str) -> None:
    if name not in signal.Signals.__members__:
        raise _wrong(field, f"{name!r} is no signal: use a name such as SIGTERM")


def _wrong(field: str, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {text}", field=field)
