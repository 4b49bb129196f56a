"""The port through which the SQLite engine reaches files, and the operating system's adapter with module sqlite3.

A simulated disk has another adapter (rube.sim.sqlite), so that the same engine runs in a world.
"""

from __future__ import annotations

import os
import sqlite3  # noqa: TID251 (belongs to the engine)
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from rube.store.engines import room
from rube.store.engines.acknowledged import AcknowledgedMark
from rube.store.engines.private_files import close_to_others, open_file
from rube.store.engines.sqlite_lock import lock_file, place_of

# The writer's: each cached statement keeps the parameters of its last use, up to a whole batch.
_BATCHES_CACHED_MAX = 4
_STATEMENTS_CACHED_MAX = 128
# How long a connection waits for another's lock: of an engine that others wait for, and of those who only look.
_ENGINE_PATIENCE_S = 1.0
_PATIENCE_S = 5.0


class Cursor(Protocol):
    """The rows of a statement, as `sqlite3.Cursor` has them."""

    def fetchone(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...

    def close(self) -> None: ...


class Connection(Protocol):
    """A connection without transactions of its own, like a `sqlite3.Connection` with no isolation level.

    All methods raise `sqlite3.Error` with SQLite's code.
    """

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor: ...

    def close(self) -> None: ...


class File(Protocol):
    """A file that is read and written at offsets. All methods raise OSError."""

    def read_at(self, size_bytes: int, place: int) -> bytes:
        """Returns the bytes there; fewer at the end of the file."""
        ...

    def write_at(self, data: bytes, place: int) -> None: ...

    def size_bytes(self) -> int: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Lock(Protocol):
    """The lock of the one process that may write, with the acknowledged mark that is stored in it."""

    def read_mark(self) -> AcknowledgedMark | None: ...

    def write_mark(self, mark: AcknowledgedMark) -> None: ...

    def release(self) -> None: ...


class Access(Enum):
    """The purpose of a connection."""

    WRITE = "write"
    READ = "read"
    """The engine's reads beside its own writer."""
    INSPECT = "inspect"
    """For reads before there is an engine, or of a file that is damaged."""
    LOOK = "look"
    """For reads beside a process that may write, by a user who perhaps may not."""


class Files(Protocol):
    """The files of databases on the engine's host."""

    def place_of(self, path: Path) -> Path:
        """Returns the file's own path for any of its names. Errors: see `sqlite_lock.place_of`."""
        ...

    def lock(self, path: Path) -> Lock:
        """Locks the file, and creates it if it is missing. Raises FailedPreconditionError while another process holds
        it."""
        ...

    def connect(self, path: Path, access: Access) -> Connection: ...

    def name_of(self, path: Path) -> str:
        """Returns the name by which a statement names the file."""
        ...

    def open(self, path: Path, *, create: bool = False) -> File:
        """Opens the file. Raises FileNotFoundError if there is none; with `create` FileExistsError if there is one."""
        ...

    def remove(self, path: Path) -> None:
        """Removes the file, if there is one."""
        ...

    def size_bytes(self, path: Path) -> int | None:
        """Returns the file's size; None if there is no file."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Makes the directory's entries durable."""
        ...

    def close_to_others(self, path: Path) -> None:
        """See `private_files`."""
        ...

    def is_short(self, path: Path, reserve_bytes: int) -> bool:
        """See `room`."""
        ...

    def log_bytes(self, path: Path, log_bytes_max: int) -> int:
        """See `room`."""
        ...


class DescriptorFile:
    """A `File` of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, size_bytes: int, place: int) -> bytes:
        return os.pread(self._descriptor, size_bytes, place)

    def write_at(self, data: bytes, place: int) -> None:
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], place + written)

    def size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class OsFiles:
    """`Files` of the operating system."""

    def place_of(self, path: Path) -> Path:
        return place_of(path)

    def lock(self, path: Path) -> Lock:
        return lock_file(path)

    def connect(self, path: Path, access: Access) -> sqlite3.Connection:
        # One thread at a time uses a connection; SQLite's check would forbid opening it on the other thread.
        connection = sqlite3.connect(
            path if access is Access.WRITE else f"file:{quote(str(path.absolute()))}?{_mode(path, access)}",
            uri=access is not Access.WRITE,
            isolation_level=None,
            check_same_thread=False,
            timeout=_ENGINE_PATIENCE_S if access in (Access.WRITE, Access.READ) else _PATIENCE_S,
            cached_statements=_BATCHES_CACHED_MAX if access is Access.WRITE else _STATEMENTS_CACHED_MAX,
        )
        connection.text_factory = as_text
        return connection

    def name_of(self, path: Path) -> str:
        return str(path)

    def open(self, path: Path, *, create: bool = False) -> DescriptorFile:
        if create:
            return DescriptorFile(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        try:
            return DescriptorFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError:
            raise
        except OSError:  # the user or the file system may only read
            return DescriptorFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def size_bytes(self, path: Path) -> int | None:
        return path.stat().st_size if path.is_file() else None

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close_to_others(self, path: Path) -> None:
        close_to_others(path)

    def is_short(self, path: Path, reserve_bytes: int) -> bool:
        return room.is_short(path, reserve_bytes)

    def log_bytes(self, path: Path, log_bytes_max: int) -> int:
        return room.log_bytes(path, log_bytes_max)


OS_FILES = OsFiles()


def as_text(data: bytes) -> str:
    """Decodes text for connections: bytes that damage has turned into text do not raise an error of Python's."""
    return data.decode("utf-8", "surrogateescape")


def _mode(path: Path, access: Access) -> str:
    # Without a log, and where none can be made, no process writes: SQLite then needs no index of the log.
    still = access is Access.LOOK and not Path(f"{path}-wal").exists() and not os.access(path.parent, os.W_OK)
    return "immutable=1" if still else "mode=ro"
