"""Judges conditions and assertions (systemd.unit(5), "CONDITIONS AND ASSERTS") on this machine, as systemd 252 does."""

from __future__ import annotations

import fnmatch
import glob
import grp
import os
import pwd
from collections.abc import Callable, Sequence

from rube.units.drivers.supervisor.records import StartCondition

_COMPARISONS: dict[str, Callable[[int], bool]] = {
    "<=": lambda order: order <= 0,
    ">=": lambda order: order >= 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    ">": lambda order: order > 0,
    "=": lambda order: order == 0,
}
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_ARCHITECTURES = {"x86_64": "x86-64", "aarch64": "arm64", "i686": "x86", "armv7l": "arm", "ppc64le": "ppc64-le"}


def what_is_unmet(conditions: Sequence[StartCondition]) -> str:
    """Returns the first condition or assertion that keeps the unit from starting, in words; empty if none does.

    All must hold; of those whose value begins with `|` one is enough. Types that are not in JUDGED hold.
    """
    for is_assert in (False, True):
        mine = [each for each in conditions if each.is_assert is is_assert and each.type in JUDGED]
        triggers = [each for each in mine if each.value.startswith("|")]
        unmet = [each for each in mine if each not in triggers and not _holds(each)]
        if not unmet and triggers and not any(_holds(each) for each in triggers):
            unmet = triggers
        if unmet:
            kind, what = ("Assert", "the assertion") if is_assert else ("Condition", "the condition")
            return f"not started: {what} {kind}{unmet[0].type}={unmet[0].value} does not hold"
    return ""


def _holds(condition: StartCondition) -> bool:
    value = condition.value.removeprefix("|").lstrip()
    negated = value.startswith("!")
    value = value.removeprefix("!").lstrip()
    try:
        return JUDGED[condition.type](value) is not negated
    except (OSError, ValueError, KeyError):
        return negated


def _is_mount_point(path: str) -> bool:
    """Tests statx(2)'s STATX_ATTR_MOUNT_ROOT: true also of a file and of a bind mount on the same file system."""
    real = os.path.realpath(path, strict=True)
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    return real in points


def _is_read_write(path: str) -> bool:
    os.stat(path)
    return not os.statvfs(path).f_flag & os.ST_RDONLY


def _is_full_directory(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(True for _ in entries)


def _is_full_file(path: str) -> bool:
    return os.path.isfile(path) and os.stat(path).st_size > 0


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and bool(os.stat(path).st_mode & 0o111)


def _is_user(value: str) -> bool:
    if value == "@system":
        return os.getuid() < 1000 or os.getuid() == 65534
    return value == str(os.getuid()) or pwd.getpwnam(value).pw_uid == os.getuid()


def _has_group(value: str) -> bool:
    groups = {os.getgid(), os.getegid(), *os.getgroups()}
    return (int(value) if value.isdigit() else grp.getgrnam(value).gr_gid) in groups


def _is_host(value: str) -> bool:
    """Tests a machine id, or a pattern for the host name."""
    try:
        with open("/etc/machine-id") as file:
            if file.read().strip() == value.replace("-", "").lower():
                return True
    except OSError:
        pass
    return fnmatch.fnmatch(os.uname().nodename.lower(), value.lower())


def _on_command_line(value: str) -> bool:
    """Tests `word`, which may have a value on the kernel's command line, or `word=value`."""
    with open("/proc/cmdline") as file:
        words = file.read().split()
    return value in words if "=" in value else any(word.partition("=")[0] == value for word in words)


def _in_environment(value: str) -> bool:
    """Tests the manager's environment, which for a shim is LANG alone."""
    name, equals, wanted = value.partition("=")
    return name in os.environ and (not equals or os.environ[name] == wanted)


def _kernel_version(value: str) -> bool:
    """Tests a comparison such as `>=5.4`, or a pattern; several must all hold."""
    release = os.uname().release
    return all(_version_fits(release, word) for word in value.replace('"', " ").split())


def _version_fits(release: str, word: str) -> bool:
    for operator, fits in _COMPARISONS.items():
        if word.startswith(operator):
            mine, wanted = _numbers(release), _numbers(word[len(operator) :].strip())
            return fits((mine > wanted) - (mine < wanted))
    return fnmatch.fnmatchcase(release, word)


def _numbers(version: str) -> list[int]:
    digits = "".join(letter if letter.isdigit() else " " for letter in version)
    return [int(word) for word in digits.split()]


def _compare(value: str, mine: int) -> bool:
    for operator, fits in _COMPARISONS.items():
        if value.startswith(operator):
            wanted = _size(value[len(operator) :].strip())
            return fits((mine > wanted) - (mine < wanted))
    return mine >= _size(value)


def _size(text: str) -> int:
    return int(text.rstrip("KMGT")) * _UNITS[text.lstrip("0123456789")]


JUDGED: dict[str, Callable[[str], bool]] = {
    "PathExists": os.path.exists,
    "PathExistsGlob": lambda value: bool(glob.glob(value)),
    "PathIsDirectory": os.path.isdir,
    "PathIsSymbolicLink": os.path.islink,
    "PathIsMountPoint": _is_mount_point,
    "PathIsReadWrite": _is_read_write,
    "DirectoryNotEmpty": _is_full_directory,
    "FileNotEmpty": _is_full_file,
    "FileIsExecutable": _is_executable,
    "User": _is_user,
    "Group": _has_group,
    "Host": _is_host,
    "KernelCommandLine": _on_command_line,
    "KernelVersion": _kernel_version,
    "Environment": _in_environment,
    "Architecture": lambda value: value in ("native", _ARCHITECTURES.get(os.uname().machine, os.uname().machine)),
    "CPUs": lambda value: _compare(value, len(os.sched_getaffinity(0))),
    "Memory": lambda value: _compare(value, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
}
"""The types that the supervisor judges; it says of systemd's other types that they have no effect."""
