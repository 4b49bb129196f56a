"""The engine on SQLite.

One thread writes; reads happen on the caller's thread through connections of their own, which a WAL database allows
without waiting. Keys of eight bytes (what an append-only log uses) live in a table keyed by integer, which takes
three times the rows per second of a table keyed by bytes; all other keys live in the second table. A scan merges both.
"""

from __future__ import annotations

import asyncio
import fcntl
import heapq
import os
import sqlite3  # noqa: TID251 (this is the engine)
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rube.api.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, RubeError
from rube.host import Write
from rube.store.engines.sqlite_errors import translate

_T = TypeVar("_T")

FORMAT_VERSION = 1
# "Rube" in ASCII: tells this file from another program's database (https://www.sqlite.org/fileformat2.html).
APPLICATION_ID = 0x52756265
PAGE_BYTES = 8192
# A checkpoint copies the log back into the file; after about 16 MiB of it.
WAL_PAGES_MAX = 2048
# One row of eight bytes' key maps to a signed integer of the same order.
_ID_BASE = 1 << 63
_READERS_IDLE_MAX = 4

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


class SqliteEngine:
    """`rube.host.Engine` on one file; `synchronous=FULL`, so that a commit survives power loss.

    A second process is kept out by an flock on `<path>.lock`, which the kernel drops with the process that holds it:
    nothing is left to clean up after kill -9.
    """

    def __init__(self, path: Path, lock_fd: int) -> None:
        self._path = path
        self._lock_fd = lock_fd
        self._readers: list[sqlite3.Connection] = []
        self._poison: RubeError | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._writer = _connect(path)
        self._reader = _connect(path)

    @classmethod
    async def open(cls, path: Path) -> SqliteEngine:
        """Opens or creates the file. Errors: see `rube.host.Storage.open`."""
        lock_fd = _lock(path)
        try:
            _sync_log(path)
            _prepare(path)
            return cls(path, lock_fd)
        except BaseException as error:
            os.close(lock_fd)
            if isinstance(error, sqlite3.Error):
                raise translate(error, path) from error
            raise

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return _get(self._reader, self._path, key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        reader = self._take_reader()
        rows = self._scan_and_return(reader, start, end, limit, reverse)
        next(rows)  # starts the read transaction now, not at the first pair
        return rows

    def snapshot(self) -> SqliteSnapshot:
        self._check_open()
        return SqliteSnapshot(self._path, self._take_reader(), self._return_reader)

    async def commit(self, batch: Sequence[Write]) -> None:
        self._check_open()
        if self._poison is not None:
            raise DataLossError(self._poison.message, **self._poison.metadata)
        await self._on_thread(lambda: self._write(batch))

    async def checkpoint(self, path: str) -> None:
        await self._on_thread(lambda: copy_database(self._path, Path(path)))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for reader in (self._reader, *self._readers):
            reader.close()
        try:
            await self._on_thread(self._writer.close)
        finally:
            self._thread.shutdown(wait=True)
            os.close(self._lock_fd)

    def _write(self, batch: Sequence[Write]) -> None:
        # On the thread, so that it is carried out, and a failure noted, even if the caller is cancelled meanwhile.
        try:
            _write(self._writer, batch)
        except sqlite3.Error as error:
            translated = translate(error, self._path)
            if isinstance(translated, DataLossError):
                self._poison = translated
            raise translated from error

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError(f"{self._path} is closed")

    def _take_reader(self) -> sqlite3.Connection:
        return self._readers.pop() if self._readers else _connect(self._path)

    def _return_reader(self, reader: sqlite3.Connection) -> None:
        if self._closed or len(self._readers) >= _READERS_IDLE_MAX:
            reader.close()
        else:
            self._readers.append(reader)

    def _scan_and_return(
        self, reader: sqlite3.Connection, start: bytes, end: bytes, limit: int, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        reader.execute("BEGIN")
        try:
            with closing(_scan(reader, self._path, start, end, limit, reverse)) as rows:
                yield b"", b""
                yield from rows
        finally:
            reader.execute("ROLLBACK")
            self._return_reader(reader)


class SqliteSnapshot:
    """`rube.host.Snapshot`: one read transaction, held until `close`; the log grows meanwhile."""

    def __init__(self, path: Path, reader: sqlite3.Connection, give_back: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._reader = reader
        self._give_back = give_back
        self._closed = False
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM log LIMIT 1").fetchone()  # a read transaction begins with its first read

    def get(self, key: bytes) -> bytes | None:
        return _get(self._reader, self._path, key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._reader, self._path, start, end, limit, reverse)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._reader.execute("ROLLBACK")
            self._give_back(self._reader)


def _lock(path: Path) -> int:
    """Holds `<path>.lock`. A lock file of its own, because closing any descriptor of the database file would drop
    SQLite's own locks on it (https://www.sqlite.org/howtocorrupt.html section 2.2)."""
    if path.is_dir():
        raise InvalidArgumentError(f"{path} is a directory: name a file in it, such as {path}/rube.db")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FailedPreconditionError(
            f"{path} cannot be created or opened ({error.strerror}): choose a directory that this user may write to"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise FailedPreconditionError(
            f"{path} is in use by another process: stop it (`fuser {path}.lock` names it) or choose another file; "
            "the lock ends with its process, nothing needs to be removed"
        ) from error
    return fd


def _sync_log(path: Path) -> None:
    """What a killed process wrote may not be durable yet, and from here on it is read."""
    try:
        fd = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        raise DataLossError(f"{path}-wal: the disk failed to sync ({error.strerror}): check the disk") from error
    finally:
        os.close(fd)


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread at a time; the check would forbid opening it on the other one.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
    connection.execute("PRAGMA mmap_size = 0")
    return connection


def _prepare(path: Path) -> None:
    """Creates the tables in a new file; checks that an old one is ours, of a known version, and sound."""
    with closing(_connect(path)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            _create(connection)
            _sync_directory(path.parent)
            return
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise FailedPreconditionError(f"{path} is another program's database: choose another file")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT_VERSION:
            raise FailedPreconditionError(
                f"{path} has format {version} and this program knows {FORMAT_VERSION}: use the version of Rube that "
                "wrote it, or restore a backup"
            )
        connection.execute("SELECT id FROM log LIMIT 1").fetchone()
        connection.execute("SELECT key FROM pairs LIMIT 1").fetchone()


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(connection: sqlite3.Connection, batch: Sequence[Write]) -> None:
    """One transaction; the last write to a key wins. Runs on the engine's thread."""
    last = dict(batch)
    log = [(_id(key), value) for key, value in last.items() if len(key) == 8]
    pairs = [(key, value) for key, value in last.items() if len(key) != 8]
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table, column, rows in (("log", "id", log), ("pairs", "key", pairs)):
            puts = [row for row in rows if row[1] is not None]
            deletes = [row[:1] for row in rows if row[1] is None]
            if puts:
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", puts)
            if deletes:
                connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", deletes)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def copy_database(source: Path, target: Path) -> None:
    """Writes a consistent copy to a new file, durably; another process may have `source` open.

    Raises FailedPreconditionError where the target exists, and what the disk or the file's content says.
    """
    if not source.is_file():
        raise FailedPreconditionError(f"there is no store {source}: name the file of one")
    if target.exists():
        raise FailedPreconditionError(f"{target} exists already: name a new file for the copy, or move it away")
    try:
        with closing(_connect(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        with closing(_connect(target)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        told = translate(error, target)
        # What is damaged is the source; what is full or cannot be written is the target.
        raise (translate(error, source) if isinstance(told, DataLossError) else told) from error
    fd = os.open(target, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_directory(target.parent)


def _get(connection: sqlite3.Connection, path: Path, key: bytes) -> bytes | None:
    try:
        if len(key) == 8:
            row = connection.execute("SELECT value FROM log WHERE id = ?", (_id(key),)).fetchone()
        else:
            row = connection.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return row[0] if row else None


def _scan(
    connection: sqlite3.Connection, path: Path, start: bytes, end: bytes, limit: int, reverse: bool
) -> Generator[tuple[bytes, bytes]]:
    """Both tables' pairs, merged. The statements start at the call and read one row after the other."""
    order = "DESC" if reverse else "ASC"
    count = limit or -1
    try:
        pairs = connection.execute(
            f"SELECT key, value FROM pairs WHERE key >= ? AND key < ? ORDER BY key {order} LIMIT ?", (start, end, count)
        )
        first, last = _first_id(start), _first_id(end) - 1
        log = connection.execute(
            f"SELECT id, value FROM log WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?",
            (first, last, count) if first <= last else (0, -1, 0),
        )
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return _merge(pairs, log, path, limit, reverse)


def _merge(
    pairs: sqlite3.Cursor, log: sqlite3.Cursor, path: Path, limit: int, reverse: bool
) -> Generator[tuple[bytes, bytes]]:
    with closing(pairs), closing(log):
        merged = heapq.merge(pairs, ((_key(row_id), value) for row_id, value in log), reverse=reverse)
        try:
            yield from islice(merged, limit or None)
        except sqlite3.Error as error:
            raise translate(error, path) from error


def _id(key: bytes) -> int:
    return int.from_bytes(key, "big") - _ID_BASE


def _key(row_id: int) -> bytes:
    return (row_id + _ID_BASE).to_bytes(8, "big")


def _first_id(bound: bytes) -> int:
    """The id of the first key of eight bytes that is not less than `bound`; one past the last id if there is none."""
    return _id(bound[:8].ljust(8, b"\0")) + (1 if len(bound) > 8 else 0)
