"""The lock that lets one process at a time open a SQLite file, under any of the file's names.

Two names of one file (a link, a mount of the file alone) mean two write-ahead logs, and SQLite then loses the content
of either (https://www.sqlite.org/howtocorrupt.html section 2.4). So a symbolic link is followed, a file with a further
name is refused, and the lock is on the file itself, not on its name.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.store.engines.acknowledged import AcknowledgedMark, is_foreign, read_mark, write_mark
from rube.store.engines.private_files import FILE_MODE, close_to_others, make_directory

# A lock of the open file (F_OFD_SETLK) that does not collide with SQLite's own process locks: those cover bytes around
# 1 GiB (https://www.sqlite.org/fileformat2.html section 1.2), this one a byte that no file reaches.
_LOCK_PLACE = 1 << 62
# struct flock: kind, from the start of the file, first byte, bytes, no process.
_FLOCK = struct.Struct("@hhqqi4x")
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class FileLock(NamedTuple):
    """The locks of a process that has the file open. The kernel drops them with the process."""

    mark_fd: int
    """The descriptor of `<path>.lock`, which also holds the acknowledged mark."""
    file_fd: int
    """The descriptor of the database file. Closing any descriptor of it drops SQLite's own locks, so it is closed
    last."""

    def read_mark(self) -> AcknowledgedMark | None:
        return read_mark(self.mark_fd)

    def write_mark(self, mark: AcknowledgedMark) -> None:
        write_mark(self.mark_fd, mark)

    def release(self) -> None:
        os.close(self.file_fd)
        os.close(self.mark_fd)


def place_of(path: Path) -> Path:
    """Returns the file's own path, with every symbolic link followed.

    Raises InvalidArgumentError for a directory, FailedPreconditionError for a file that also has another name.
    """
    try:
        found = path.resolve()
        is_directory = found.is_dir()
    except (OSError, RuntimeError) as error:  # a circle of links, a name that is too long
        raise _cannot_open(path, error) from error
    if is_directory:
        raise InvalidArgumentError(f"{path} is a directory: name a file in it, such as {path}/rube.db")
    _check_alone(found)
    return found


def lock_file(path: Path) -> FileLock:
    """Locks the file for this process, and creates it if it is missing. `path` is from `place_of`."""
    try:
        make_directory(path.parent)
        mark_fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise _cannot_open(path, error) from error
    file_fd = -1
    try:
        if not is_foreign(mark_fd):
            close_to_others(Path(f"{path}.lock"))
        elif not path.exists():  # beside a store it is the store's own, so it is damaged
            raise _not_ours(path)
        _hold(path, mark_fd)
        if not path.exists():
            os.ftruncate(mark_fd, 0)  # it belongs to a store that was deleted
        file_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        _hold_inode(path, file_fd)
        _check_alone(path)
    except BaseException as error:
        for fd in (file_fd, mark_fd):
            if fd >= 0:
                os.close(fd)
        if isinstance(error, OSError):
            raise _cannot_open(path, error) from error
        raise
    return FileLock(mark_fd, file_fd)


def _not_ours(path: Path) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{path}.lock does not belong to a store of Rube's, and would be overwritten: choose another name for the "
        "store; or, if it is damaged and no other program's, remove it"
    )


def _hold(path: Path, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FailedPreconditionError(
            f"{path} is in use by another process: stop it (`fuser {path}.lock` names it) or choose another file; "
            "the lock ends with its process, nothing needs to be removed"
        ) from error


def _hold_inode(path: Path, fd: int) -> None:
    lock = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCK_PLACE, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError) as error:
        raise FailedPreconditionError(
            f"{path} is in use by another process, by another name (a link, a mount): stop it (`fuser {path}` names "
            "it) or choose another file; the lock ends with its process, nothing needs to be removed"
        ) from error


def _check_alone(path: Path) -> None:
    try:
        names = path.stat().st_nlink
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot_open(path, error) from error
    if names > 1:
        raise FailedPreconditionError(
            f"{path} has {names} names (hard links), and SQLite's log belongs to one name alone: remove the others "
            f"(`find DIR -samefile {path}` lists them), or put a copy in its place"
        )
    if _is_mounted(path):
        raise FailedPreconditionError(
            f"{path} is mounted as a file by itself, so that the log beside it is another one than that of the "
            "original file: mount the directory that holds it"
        )


def _is_mounted(path: Path) -> bool:
    """Returns whether the file is a mount point; False if the system does not say."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    points = (line.split(b" ")[4] for line in lines if line.count(b" ") >= 4)
    wanted = os.fsencode(path)
    return any(_ESCAPED.sub(lambda code: bytes([int(code.group(1), 8)]), point) == wanted for point in points)


def _cannot_open(path: Path, error: Exception) -> FailedPreconditionError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return FailedPreconditionError(
        f"{path} cannot be created or opened ({why}): choose a directory that this user may write to"
    )
