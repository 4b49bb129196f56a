"""The files and streams that backups are written to and read from."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol

from rube.api.errors import FailedPreconditionError, ResourceExhaustedError, RubeError

PIECE_BYTES = 256 * 1024
# A backup holds the store's data, which may be secret: only its owner may read it.
_MODE = 0o600
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class BackupTarget(Protocol):
    """The receiver of a backup's bytes; an unfinished one is no backup."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None:
        """Makes the backup durable, under its name, before it returns."""
        ...

    def discard(self) -> None:
        """Removes what was written; after `finish` it does nothing."""
        ...


class BackupSource(Protocol):
    """The source of a backup's bytes."""

    @property
    def name(self) -> str: ...

    @property
    def size_bytes(self) -> int:
        """The size of all pieces; 0: unknown."""
        ...

    def pieces(self) -> AsyncIterator[bytes]: ...


class FileTarget:
    """A new file. It grows as FILE.partial, is synced, then renamed: a file with the name is complete."""

    def __init__(self, path: Path) -> None:
        """Raises FailedPreconditionError if the file exists, cannot be made, or another backup is making it."""
        if path.exists():
            raise FailedPreconditionError(f"{path} exists already: name a new file for the backup, or move it away")
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        try:
            self._file = os.fdopen(os.open(self._partial, _FLAGS, _MODE), "ab")
            os.fchmod(self._file.fileno(), _MODE)  # also the file of a killed backup
        except OSError as error:
            raise FailedPreconditionError(
                f"{path} cannot be written ({error.strerror}): name a file in a directory that this user may write to"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise FailedPreconditionError(f"another process is writing {self._partial}: wait for it") from error
        if not self._partial.exists() or not os.path.samestat(self._partial.stat(), os.fstat(self._file.fileno())):
            self._file.close()  # the other process has just renamed it
            raise FailedPreconditionError(f"{path} exists already: name a new file for the backup, or move it away")
        self._file.truncate(0)  # the rest of a killed backup
        self._finished = False

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.rename(self._path)
            self._finished = True
            self._file.close()
            _sync_directory(self._path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        if not self._finished:
            self._finished = True
            self._partial.unlink(missing_ok=True)
            try:
                self._file.close()
            except OSError:
                pass  # data that could not be written need not be

    def _failed(self, error: OSError) -> RubeError:
        return ResourceExhaustedError(
            f"{self._path} cannot be written ({error.strerror}): free some space or name a file on another disk; "
            "nothing of this backup is left"
        )


class FileSource:
    """A backup's file."""

    def __init__(self, path: Path) -> None:
        """Raises FailedPreconditionError if there is none or it cannot be read."""
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise FailedPreconditionError(
                f"{path} cannot be read ({error.strerror}): name a file that `rube store backup` wrote"
            ) from error
        self.name = str(path)
        self.size_bytes = os.fstat(self._file.fileno()).st_size

    async def pieces(self) -> AsyncIterator[bytes]:
        with self._file:
            async for piece in _pieces(self._file, self.name):
                yield piece


class StreamTarget:
    """A stream such as stdout: its reader sees by the footer that it is complete."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None: ...

    def _failed(self, error: OSError) -> RubeError:
        return ResourceExhaustedError(
            f"{self._name} takes no more of the backup ({error.strerror}), which is incomplete: check its reader, or "
            "the disk behind it"
        )


class StreamSource:
    """A stream such as stdin."""

    size_bytes = 0

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def pieces(self) -> AsyncIterator[bytes]:
        return _pieces(self._stream, self.name)


async def _pieces(stream: BinaryIO, name: str) -> AsyncIterator[bytes]:
    try:
        fd = _pipe_of(stream)
        while piece := stream.read(PIECE_BYTES) if fd < 0 else await _read_pipe(fd):
            yield piece
    except OSError as error:
        raise FailedPreconditionError(f"{name} cannot be read ({error.strerror}): check its disk") from error


def _pipe_of(stream: BinaryIO) -> int:
    """Returns the descriptor of a stream whose reader may have to wait for its writer; -1 for others."""
    try:
        fd = stream.fileno()
    except OSError:  # bytes in memory
        return -1
    mode = os.fstat(fd).st_mode
    return fd if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd) else -1


async def _read_pipe(fd: int) -> bytes:
    """Returns the available bytes, once there are some. Until then it can be cancelled, and signals are handled."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    return os.read(fd, PIECE_BYTES)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
