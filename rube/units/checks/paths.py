"""Paths and streams of a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rube.api import Service
from rube.api.types.violation import Violation
from rube.units.checks.texts import ITEMS_MAX
from rube.units.service.commandline import FILE_NAME_BYTES_MAX, PATH_BYTES_MAX

_INPUTS: Final = ("null", "tty", "tty-force", "tty-fail", "data", "socket")
_OUTPUTS: Final = (
    *("inherit", "null", "tty", "journal", "kmsg", "journal+console", "kmsg+console", "socket"),
    *("syslog", "syslog+console"),  # older names for the journal
)
_FILE_OUTPUTS: Final = ("file:", "append:", "truncate:")
_BOOLEANS: Final = frozenset(["yes", "no", "true", "false", "on", "off", "y", "n", "t", "f", "1", "0"])


def path_violations(service: Service) -> Iterator[Violation]:
    directory = service.working_directory.strip(" \t").removeprefix("-")
    if directory and directory != "~" and (problem := path_problem(directory)):
        yield Violation("service.working_directory", f"{problem}, nor ~" if "absolute" in problem else problem)
    if service.root_directory and (problem := path_problem(service.root_directory.strip(" \t"))):
        yield Violation("service.root_directory", problem)
    if service.pid_file and (problem := _relative_problem(service.pid_file.strip(" \t").lstrip("/"), dots=True)):
        yield Violation("service.pid_file", problem)
    for index, path in enumerate(service.environment_file[:ITEMS_MAX]):
        if path.strip(" \t") and (problem := path_problem(path.strip(" \t").removeprefix("-"))):
            yield Violation(f"service.environment_file[{index}]", problem)
    for name in ("runtime_directory", "state_directory"):
        for index, path in enumerate(getattr(service, name)[:ITEMS_MAX]):
            if path.strip(" \t") and (problem := _relative_problem(path.strip(" \t").partition(":")[0], dots=False)):
                yield Violation(f"service.{name}[{index}]", problem)
    yield from _stream("service.standard_input", service.standard_input, _INPUTS, ("file:",))
    yield from _stream("service.standard_output", service.standard_output, _OUTPUTS, _FILE_OUTPUTS)
    yield from _stream("service.standard_error", service.standard_error, _OUTPUTS, _FILE_OUTPUTS)
    protect = service.protect_system.strip(" \t")
    if protect and protect not in ("full", "strict") and protect.lower() not in _BOOLEANS:
        yield Violation("service.protect_system", f"{protect[:40]!r} is not yes, no, full or strict")


def path_problem(path: str) -> str:
    """Returns why systemd takes this for no absolute path; empty if it does, or if a specifier begins it."""
    if not path.startswith(("/", "%")):
        return f"{path[:80]!r} is not an absolute path"
    return _length_problem(path)


def _relative_problem(path: str, *, dots: bool) -> str:
    """Returns why this is no path below a directory of systemd's own."""
    parts = path.split("/")
    if not dots and (path.startswith("/") or ".." in parts):
        return f"{path[:80]!r} is not a relative path without '..'"
    if not dots and parts[0] == "private":
        return f"{path[:80]!r} begins with 'private', which is systemd's own"
    return _length_problem(path)


def _length_problem(path: str) -> str:
    size = len(path.encode("utf-8", "surrogatepass"))
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in path.split("/"))
    if size > PATH_BYTES_MAX or longest > FILE_NAME_BYTES_MAX:
        return f"{path[:40]!r}… is too long: at most {PATH_BYTES_MAX} bytes, {FILE_NAME_BYTES_MAX} between slashes"
    return ""


def _stream(field: str, value: str, words: tuple[str, ...], files: tuple[str, ...]) -> Iterator[Violation]:
    value = value.strip(" \t")
    if not value or value in words or value.startswith("fd:") or value == "fd":
        return
    for prefix in files:
        if value.startswith(prefix):
            if problem := path_problem(value.removeprefix(prefix)):
                yield Violation(field, problem)
            return
    known = ", ".join((*words, *(f"{prefix}PATH" for prefix in files)))
    yield Violation(field, f"{value[:80]!r} is no stream: use one of {known}")
