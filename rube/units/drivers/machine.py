"""The values of specifiers about this machine, for units that no systemd runs."""

from __future__ import annotations

import grp
import os
import pwd

from rube.units.service.environment import EnvironmentFileError, parse_environment_file

FACT_BYTES_MAX = 64 * 1024
_DIRECTORIES = {
    "t": "/run",
    "S": "/var/lib",
    "C": "/var/cache",
    "L": "/var/log",
    "E": "/etc",
    "T": "/tmp",
    "V": "/var/tmp",
}
# As uname(2) says it, and as systemd does (ConditionArchitecture=); others are called the same.
_ARCHITECTURES = {
    "x86_64": "x86-64",
    "i386": "x86",
    "i686": "x86",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "ppc64le": "ppc64-le",
}
_OS_RELEASE = {"A": "IMAGE_VERSION", "B": "BUILD_ID", "M": "IMAGE_ID", "o": "ID", "w": "VERSION_ID", "W": "VARIANT_ID"}


def machine_specifiers() -> dict[str, str]:
    """Returns letters and values. A specifier that this machine has no value for is left out."""
    system = os.uname()
    short = system.nodename.partition(".")[0]
    values = {
        **_DIRECTORIES,
        "H": system.nodename,
        "l": short,
        "q": _variables("/etc/machine-info").get("PRETTY_HOSTNAME", short),
        "v": system.release,
        "a": _ARCHITECTURES.get(system.machine, system.machine),
        "b": _line("/proc/sys/kernel/random/boot_id").replace("-", ""),
        "m": _line("/etc/machine-id"),
        **_user(),
    }
    release = _variables("/etc/os-release")
    values |= {letter: release.get(name, "") for letter, name in _OS_RELEASE.items()}
    return {letter: value for letter, value in values.items() if value or letter in _OS_RELEASE}


def _user() -> dict[str, str]:
    """The user that the supervisor runs as."""
    values = {"U": str(os.getuid()), "G": str(os.getgid())}
    try:
        entry = pwd.getpwuid(os.getuid())
        values |= {"u": entry.pw_name, "h": entry.pw_dir, "s": entry.pw_shell}
        values["g"] = grp.getgrgid(os.getgid()).gr_name
    except KeyError:
        pass  # a user without an entry has a number only
    return values


def _variables(path: str) -> dict[str, str]:
    try:
        return parse_environment_file(_bytes(path)).variables
    except EnvironmentFileError:
        return {}


def _line(path: str) -> str:
    return _bytes(path).decode(errors="replace").strip()


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(FACT_BYTES_MAX)
    except OSError:
        return b""
