"""The reasons of units' failures for which systemd itself gives only a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rube.units.drivers import programs
from rube.units.service.exit_codes import (
    EXIT_CHDIR,
    EXIT_CODES,
    EXIT_EXEC,
    EXIT_GROUP,
    EXIT_USER,
    explain_exit,
)
from rube.units.service.policy import CLD_EXITED

_LISTS = {
    "ExecCondition": "exec.condition",
    "ExecStartPre": "exec.start_pre",
    "ExecStart": "exec.start",
    "ExecStartPost": "exec.start_post",
    "ExecReload": "exec.reload",
    "ExecStop": "exec.stop",
    "ExecStopPost": "exec.stop_post",
}


class _Ended(NamedTuple):
    """A command whose last process ended in a step before its program ran."""

    exit_us: int
    field: str
    program: str
    status: int


def reason_of(service: Mapping[str, Any]) -> str:
    """Returns the reason in the properties of org.freedesktop.systemd1.Service: such as `exec.start: /x: no such file`,
    or empty."""
    if service.get("Result") == "resources":
        return _missing_environment(service.get("EnvironmentFiles", ()))
    ended = [each for name, field in _LISTS.items() for each in _ended(field, service.get(name, ()))]
    return _explain(max(ended), service) if ended else ""


def _ended(field: str, commands: Sequence[Sequence[Any]]) -> list[_Ended]:
    """Parses `commands`, an a(sasbttttuii): path, arguments, ignore, four times, pid, code and status of the last
    process."""
    return [
        _Ended(exit_us, field, path, status)
        for path, _, _, _, _, exit_us, _, _, code, status in commands
        if code == CLD_EXITED and status in EXIT_CODES
    ]


def _explain(ended: _Ended, service: Mapping[str, Any]) -> str:
    named = ""
    if ended.status == EXIT_EXEC:
        named = _within_root(ended.program, service) or f"{ended.program}: it exists and could not be executed"
        return f"{ended.field}: {named}"
    if ended.status == EXIT_USER:
        named = programs.missing_user(service.get("User", ""))
    elif ended.status == EXIT_GROUP:
        named = programs.missing_group(service.get("Group", "")) or programs.missing_user(service.get("User", ""))
    elif ended.status == EXIT_CHDIR and not service.get("RootDirectory"):
        named = programs.no_directory(service.get("WorkingDirectory", "").lstrip("!"))
    generic = explain_exit(ended.status)
    field = EXIT_CODES[ended.status].field
    return f"{field}: {named}" if named and field else generic


def _within_root(program: str, service: Mapping[str, Any]) -> str:
    root = service.get("RootDirectory", "").rstrip("/")
    if not program.startswith("/"):
        return f"{program}: no such program in the search path"
    return programs.why_not_executable(f"{root}{program}")


def _missing_environment(files: Sequence[Sequence[Any]]) -> str:
    """Returns the missing file: systemd reads these itself, before it starts a process, and fails with `resources`."""
    for path, optional in files:
        if not optional and "*" not in path and (missing := programs.no_file(path)):
            return f"environment_file: {missing}"
    return ""
