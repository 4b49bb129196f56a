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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from rube.api import Condition, Install, Service, Unit
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

# RLIM_INFINITY as a number, which systemd takes as a word only.
_UNLIMITED = 2**64 - 1


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
    marker = f"{MARKER} uid={uid or '-'} generation={generation} digest={digest_of(unit)}"
    return _checked_file(
        ["# Made by Rube from an object of its apiserver: changes here are overwritten.", marker], unit, boot_target
    )


def check_renders(unit: Unit) -> None:
    """Raises the errors of `render_unit`, without a file's marker."""
    _checked_file([], unit, BOOT_TARGET)


def _checked_file(head: Iterable[str], unit: Unit, boot_target: str) -> str:
    lines = [*head, *_comment(unit.service.title)]
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
        ("Unit", _lines(UNIT_LINES, "", unit)),
        ("Service", _lines(SERVICE_LINES, "service.", unit.service)),
        ("Install", _install_lines(unit.install, boot_target)),
    )
    return [Directive(name, key, value) for name, lines in sections for key, value in lines]


Lines = Iterable[tuple[str, str]]
"""Keys of systemd with their values."""
Writer = Callable[[str, Any], Lines]
"""Returns the lines of a field that is set, given its path and its value."""


def _lines(writers: Mapping[str, Writer], path: str, message: Message) -> Iterator[tuple[str, str]]:
    """Yields the lines of the fields that are set, in the order of the writers."""
    given = {field.name: value for field, value in message.ListFields()}
    for name, write in writers.items():
        if name in given:
            yield from write(f"{path}{name}", given[name])


def _one(key: str, text_of: Callable[[str, Any], str]) -> Writer:
    return lambda field, value: [(key, text_of(field, value))]


def _each(key: str, text_of: Callable[[str, Any], str]) -> Writer:
    return lambda field, values: [(key, text_of(f"{field}[{index}]", value)) for index, value in enumerate(values)]


def _part(writers: Mapping[str, Writer]) -> Writer:
    return lambda field, message: _lines(writers, f"{field}.", message)


def _install_lines(install: Install, boot_target: str) -> Lines:
    found = list(_lines(INSTALL_LINES, "install.", install))
    yield from found or [("WantedBy", boot_target)]


def _conditions(field: str, conditions: Iterable[Condition]) -> Lines:
    for index, condition in enumerate(conditions):
        place = f"{field}[{index}]"
        if not _CONDITION_TYPE.match(condition.type):
            raise InvalidArgumentError(
                f"{place}.type {condition.type!r} is not a condition of systemd.unit(5): use one such as PathExists",
                field=f"{place}.type",
            )
        verb = "Assert" if getattr(condition, "assert") else "Condition"
        yield verb + condition.type, _required(f"{place}.value", condition.value)


def _statuses(field: str, status: Service.ExitStatus) -> Lines:
    lists = (
        ("SuccessExitStatus", status.success, "success_signal", status.success_signal),
        ("RestartPreventExitStatus", status.prevent_restart, "prevent_restart_signal", status.prevent_restart_signal),
        ("RestartForceExitStatus", status.force_restart, "force_restart_signal", status.force_restart_signal),
    )
    for key, codes, name, signals in lists:
        words = [str(code) for code in codes]
        words += [_signal(f"{field}.{name}[{index}]", signal) for index, signal in enumerate(signals)]
        if words:
            yield key, " ".join(words)


def _environment(field: str, variables: Mapping[str, str]) -> Lines:
    for name, value in sorted(variables.items()):
        yield "Environment", _assignment(f"{field}[{name!r}]", name, value)


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


def _assignment(field: str, name: str, value: str) -> str:
    """Returns `"NAME=value"`, quoted and escaped as systemd.syntax(7) says. Specifiers stay specifiers."""
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


def _choice(enum: EnumDescriptor) -> Callable[[str, int], str]:
    """Returns the function to systemd's word for an enum's value."""
    words = {value.number: value.name.removeprefix("NOTIFY_").lower().replace("_", "-") for value in enum.values}

    def word(field: str, number: int) -> str:
        if number not in words:
            known = ", ".join(value.name for value in enum.values if value.number)
            raise InvalidArgumentError(f"{field} {number} is no known value: use one of {known}", field=field)
        return words[number]

    return word


def _signal(field: str, name: str) -> str:
    """Returns the signal's name: a number would be an exit status in a list of both."""
    try:
        return signal_name(signal_number(name.strip(BLANKS)))
    except ValueError as error:
        raise InvalidArgumentError(f"{field} {error}", field=field) from error


def _number(field: str, value: int) -> str:
    return str(value)


def _limit(field: str, value: int) -> str:
    return "infinity" if value == _UNLIMITED else str(value)


def _percent(field: str, value: int) -> str:
    return f"{value}%"


def _yes(field: str, value: bool) -> str:
    return "yes" if value else "no"


UNIT_LINES: Final[Mapping[str, Writer]] = {
    "description": _one("Description", _required),
    "doc_url": _each("Documentation", _single_word),
    "wants": _each("Wants", _single_word),
    "requires": _each("Requires", _single_word),
    "requisite": _each("Requisite", _single_word),
    "binds_to": _each("BindsTo", _single_word),
    "part_of": _each("PartOf", _single_word),
    "conflicts": _each("Conflicts", _single_word),
    "before": _each("Before", _single_word),
    "after": _each("After", _single_word),
    "on_failure": _each("OnFailure", _single_word),
    "condition": _conditions,
    "start_limit": _part(
        {"interval": _one("StartLimitIntervalSec", seconds), "burst": _one("StartLimitBurst", _number)}
    ),
}
SERVICE_LINES: Final[Mapping[str, Writer]] = {
    "type": _one("Type", _choice(Service.Type.DESCRIPTOR)),
    "pid_file": _one("PIDFile", _required),
    "bus_name": _one("BusName", _required),
    "exec": _part(
        {
            "condition": _each("ExecCondition", _required),
            "start_pre": _each("ExecStartPre", _required),
            "start": _each("ExecStart", _required),
            "start_post": _each("ExecStartPost", _required),
            "reload": _each("ExecReload", _required),
            "stop": _each("ExecStop", _required),
            "stop_post": _each("ExecStopPost", _required),
        }
    ),
    "time": _part(
        {
            "restart": _one("RestartSec", seconds),
            "timeout": _one("TimeoutSec", seconds),  # sets both of the next two: it must come first
            "start_timeout": _one("TimeoutStartSec", seconds),
            "stop_timeout": _one("TimeoutStopSec", seconds),
            "limit": _one("RuntimeMaxSec", seconds),
            "watchdog": _one("WatchdogSec", seconds),
        }
    ),
    "restart": _one("Restart", _choice(Service.Restart.DESCRIPTOR)),
    "status": _statuses,
    "oom_policy": _one("OOMPolicy", _choice(Service.OomPolicy.DESCRIPTOR)),
    "kill": _part(
        {
            "mode": _one("KillMode", _choice(Service.KillMode.DESCRIPTOR)),
            "signal": _one("KillSignal", _signal),
            "send_sigkill": _one("SendSIGKILL", _yes),
            "send_sighup": _one("SendSIGHUP", _yes),
        }
    ),
    "remain_after_exit": _one("RemainAfterExit", _yes),
    "notify_access": _one("NotifyAccess", _choice(Service.NotifyAccess.DESCRIPTOR)),
    "guess_main_pid": _one("GuessMainPID", _yes),
    "environment": _environment,
    "environment_file": _each("EnvironmentFile", _required),
    "user": _one("User", _required),
    "group": _one("Group", _required),
    "working_directory": _one("WorkingDirectory", _required),
    "root_directory": _one("RootDirectory", _required),
    "umask": _one("UMask", _required),
    "nice": _one("Nice", _number),
    "standard_input": _one("StandardInput", _required),
    "standard_output": _one("StandardOutput", _required),
    "standard_error": _one("StandardError", _required),
    "syslog_identifier": _one("SyslogIdentifier", _required),
    "no_new_privileges": _one("NoNewPrivileges", _yes),
    "private_tmp": _one("PrivateTmp", _yes),
    "protect_system": _one("ProtectSystem", _required),
    "slice": _one("Slice", _required),
    "runtime_directory": _each("RuntimeDirectory", _single_word),
    "state_directory": _each("StateDirectory", _single_word),
    "limits": _part(
        {
            "open_files": _one("LimitNOFILE", _limit),
            "processes": _one("LimitNPROC", _limit),
            "core_bytes": _one("LimitCORE", _limit),
            "locked_memory_bytes": _one("LimitMEMLOCK", _limit),
            "memory_bytes": _one("MemoryMax", _limit),
            "tasks": _one("TasksMax", _limit),
            "cpu_percent": _one("CPUQuota", _percent),
        }
    ),
}
INSTALL_LINES: Final[Mapping[str, Writer]] = {
    "wanted_by": _each("WantedBy", _single_word),
    "required_by": _each("RequiredBy", _single_word),
    "also": _each("Also", _single_word),
    "alias": _each("Alias", _single_word),
}
