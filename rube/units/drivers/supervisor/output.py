"""The writer of a unit's output: from a pipe into files whose size is bounded as they are written.

The processes get the pipe's end, never a file, so that none of them can fill the disk: a unit that prints faster than
the disk takes it waits. Output that the disk refuses is dropped and counted, and a line in the log says so once there
is room.
"""

from __future__ import annotations

import fcntl
import os

from rube.units.drivers.supervisor.files import FILE_MODE
from rube.units.drivers.supervisor.logs import LOG_BYTES_MAX, log_names

PIPE_BYTES = 64 * 1024
COPIES_MAX = 16
"""Reads of PIPE_BYTES a turn; then the shim looks at its other business."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class RotatingLog:
    """The files `log`, `log.1`, … in a directory: LOG_FILES of LOG_BYTES_MAX bytes at most. Raises no OSError."""

    def __init__(self, directory: str) -> None:
        self._paths = [os.path.join(directory, name) for name in log_names()]
        self._handle: int | None = None
        self._size = 0
        self.lost_bytes = 0
        """Printed, and not to be written, since the log last said so."""
        self._why = ""

    def write(self, data: bytes) -> None:
        if self.lost_bytes:
            self._tell_what_was_lost()
        self._put(data)

    def check(self) -> None:
        """Writes to the file of that name from now on, in case the open one was removed or moved."""
        if self._handle is None:
            return
        try:
            named = os.stat(self._paths[0], follow_symlinks=False).st_ino
        except OSError:
            named = 0
        if named != os.fstat(self._handle).st_ino:
            self.close()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                if self._handle is None:
                    self._open()
                assert self._handle is not None
                if self._size >= LOG_BYTES_MAX:
                    self._turn()
                written = os.write(self._handle, rest[: LOG_BYTES_MAX - self._size])
            except OSError as error:
                self.lost_bytes += len(rest)
                self._why = (error.strerror or str(error)).lower()
                return
            self._size += written
            rest = rest[written:]

    def _open(self) -> None:
        self._handle = os.open(self._paths[0], _FLAGS, FILE_MODE)
        self._size = os.fstat(self._handle).st_size

    def _turn(self) -> None:
        """Renames the newest file to `log.1`, and so on. If not even that is possible, the newest is truncated."""
        assert self._handle is not None
        try:
            for older, newer in zip(self._paths[:0:-1], self._paths[-2::-1], strict=True):
                if os.path.lexists(newer):
                    os.replace(newer, older)
            handle = os.open(self._paths[0], _FLAGS | os.O_EXCL, FILE_MODE)
        except OSError:
            os.ftruncate(self._handle, 0)
            self._size = 0
            return
        os.close(self._handle)
        self._handle, self._size = handle, 0

    def _tell_what_was_lost(self) -> None:
        lost, self.lost_bytes = self.lost_bytes, 0
        self._put(f"\n[rube: {lost} bytes of output were lost here: {self._why}]\n".encode())
        if self.lost_bytes:  # there is still no room
            self.lost_bytes = lost


class UnitOutput:
    """The pipes that a unit's processes print into, and the log that receives it."""

    def __init__(self, directory: str) -> None:
        self.log = RotatingLog(directory)
        self._writer: int | None = None
        self.readers: list[int] = []
        """To be polled for input. One as a rule; more while processes of an earlier start still hold theirs."""

    def writer(self) -> int:
        """Returns the end that a process of the unit prints into; this object closes it. Raises OSError."""
        if self._writer is None:
            reader, self._writer = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reader, False)
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self.readers.append(reader)
        return self._writer

    def release(self) -> None:
        """Closes the pipe's writing end: its reader ends when the last process that prints into it has ended."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def copy(self) -> None:
        """Writes the available output, as much as one turn takes; closes the pipes that have no writer any more."""
        for reader in tuple(self.readers):
            for _ in range(COPIES_MAX):
                try:
                    data = os.read(reader, PIPE_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    os.close(reader)
                    self.readers.remove(reader)
                    break
                self.log.write(data)

    def close(self) -> None:
        """Ends all of it; later output is lost."""
        self.release()
        for reader in self.readers:
            os.close(reader)
        self.readers.clear()
        self.log.close()
