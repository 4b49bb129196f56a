"""Reads environment files from this machine as systemd does: `-` in front makes one optional, patterns name several."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

from rube.units.service.environment import (
    FILE_BYTES_MAX,
    EnvironmentFile,
    EnvironmentFileError,
    parse_environment_file,
)

FILES_MAX = 1_000
"""The most files that one pattern may match."""
_MAGIC = frozenset("*?[\\")
# More than glibc's and musl's glob_t have.
_GLOB_BYTES = 256


def read_environment_files(paths: Sequence[str]) -> EnvironmentFile:
    """Returns the variables of all files, a later one's over an earlier one's, and the ignored ones as `PATH: NAME`.

    It does not wait for a FIFO or a socket, but may for a file system that hangs.

    Raises OSError, whose `filename` is the path, for a file or pattern without `-` that is missing, cannot be read, is
    no plain file or device, or is not text.
    """
    variables: dict[str, str] = {}
    ignored: list[str] = []
    for item in paths:
        optional = item.startswith("-")
        try:
            found = _matches(item.removeprefix("-"))
        except OSError:
            if optional:
                continue
            raise
        for path in found:
            try:
                file = _read(path)
            except OSError:
                if optional:
                    continue
                raise
            variables.update(file.variables)
            ignored += [f"{path}: {name}" for name in file.ignored]
    return EnvironmentFile(variables, tuple(ignored))


def _read(path: str) -> EnvironmentFile:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            raise OSError(22, "is neither a file nor a character device", path)
        try:
            return parse_environment_file(file.read(FILE_BYTES_MAX + 1))
        except EnvironmentFileError as error:
            raise OSError(22, str(error), path) from error


def _matches(pattern: str) -> Sequence[str]:
    """Returns the paths that match, in the C library's order. Raises FileNotFoundError if there are none."""
    if not pattern.startswith("/"):
        raise OSError(22, "is not an absolute path", pattern)
    if not _MAGIC & set(pattern):
        return [pattern]
    found = _glob(pattern)
    if not found:
        raise FileNotFoundError(2, "no file matches", pattern)
    if len(found) > FILES_MAX:
        raise OSError(7, f"matches {len(found)} files, more than {FILES_MAX}", pattern)
    return found


class _Glob(ctypes.Structure):
    """The beginning of glob_t, which is the same in glibc and musl."""

    _fields_ = [  # as ctypes wants it
        ("pathc", ctypes.c_size_t),
        ("pathv", ctypes.POINTER(ctypes.c_char_p)),
        ("rest", ctypes.c_char * _GLOB_BYTES),
    ]


def _glob(pattern: str) -> list[str]:
    """Calls glob(3) itself, as systemd does: Python's knows neither classes such as `[[:digit:]]` nor `[^a]`."""
    library = ctypes.CDLL(None)
    found = _Glob()
    if library.glob(os.fsencode(pattern), 0, None, ctypes.byref(found)):
        return []
    try:
        return [os.fsdecode(found.pathv[index] or b"") for index in range(found.pathc)]
    finally:
        library.globfree(ctypes.byref(found))
