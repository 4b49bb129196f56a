"""The shim's launch plan of a Unit, computed once by a process that has protobuf. Pure.

Fields that the supervisor has no effect for are left out of the plan and named in `unsupported`, which the status
shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rube.api import Service, StartLimit, Unit
from rube.api.times import NS_PER_S
from rube.units.drivers.supervisor.conditions import JUDGED
from rube.units.drivers.supervisor.records import Plan, StartCondition
from rube.units.drivers.supervisor.spawn import LIMITS
from rube.units.service.commandline import CommandLine, parse_commands
from rube.units.service.policy import Policy, StatusSet
from rube.units.service.signals import signal_number
from rube.units.service.specifiers import replace_specifiers, specifiers_in, specifiers_of_name

_Service = Service
EXEC_LISTS = ("condition", "start_pre", "start", "start_post", "stop", "stop_post")
DEPENDENCIES = (
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
_UNSUPPORTED_TEXT = ("root_directory", "protect_system", "slice", "bus_name", "syslog_identifier")
_UNSUPPORTED_LISTS = ("runtime_directory", "state_directory")
_UNSUPPORTED_FLAGS = ("private_tmp",)
_STREAMS = ("null", "file:", "append:", "truncate:")
_TYPES = {
    _Service.SIMPLE: "simple",
    _Service.EXEC: "exec",
    _Service.FORKING: "forking",
    _Service.ONESHOT: "oneshot",
    _Service.NOTIFY: "notify",
    _Service.IDLE: "simple",
    _Service.DBUS: "exec",
}
_SPECIFIED = (
    "pid_file",
    "user",
    "group",
    "working_directory",
    "standard_input",
    "standard_output",
    "standard_error",
)
_NO = ("", "no", "false", "off", "n", "f", "0")
UMASK_DEFAULT = 0o022


def plan_of(name: str, unit: Unit, *, machine: Mapping[str, str]) -> Plan:
    """Returns the plan for the unit called `name`; `machine` has the values of specifiers that don't follow from the
    name.

    Raises InvalidArgumentError or CommandLineError for a bad definition.
    """
    service = unit.service
    specifiers = {**machine, **specifiers_of_name(name)}
    commands = {each: _commands(getattr(service.exec, each), specifiers) for each in EXEC_LISTS}
    texts = {each: replace_specifiers(getattr(service, each), specifiers) for each in _SPECIFIED}
    if texts["pid_file"] and not texts["pid_file"].startswith("/"):
        texts["pid_file"] = f"/run/{texts['pid_file']}"
    for each in ("standard_input", "standard_output", "standard_error"):
        texts[each] = _stream(texts[each])
    return Plan(
        policy=policy_of(
            unit, {each: [bool(line.ignore_failure) for line in lines] for each, lines in commands.items()}
        ),
        commands={
            each: tuple((line.program, line.arguments, line.prefixes) for line in lines)
            for each, lines in commands.items()
        },
        conditions=_conditions(unit, specifiers),
        environment={key: replace_specifiers(value, specifiers) for key, value in sorted(service.environment.items())},
        environment_files=tuple(replace_specifiers(path, specifiers) for path in service.environment_file),
        notify=_notify_access(service),
        umask=int(service.umask, 8) if service.umask else UMASK_DEFAULT,
        nice=service.nice if service.HasField("nice") else None,
        limits={each: value for each, value in limits_of(service) if each in LIMITS},
        no_new_privileges=service.no_new_privileges,
        unsupported=tuple(unsupported(unit)),
        specifiers=tuple(unknown_specifiers(service, specifiers)),
        **texts,
    )


def policy_of(unit: Unit, ignore_failures: dict[str, list[bool]]) -> Policy:
    """Returns the state machine's part of a definition, with systemd's defaults filled in (systemd-system.conf(5))."""
    service, time, status = unit.service, unit.service.time, unit.service.status
    type_name = _TYPES.get(service.type, "simple" if service.exec.start else "oneshot")
    default = Policy()
    start_timeout = None if type_name == "oneshot" else default.start_timeout_ns
    limit = unit.start_limit
    return Policy(
        type=type_name,
        commands={name: tuple(flags) for name, flags in sorted(ignore_failures.items()) if flags},
        remain_after_exit=service.remain_after_exit,
        has_pid_file=bool(service.pid_file),
        guess_main_pid=service.guess_main_pid if service.HasField("guess_main_pid") else True,
        restart=_Service.Restart.Name(service.restart).lower().replace("_", "-") if service.restart else "no",
        restart_ns=_bounded_ns(time.restart) if time.HasField("restart") else default.restart_ns,
        start_timeout_ns=_timeout(time, ("start_timeout", "timeout"), start_timeout),
        stop_timeout_ns=_timeout(time, ("stop_timeout", "timeout"), default.stop_timeout_ns),
        runtime_ns=_timeout(time, ("limit",), None),
        watchdog_ns=_timeout(time, ("watchdog",), None),
        start_limit_ns=_limit_interval_ns(limit, default.start_limit_ns),
        start_limit_burst=limit.burst if limit.HasField("burst") else default.start_limit_burst,
        success=_status_set(status.success, status.success_signal),
        prevent_restart=_status_set(status.prevent_restart, status.prevent_restart_signal),
        force_restart=_status_set(status.force_restart, status.force_restart_signal),
        kill_mode=_Service.KillMode.Name(service.kill.mode or _Service.CONTROL_GROUP).lower().replace("_", "-"),
        kill_signal=signal_number(service.kill.signal or "SIGTERM"),
        send_sigkill=service.kill.send_sigkill if service.kill.HasField("send_sigkill") else True,
        send_sighup=service.kill.send_sighup,
    )


def unsupported(unit: Unit) -> list[str]:
    """Returns the fields that are set and have no effect here, sorted."""
    service = unit.service
    fields = [each for each in DEPENDENCIES if len(getattr(unit, each))]
    fields += [f"condition[{at}] ({each.type})" for at, each in enumerate(unit.condition) if each.type not in JUDGED]
    fields += [f"service.{each}" for each in _UNSUPPORTED_TEXT if getattr(service, each)]
    fields += [f"service.{each}" for each in _UNSUPPORTED_LISTS if len(getattr(service, each))]
    fields += [f"service.{each}" for each in _UNSUPPORTED_FLAGS if getattr(service, each)]
    fields += [f"service.limits.{each}" for each, _ in limits_of(service) if each not in LIMITS]
    fields += [
        f"service.{each}"
        for each in ("standard_input", "standard_output", "standard_error")
        if not _known_stream(getattr(service, each))
    ]
    fields += ["service.oom_policy"] if service.oom_policy else []
    return sorted(fields)


def missing_sandbox(service: Service) -> list[str]:
    """Returns the fields that confine the service and that nothing but systemd can carry out: without them it would
    reach more than its definition says."""
    fields = [each for each in ("root_directory", "private_tmp") if getattr(service, each)]
    if service.protect_system.strip().lower() not in _NO:
        fields.append("protect_system")
    return [f"service.{each}" for each in fields]


def unknown_specifiers(service: Service, known: Mapping[str, str]) -> list[str]:
    """Returns the specifiers that stay as they are, each with its field: `%i in service.exec.start`, sorted."""
    texts: list[tuple[str, str]] = [
        (f"exec.{each}", line) for each in EXEC_LISTS for line in getattr(service.exec, each)
    ]
    texts += [(f"environment.{key}", value) for key, value in service.environment.items()]
    texts += [("environment_file", path) for path in service.environment_file]
    texts += [(each, getattr(service, each)) for each in _SPECIFIED]
    found = {(letter, field) for field, text in texts for letter in specifiers_in(text) if letter not in known}
    return [f"%{letter} in service.{field}" for letter, field in sorted(found)]


def limits_of(service: Service) -> list[tuple[str, int]]:
    """Returns the limits that are set, in the order of their numbers."""
    return [(field.name, int(value)) for field, value in service.limits.ListFields()]


def _conditions(unit: Unit, specifiers: Mapping[str, str]) -> tuple[StartCondition, ...]:
    return tuple(
        StartCondition(
            type=each.type, value=replace_specifiers(each.value, specifiers), is_assert=getattr(each, "assert")
        )
        for each in unit.condition
    )


def _commands(lines: Sequence[str], specifiers: Mapping[str, str]) -> list[CommandLine]:
    parsed = [command for line in lines for command in parse_commands(line)]
    return [
        CommandLine(
            replace_specifiers(each.program, specifiers),
            tuple(replace_specifiers(word, specifiers) for word in each.arguments),
            each.prefixes,
        )
        for each in parsed
    ]


def _timeout(time: Service.Time, fields: Sequence[str], default: int | None) -> int | None:
    """Returns the first field that is set; 0 and infinity turn a timeout off."""
    given = {field.name: float(value) for field, value in time.ListFields()}
    for field in fields:
        if field in given:
            value = given[field]
            return None if value in (0, float("inf")) else round(value * NS_PER_S)
    return default


def _limit_interval_ns(limit: StartLimit, default: int) -> int:
    if not limit.HasField("interval"):
        return default
    return _bounded_ns(limit.interval)


def _bounded_ns(seconds: float) -> int:
    return 2**62 if seconds == float("inf") else round(seconds * NS_PER_S)


def _status_set(codes: Sequence[int], signals: Sequence[str]) -> StatusSet:
    return StatusSet(tuple(sorted(codes)), tuple(sorted(signal_number(name) for name in signals)))


def _notify_access(service: Service) -> str:
    if service.notify_access:
        return _Service.NotifyAccess.Name(service.notify_access).removeprefix("NOTIFY_").lower()
    return "main" if service.type == _Service.NOTIFY or service.time.watchdog else "none"


def _known_stream(value: str) -> bool:
    return value in ("", "null", "journal", "inherit") or value.startswith(_STREAMS[1:])


def _stream(value: str) -> str:
    if value.startswith(_STREAMS):
        return value
    return "" if value != "journal" else "log"
