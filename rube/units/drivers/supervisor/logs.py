"""Reads what a unit has printed: the last lines over all its rotated files, and what comes after.

A unit's output lies in its directory (`SupervisorDriver.directory_of`): `log` is being written, `log.1` is the file
before it, `log.2` the one before that, at most LOG_FILES files of at most LOG_BYTES_MAX bytes each (see `output`, which
writes them). The bytes are the unit's own, standard output and standard error as they came; a line may begin in one
file and end in the next. Contract, for programs that show logs to people:

    with UnitLogReader(driver.directory_of("rube-system.indexer.service")) as reader:
        show(reader.last(100))      # whole lines; the last one may still lack its newline
        while ...:
            show(reader.more())     # what was printed since; b"" if nothing. Ask again after FOLLOW_POLL_S.

`last` and `more` never wait, give at most READ_BYTES_MAX bytes, and raise no error for files that aren't there: a unit
that has printed nothing, or was removed, gives b"". A reader that is slower than the unit loses the oldest bytes, which
are gone from the disk, and counts that in `gaps`.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType

LOG = "log"
LOG_BYTES_MAX = 1024 * 1024
"""The size of one file."""
LOG_FILES = 4
"""The files of one unit, together at most LOG_FILES * LOG_BYTES_MAX bytes."""
READ_BYTES_MAX = LOG_FILES * LOG_BYTES_MAX
FOLLOW_POLL_S = 0.25
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def log_names() -> list[str]:
    """Returns the names of a unit's log files, the newest first."""
    return [LOG, *(f"{LOG}.{number}" for number in range(1, LOG_FILES))]


class UnitLogReader:
    """A place in one unit's output. It holds the file that it reads open, so that rotation doesn't take it away."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._handle: int | None = None
        self._offset = 0
        self.gaps = 0
        """How often bytes were gone before they were read."""

    def __enter__(self) -> UnitLogReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def last(self, lines: int) -> bytes:
        """Returns the last `lines` lines, as far as they are kept; `more` goes on from there."""
        self.close()
        handles = self._open_all()
        try:
            sizes = [os.fstat(handle).st_size for handle in handles]
            data = b"".join(
                os.pread(handle, size, 0) for handle, size in reversed(list(zip(handles, sizes, strict=True)))
            )
            if handles:
                self._handle, self._offset = handles.pop(0), sizes[0]
        finally:
            for handle in handles:
                os.close(handle)
        return _last_lines(data[-READ_BYTES_MAX:], lines)

    def more(self) -> bytes:
        """Returns the output since the last call; b"" if there is none."""
        handles = self._open_all()
        try:
            return self._read_on(handles)
        finally:
            for handle in handles:
                os.close(handle)

    def _read_on(self, handles: list[int]) -> bytes:
        """Reads the rest of the file that is open, then those after it; takes what it keeps out of `handles`."""
        newer = list(handles)
        if self._handle is not None:
            mine = os.fstat(self._handle).st_ino
            inodes = [os.fstat(handle).st_ino for handle in handles]
            if mine in inodes:
                newer = handles[: inodes.index(mine)]
            elif handles:
                self.gaps += len(handles) == LOG_FILES  # there may have been others between
        parts = [self._read()] if self._handle is not None else []
        for handle in reversed(newer):
            handles.remove(handle)
            self.close()
            self._handle, self._offset = handle, 0
            parts.append(self._read())
        return b"".join(parts)

    def _read(self) -> bytes:
        assert self._handle is not None
        size = os.fstat(self._handle).st_size
        if size < self._offset:  # it was cut where the disk was too full to rotate it
            self._offset = 0
            self.gaps += 1
        data = os.pread(self._handle, min(size - self._offset, LOG_BYTES_MAX), self._offset)
        self._offset += len(data)
        return data

    def _open_all(self) -> list[int]:
        """The files, newest first: in this order rotation hides none, and one that is met twice is left out."""
        handles: list[int] = []
        inodes: set[int] = set()
        for name in log_names():
            try:
                handle = os.open(os.path.join(self._directory, name), READ_FLAGS)
            except OSError:
                continue
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_ino not in inodes:
                inodes.add(found.st_ino)
                handles.append(handle)
            else:
                os.close(handle)
        return handles


def _last_lines(data: bytes, lines: int) -> bytes:
    if lines <= 0:
        return b""
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return data
    return data[at + 1 :]
