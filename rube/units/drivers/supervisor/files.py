"""The files through which driver and shim communicate: a record each, as JSON, replaced atomically, for the owner
alone."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import asdict
from enum import Enum
from typing import TypeVar

from rube.units.drivers.supervisor.decoding import DecodeError, decode
from rube.units.drivers.supervisor.records import FORMAT, Record, RequestRecord, StateRecord, UnitRecord

LOCK, SHIM_LOG = "lock", "shim.log"
FILE_BYTES_MAX = 64 * 1024 * 1024
"""The largest file: an object at the apiserver's limit takes six bytes for one at the worst, and
specifiers make a definition longer."""
DIRECTORY_MODE, FILE_MODE = 0o700, 0o600
"""Definitions hold secrets in their environment, output may hold more. Units need neither (reference/units.md)."""

R = TypeVar("R", UnitRecord, RequestRecord, StateRecord)


class FileError(Exception):
    """A record cannot be read; the text names the file, what is wrong, and what to do."""

    def __init__(self, path: str, why: str, *, newer: bool = False) -> None:
        super().__init__(f"{path}: {why}")
        self.newer = newer
        """True if it is of a later release, which knows better: it is not to be replaced."""


def read(directory: str, kind: type[R]) -> R | None:
    """Returns the record in this directory; None if there is no file. Raises FileError for everything else: a power
    loss, or a user, can leave a damaged file behind."""
    path = os.path.join(directory, kind.NAME)
    try:
        text = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower()) from error
    try:
        data = json.loads(text)
        if isinstance(data, dict):
            # A file without a number is one of the first format.
            data = {"format": 1, **data}
            if type(data["format"]) is int and data["format"] > FORMAT:
                raise FileError(
                    path, f"format {data['format']} is of a later Rube, and this one reads {FORMAT}: update", newer=True
                )
        record = decode(kind, data)
        if not getattr(record, kind.KEY):
            raise DecodeError(f"{kind.KEY}: is missing")
        return record
    except DecodeError as error:
        raise FileError(path, f"damaged: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, "damaged: it is no JSON") from error


def write(directory: str, record: Record, *, durable: bool = False) -> None:
    """Replaces the file; readers see the old content or the new. `durable`: it survives power loss on return.

    Each writer has its own temporary name, because a file has only one writer at a time. Raises OSError.
    """
    path = os.path.join(directory, record.NAME)
    data = json.dumps(asdict(record), sort_keys=True, default=_plain).encode()
    if len(data) > FILE_BYTES_MAX:
        raise OSError(errno.EFBIG, f"{len(data)} bytes are more than the {FILE_BYTES_MAX} that are read", path)
    temporary = f"{path}.new"
    handle = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE
    )
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, FILE_MODE)
        file.write(data)
        if durable:
            file.flush()
            os.fsync(handle)
    os.replace(temporary, path)
    if durable:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_directory(directory: str) -> None:
    """Makes the directory, and those above it that are missing, for the owner alone. Raises OSError.

    One that an older release has made is closed to others; those above it are not this package's to change.
    """
    above = os.path.dirname(directory)
    if above != directory and not os.path.isdir(above):
        make_directory(above)
    try:
        os.mkdir(directory, DIRECTORY_MODE)
    except FileExistsError:
        if os.stat(directory).st_mode & 0o077:
            os.chmod(directory, DIRECTORY_MODE)


def stamp(directory: str, name: str) -> tuple[int, int, int] | None:
    """Returns a value that differs after every change of the file; None without it."""
    try:
        found = os.stat(os.path.join(directory, name))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: str) -> bytes:
    """Returns a regular file's content: a FIFO would never end. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file: remove it")
        if found.st_size > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, f"has more than {FILE_BYTES_MAX} bytes")
        parts = []
        while part := os.read(handle, found.st_size + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _plain(value: object) -> object:
    assert isinstance(value, Enum)
    return value.value
