"""The renderer of unit files from Units: pure, and such that no value can become a directive.

Values are written in systemd's own syntax: `%` begins a specifier and, in commands, `$` a variable, as in a unit file
written by hand (`%%` and `$$` are the characters themselves). A value is refused if systemd's parser would read it as
something else than one value: control characters, a last backslash (it joins lines), an empty item (it resets a list),
and blanks within an item of a list. Environment values are quoted and escaped, so that they may hold anything but NUL.

The first lines hold the marker by which a driver knows its own files again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from google.protobuf.descriptor import EnumDescriptor

from rube.api import Install, Service, Unit
from rube.api.errors import InvalidArgumentError
from rube.units.service.signals import signal_name, signal_number
from rube.units.unit_file import Directive, UnitFileError, parse_unit_file
from rube.units.values import (
    BLANKS,
    CONTROL,
    SECONDS_MAX,
    environment_problem,
    line_problem,
    title_problem,
)

MARKER = "# rube:"
MARKER_BYTES_MAX = 1024
BOOT_TARGET = "multi-user.target"

_MARKER = re.compile(rf"^{MARKER} uid=(\S+) generation=(\d+) digest=([0-9a-f]{{64}})$", re.MULTILINE)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONDITION_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*\Z")

_Service = Service


class Marker(NamedTuple):
    """The owner of the definition in a unit file."""

    uid: str
    generation: int
    digest: str


def digest_of(unit: Unit) -> str:
    """Returns the sha256, in hex, of the definition without the parts that change without a restart."""
    definition = Unit()
    definition.CopyFrom(unit)
    definition.ClearField("enabled")
    definition.ClearField("state")
    definition.ClearField("node_lost")
    return hashlib.sha256(definition.SerializeToString(deterministic=True)).hexdigest()


def render_unit(unit: Unit, *, uid: str, generation: int, boot_target: str = BOOT_TARGET) -> str:
    """Returns the unit file. A unit without [Install] is wanted by `boot_target`, so that it can be enabled at any
    time.

    Raises InvalidArgumentError, naming the field, for a value that a unit file cannot hold.
    """
    _text("metadata.uid", uid)
    lines = [
        "# Made by Rube from an object of its apiserver: changes here are overwritten.",
        f"{MARKER} uid={uid or '-'} generation={generation} digest={digest_of(unit)}",
        *_comment(unit.service.title),
    ]
    section = ""
    found = directives(unit, boot_target=boot_target)
    for directive in found:
        if directive.section != section:
            section = directive.section
            lines += ["", f"[{section}]"]
        lines.append(f"{directive.key}={directive.value}")
    text = "\n".join(lines) + "\n"
    _check_rendered(text, found)
    return text


def _check_rendered(text: str, expected: Sequence[Directive]) -> None:
    """Reads the file back as systemd does: no value may have become anything but the value of its directive.

    Raises InvalidArgumentError.
    """
    try:
        read = parse_unit_file(text.encode())
    except UnitFileError as error:
        raise InvalidArgumentError(f"spec makes a unit file that systemd cannot read: {error}", field="spec") from error
    for wanted, got in zip_longest(expected, read):
        if wanted != got:
            key = wanted.key if wanted is not None else "more"
            raise InvalidArgumentError(
                f"spec makes a unit file in which systemd would read {key}= as something else: simplify its value",
                field="spec",
            )


def parse_marker(text: str) -> Marker | None:
    """Returns the marker of a unit file, of which the first MARKER_BYTES_MAX suffice; None if it is not one of
    Rube's."""
    found = _MARKER.search(text)
    if found is None:
        return None
    uid, generation, digest = found.groups()
    return Marker("" if uid == "-" else uid, int(generation), digest)


def directives(unit: Unit, *, boot_target: str = BOOT_TARGET) -> list[Directive]:
    """Returns all lines in their order, sections together. Raises InvalidArgumentError as `render_unit` does."""
    sections = (
        ("Unit", _unit_section(unit)),
        ("Service", _service_section(unit.service)),
        ("Install", _install_section(unit.install, boot_target)),
    )
    return [Directive(name, key, value) for name, lines in sections for key, value in lines]


_Lines = Iterator[tuple[str, str]]


def _unit_section(unit: Unit) -> _Lines:
    yield from _one("Description", "description", unit.description)
    yield from _each("Documentation", "doc_url", unit.doc_url)
    yield from _each("Wants", "wants", unit.wants)
    yield from _each("Requires", "requires", unit.requires)
    yield from _each("Requisite", "requisite", unit.requisite)
    yield from _each("BindsTo", "binds_to", unit.binds_to)
    yield from _each("PartOf", "part_of", unit.part_of)
    yield from _each("Conflicts", "conflicts", unit.conflicts)
    yield from _each("Before", "before", unit.before)
    yield from _each("After", "after", unit.after)
    yield from _each("OnFailure", "on_failure", unit.on_failure)
    for index, condition in enumerate(unit.condition):
        field = f"condition[{index}]"
        if not _CONDITION_TYPE.match(condition.type):
            raise InvalidArgumentError(
                f"{field}.type {condition.type!r} is not a condition of systemd.unit(5): use one such as PathExists",
                field=f"{field}.type",
            )
        verb = "Assert" if getattr(condition, "assert") else "Condition"
        yield verb + condition.type, _required(f"{field}.value", condition.value)
    limit = unit.start_limit
    if limit.HasField("interval"):
        yield "StartLimitIntervalSec", seconds("start_limit.interval", limit.interval)
    if limit.HasField("burst"):
        yield "StartLimitBurst", str(limit.burst)


def _service_section(service: Service) -> _Lines:
    if service.type:
        yield "Type", _choice("service.type", _Service.Type.DESCRIPTOR, service.type)
    yield from _one("PIDFile", "service.pid_file", service.pid_file)
    yield from _one("BusName", "service.bus_name", service.bus_name)
    yield from _exec_lines(service.exec)
    yield from _time_lines(service.time)
    if service.restart:
        yield "Restart", _choice("service.restart", _Service.Restart.DESCRIPTOR, service.restart)
    yield from _status_lines(service.status)
    if service.oom_policy:
        yield "OOMPolicy", _choice("service.oom_policy", _Service.OomPolicy.DESCRIPTOR, service.oom_policy)
    yield from _kill_lines(service.kill)
    if service.remain_after_exit:
        yield "RemainAfterExit", "yes"
    if service.notify_access:
        yield "NotifyAccess", _choice("service.notify_access", _Service.NotifyAccess.DESCRIPTOR, service.notify_access)
    if service.HasField("guess_main_pid"):
        yield "GuessMainPID", _yes(service.guess_main_pid)
    yield from _context_lines(service)
    yield from _limit_lines(service.limits)


def _exec_lines(commands: Service.Exec) -> _Lines:
    yield from _each("ExecCondition", "service.exec.condition", commands.condition, blanks=True)
    yield from _each("ExecStartPre", "service.exec.start_pre", commands.start_pre, blanks=True)
    yield from _each("ExecStart", "service.exec.start", commands.start, blanks=True)
    yield from _each("ExecStartPost", "service.exec.start_post", commands.start_post, blanks=True)
    yield from _each("ExecReload", "service.exec.reload", commands.reload, blanks=True)
    yield from _each("ExecStop", "service.exec.stop", commands.stop, blanks=True)
    yield from _each("ExecStopPost", "service.exec.stop_post", commands.stop_post, blanks=True)


def _time_lines(time: Service.Time) -> _Lines:
    if time.HasField("restart"):
        yield "RestartSec", seconds("service.time.restart", time.restart)
    # TimeoutSec= sets both of the next two: it must come first.
    if time.HasField("timeout"):
        yield "TimeoutSec", seconds("service.time.timeout", time.timeout)
    if time.HasField("start_timeout"):
        yield "TimeoutStartSec", seconds("service.time.start_timeout", time.start_timeout)
    if time.HasField("stop_timeout"):
        yield "TimeoutStopSec", seconds("service.time.stop_timeout", time.stop_timeout)
    if time.HasField("limit"):
        yield "RuntimeMaxSec", seconds("service.time.limit", time.limit)
    if time.HasField("watchdog"):
        yield "WatchdogSec", seconds("service.time.watchdog", time.watchdog)


def _status_lines(status: Service.ExitStatus) -> _Lines:
    lists = (
        ("SuccessExitStatus", status.success, "success_signal", status.success_signal),
        ("RestartPreventExitStatus", status.prevent_restart, "prevent_restart_signal", status.prevent_restart_signal),
        ("RestartForceExitStatus", status.force_restart, "force_restart_signal", status.force_restart_signal),
    )
    for key, codes, field, signals in lists:
        words = [str(code) for code in codes]
        words += [_signal(f"service.status.{field}[{index}]", name) for index, name in enumerate(signals)]
        if words:
            yield key, " ".join(words)


def _kill_lines(kill: Service.Kill) -> _Lines:
    if kill.mode:
        yield "KillMode", _choice("service.kill.mode", _Service.KillMode.DESCRIPTOR, kill.mode)
    if kill.signal:
        yield "KillSignal", _signal("service.kill.signal", kill.signal)
    if kill.HasField("send_sigkill"):
        yield "SendSIGKILL", _yes(kill.send_sigkill)
    if kill.HasField("send_sighup"):
        yield "SendSIGHUP", _yes(kill.send_sighup)


def _context_lines(service: Service) -> _Lines:
    for name, value in sorted(service.environment.items()):
        yield "Environment", _assignment(name, value)
    yield from _each("EnvironmentFile", "service.environment_file", service.environment_file, blanks=True)
    yield from _one("User", "service.user", service.user)
    yield from _one("Group", "service.group", service.group)
    yield from _one("WorkingDirectory", "service.working_directory", service.working_directory)
    yield from _one("RootDirectory", "service.root_directory", service.root_directory)
    yield from _one("UMask", "service.umask", service.umask)
    if service.HasField("nice"):
        yield "Nice", str(service.nice)
    yield from _one("StandardInput", "service.standard_input", service.standard_input)
    yield from _one("StandardOutput", "service.standard_output", service.standard_output)
    yield from _one("StandardError", "service.standard_error", service.standard_error)
    yield from _one("SyslogIdentifier", "service.syslog_identifier", service.syslog_identifier)
    if service.HasField("no_new_privileges"):
        yield "NoNewPrivileges", _yes(service.no_new_privileges)
    if service.HasField("private_tmp"):
        yield "PrivateTmp", _yes(service.private_tmp)
    yield from _one("ProtectSystem", "service.protect_system", service.protect_system)
    yield from _one("Slice", "service.slice", service.slice)
    yield from _each("RuntimeDirectory", "service.runtime_directory", service.runtime_directory)
    yield from _each("StateDirectory", "service.state_directory", service.state_directory)


# RLIM_INFINITY as a number, which systemd takes as a word only.
_UNLIMITED = 2**64 - 1


def _limit_lines(limits: Service.Limits) -> _Lines:
    keys = {
        "open_files": "LimitNOFILE",
        "processes": "LimitNPROC",
        "core_bytes": "LimitCORE",
        "locked_memory_bytes": "LimitMEMLOCK",
        "memory_bytes": "MemoryMax",
        "tasks": "TasksMax",
    }
    for field, value in limits.ListFields():
        text = "infinity" if value == _UNLIMITED else str(value)
        yield ("CPUQuota", f"{value}%") if field.name == "cpu_percent" else (keys[field.name], text)


def _install_section(install: Install, boot_target: str) -> _Lines:
    yield from _each("WantedBy", "install.wanted_by", install.wanted_by)
    yield from _each("RequiredBy", "install.required_by", install.required_by)
    yield from _each("Also", "install.also", install.also)
    yield from _each("Alias", "install.alias", install.alias)
    if not (install.wanted_by or install.required_by or install.also or install.alias):
        yield "WantedBy", boot_target


def _one(key: str, field: str, value: str) -> _Lines:
    if value:
        yield key, _required(field, value)


def _each(key: str, field: str, values: Sequence[str], *, blanks: bool = False) -> _Lines:
    for index, value in enumerate(values):
        item = f"{field}[{index}]"
        yield key, _required(item, value) if blanks else _single_word(item, value)


def _required(field: str, value: str) -> str:
    stripped = _text(field, value).strip(BLANKS)
    if not stripped:
        raise InvalidArgumentError(f"{field} is empty, which would reset the list: leave it out", field=field)
    return stripped


def _single_word(field: str, value: str) -> str:
    stripped = _required(field, value)
    if any(blank in stripped for blank in BLANKS):
        raise InvalidArgumentError(f"{field} {value!r} holds a blank: write one item a field", field=field)
    return stripped


def _text(field: str, value: str) -> str:
    """Refuses a value that would end the line or join it with the next."""
    if problem := line_problem(value):
        raise InvalidArgumentError(f"{field} {problem}", field=field)
    return value


def _comment(text: str) -> Iterable[str]:
    """Returns comment lines; systemd never continues a comment at a backslash."""
    if problem := title_problem(text):
        raise InvalidArgumentError(f"service.title {problem}: use text", field="service.title")
    return [f"# {line}".rstrip(BLANKS) for line in text.split("\n")] if text else []


def _assignment(name: str, value: str) -> str:
    """Returns `"NAME=value"`, quoted and escaped as systemd.syntax(7) says. Specifiers stay specifiers."""
    field = f"service.environment[{name!r}]"
    if not _ENVIRONMENT_NAME.match(name):
        raise InvalidArgumentError(f"{field} is not a variable's name: use letters, digits and '_'", field=field)
    if problem := environment_problem(value):
        raise InvalidArgumentError(f"{field} {problem}", field=field)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    escaped = CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", escaped)
    return f'"{name}={escaped}"'


def seconds(field: str, value: float) -> str:
    """Returns a time span to the microsecond, which is systemd's resolution: `1.5s`, `infinity`."""
    if value == float("inf"):
        return "infinity"
    if not 0 <= value <= SECONDS_MAX:
        raise InvalidArgumentError(f"{field} {value!r} is not a time of 0 to {SECONDS_MAX:.0f} seconds", field=field)
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return f"{text}s"


def _choice(field: str, enum: EnumDescriptor, number: int) -> str:
    """Returns systemd's word for an enum's value."""
    if number not in enum.values_by_number:
        known = ", ".join(value.name for value in enum.values if value.number)
        raise InvalidArgumentError(f"{field} {number} is no known value: use one of {known}", field=field)
    return enum.values_by_number[number].name.removeprefix("NOTIFY_").lower().replace("_", "-")


def _signal(field: str, name: str) -> str:
    """Returns the signal's name: a number would be an exit status in a list of both."""
    try:
        return signal_name(signal_number(name.strip(BLANKS)))
    except ValueError as error:
        raise InvalidArgumentError(f"{field} {error}", field=field) from error


def _yes(value: bool) -> str:
    return "yes" if value else "no"
