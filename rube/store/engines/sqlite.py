"""The engine on SQLite.

One thread writes; reads happen on the caller's thread through connections of their own, which a WAL database allows
without waiting. Keys of eight bytes (which an append-only log uses) live in a table keyed by integer, which takes three
times the rows per second of a table keyed by bytes; all other keys live in the second table. A scan merges both.
"""

from __future__ import annotations

import asyncio
import sqlite3  # noqa: TID251 (this is the engine)
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.host import Write
from rube.host.disk_errors import full
from rube.store.checksums import SALVAGE
from rube.store.engines.acknowledged import AcknowledgedMark
from rube.store.engines.room import growth_bytes
from rube.store.engines.sqlite_errors import translate
from rube.store.engines.sqlite_files import OS_FILES, Access, Connection, Files, Lock
from rube.store.engines.sqlite_tables import (
    PAGE_BYTES,
    check_tables,
    create_tables,
    files_bytes,
    get_value,
    inspect_file,
    renew_mark,
    scan_pairs,
    stored_mark,
    unused_bytes,
    write_batch,
)
from rube.store.engines.sqlite_wal import copy_log, damaged_at, sync_log, write_log_anew

_T = TypeVar("_T")

LOG_BYTES_MAX = 16 * 1024 * 1024
"""A log of about so many bytes is copied into the database file."""
RESERVE_BYTES = 2 * LOG_BYTES_MAX
"""Bytes kept free for compaction: those of the log, and as many that are copied from it."""
UNUSED_BYTES_MIN = 16 * PAGE_BYTES
"""Pages that a batch may need beside those for its rows."""
_READERS_IDLE_MAX = 4


class SqliteEngine:
    """A `rube.host.Engine` on one file; `synchronous=FULL`, so that a commit survives power loss.

    Locks (rube.store.engines.sqlite_lock) keep a second process out; the kernel drops them with the process that holds
    them, so nothing is left to clean up after kill -9. The acknowledged mark (`acknowledged.py`) is in `<path>.lock`.
    """

    def __init__(self, files: Files, path: Path, lock: Lock, mark: AcknowledgedMark) -> None:
        self._files = files
        self._path = path
        self._lock = lock
        self._mark = mark
        self._readers: list[Connection] = []
        self._poison: RubeError | None = None
        self._closed = False
        # About how many bytes were written to the log since it was copied.
        self._log_bytes = 0
        self._log_bytes_max = files.log_bytes(path.parent, LOG_BYTES_MAX)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._writer = _connect(files, path)
        try:
            self._reader = _connect_reader(files, path)
        except BaseException:
            self._writer.close()
            raise

    @classmethod
    async def open(cls, path: Path, files: Files = OS_FILES) -> SqliteEngine:
        """Opens or creates the file. Errors: see `rube.host.Storage.open`."""
        # On a thread: it reads the whole file, and waits for the disk.
        opening = asyncio.get_running_loop().run_in_executor(None, cls._open, path, files)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_give_up)
            raise

    @classmethod
    def _open(cls, path: Path, files: Files) -> SqliteEngine:
        path = files.place_of(path)
        lock = files.lock(path)
        try:
            sync_log(files, path)
            _undo_creation(files, path)
            _check_sound(files, path, lock.read_mark())
            files.close_to_others(path)  # SQLite gives the file's mode to the files that it makes beside it
            mark = _prepare(files, path)
            for suffix in ("-wal", "-shm"):
                files.close_to_others(Path(f"{path}{suffix}"))
            return cls(files, path, lock, mark)
        except BaseException as error:
            lock.release()
            if isinstance(error, sqlite3.Error):
                raise translate(error, path) from error
            raise

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return get_value(self._reader, self._path, key)

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
        await self._on_thread(lambda: copy_database(self._files, self._path, Path(path)))

    def size_bytes(self) -> int:
        return files_bytes(self._files, self._path)

    def inspect(self) -> Iterator[str]:
        self._check_open()
        return inspect_file(self._reader)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._on_thread(self._close_connections)
        finally:
            self._thread.shutdown(wait=True)
            self._lock.release()

    def _close_connections(self) -> None:
        """Copies the log, unless a sync has failed: then it stays as it is, for the next start.

        SQLite would copy it when the last connection is closed, even after a failure, and remove it.
        """
        try:
            if self._poison is None:
                self._copy_log()
        finally:
            readers = [self._reader, *self._readers]
            # A connection that may not write leaves the log.
            for connection in [*readers, self._writer] if self._poison is None else [self._writer, *readers]:
                connection.close()

    def abandon(self) -> None:
        """Closes an engine that was not used yet."""
        self._closed = True
        self._thread.shutdown()
        for connection in (self._reader, self._writer):
            connection.close()
        self._lock.release()

    def _write(self, batch: Sequence[Write]) -> None:
        # On the thread, so that it is carried out, and a failure noted, even if the caller is cancelled meanwhile.
        mark = AcknowledgedMark(self._mark.identity, self._mark.sequence + 1)
        try:
            self._check_room(growth_bytes(batch))
            self._log_bytes += write_batch(self._writer, batch, mark)
        except sqlite3.Error as error:
            raise self._noted(error) from error
        self._mark = mark
        self._lock.write_mark(mark)
        if self._log_bytes >= self._log_bytes_max:
            self._copy_log()

    def _copy_log(self) -> None:
        """Copies the log into the file, up to what readers still need.

        SQLite would do so by itself, but ignore a failed sync and try again after the next commit.
        """
        try:
            if copy_log(self._writer):
                self._log_bytes = 0
        except sqlite3.Error as error:
            failure = self._noted(error)
            if isinstance(failure, DataLossError):
                raise failure from error
            # On a full disk the log stays.

    def _noted(self, error: sqlite3.Error) -> RubeError:
        failure = translate(error, self._path)
        if isinstance(failure, DataLossError):
            self._poison = failure
        return failure

    def _check_room(self, added_bytes: int) -> None:
        """Raises ResourceExhaustedError for a batch that adds much while little room is left, and none in the file
        itself."""
        if not added_bytes or not self._files.is_short(self._path, RESERVE_BYTES):
            return
        if unused_bytes(self._writer) < 2 * added_bytes + UNUSED_BYTES_MIN:
            raise full(self._path)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError(f"{self._path} is closed")

    def _take_reader(self) -> Connection:
        try:
            return self._readers.pop() if self._readers else _connect_reader(self._files, self._path)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _return_reader(self, reader: Connection) -> None:
        """Ends the reader's transaction. A reader that fails to is not used again."""
        try:
            if reader.in_transaction:
                reader.execute("ROLLBACK")
        except sqlite3.Error as error:
            reader.close()
            raise translate(error, self._path) from error
        if self._closed or len(self._readers) >= _READERS_IDLE_MAX:
            reader.close()
        else:
            self._readers.append(reader)

    def _scan_and_return(
        self, reader: Connection, start: bytes, end: bytes, limit: int, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            _begin(reader, self._path)
            with closing(scan_pairs(reader, self._path, start, end, limit, reverse)) as rows:
                yield b"", b""
                yield from rows
        finally:
            self._return_reader(reader)


def _give_up(opening: asyncio.Future[SqliteEngine]) -> None:
    """Closes an engine whose caller was cancelled before it was open."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abandon()


class SqliteSnapshot:
    """A `rube.host.Snapshot`: one read transaction, held until `close`; the log grows meanwhile."""

    def __init__(self, path: Path, reader: Connection, give_back: Callable[[Connection], None]) -> None:
        self._path = path
        self._reader = reader
        self._give_back = give_back
        self._closed = False
        try:
            _begin(reader, path)
            get_value(reader, path, b"")  # a read transaction begins with its first read
        except BaseException:
            give_back(reader)
            raise

    def get(self, key: bytes) -> bytes | None:
        return get_value(self._reader, self._path, key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return scan_pairs(self._reader, self._path, start, end, limit, reverse)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._give_back(self._reader)


def _begin(reader: Connection, path: Path) -> None:
    try:
        reader.execute("BEGIN")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _connect(files: Files, path: Path) -> Connection:
    return _prepared(
        files.connect(path, Access.WRITE),
        "PRAGMA synchronous = FULL",
        "PRAGMA wal_autocheckpoint = 0",
        # A log that grew during a read (a backup) is cut once it has been copied.
        f"PRAGMA journal_size_limit = {2 * files.log_bytes(path.parent, LOG_BYTES_MAX)}",
        "PRAGMA mmap_size = 0",
        # Debian's SQLite overwrites deleted content with zeros, so a delete would take as much room as the content did.
        "PRAGMA secure_delete = OFF",
    )


def _connect_reader(files: Files, path: Path) -> Connection:
    # From its first read on SQLite counts the connection among those that have the file open.
    return _prepared(files.connect(path, Access.READ), "PRAGMA mmap_size = 0", "SELECT 1 FROM sqlite_master LIMIT 1")


def _prepared(connection: Connection, *statements: str) -> Connection:
    """Runs the statements on the connection, and closes it if one fails."""
    try:
        for statement in statements:
            connection.execute(statement).fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _undo_creation(files: Files, path: Path) -> None:
    """Takes back what a process wrote that ended while it created the file, as its journal says.

    A file of ours has a journal only then: before it has a write-ahead log. A mere reader cannot take it back.
    """
    if files.size_bytes(Path(f"{path}-journal")) and (files.size_bytes(path) or 0) <= PAGE_BYTES:
        with closing(files.connect(path, Access.WRITE)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


def _check_sound(files: Files, path: Path, acknowledged: AcknowledgedMark | None) -> None:
    """Raises DataLossError if a page is damaged, or if acknowledged commits are missing: SQLite takes a cut or damaged
    log for one that ends there. Only reads, so that the remains stay as they are."""
    had_log = bool(files.size_bytes(Path(f"{path}-wal")))
    with closing(files.connect(path, Access.INSPECT)) as connection:
        created = check_tables(connection, path)
        found = stored_mark(connection) if created else None
        finding = next(inspect_file(connection), None) if created else None
    if finding is not None:
        raise DataLossError(f"{path} is damaged ({finding}): {SALVAGE}", path=str(path))
    if had_log and (end := damaged_at(files, path)):
        raise DataLossError(
            f"{path}-wal is damaged behind byte {end}, and commits follow: {SALVAGE}; or, to go on without "
            f"them, `truncate -s {end} {path}-wal` and remove {path}.lock",
            path=f"{path}-wal",
        )
    if acknowledged is None or not acknowledged.sequence:
        return
    if found is None or (found.identity == acknowledged.identity and found.sequence < acknowledged.sequence):
        ends = f"ends after {found.sequence}" if found else "holds none"
        raise DataLossError(
            f"{path} is damaged: {acknowledged.sequence} commits were acknowledged, and the file with its -wal {ends} "
            f"(or something else was put in its place): {SALVAGE}; or, to go on without what is lost, remove "
            f"{path}.lock",
            path=f"{path}-wal",
        )


def _prepare(files: Files, path: Path) -> AcknowledgedMark:
    """Creates the tables in a new file; checks that an old one is a store of a known version, and sound.

    Copies the log that a killed process left: nothing then depends on pages whose sync failed there.
    """
    with closing(_connect(files, path)) as connection:
        if not check_tables(connection, path):
            create_tables(connection)
            files.sync_directory(path.parent)
        copied = False
        try:
            copied = copy_log(connection)
        except sqlite3.Error as error:
            if isinstance(translate(error, path), DataLossError):
                with closing(_connect_reader(files, path)):  # closed last, as in SqliteEngine.close
                    connection.close()
                raise
        if not copied:
            write_log_anew(files, path)
        return stored_mark(connection) or renew_mark(connection)


def copy_database(files: Files, source: Path, target: Path) -> None:
    """Writes a consistent copy to a new file, durably; another process may have `source` open.

    Raises FailedPreconditionError if the target exists, and the errors of the disk and of a damaged source.
    """
    if files.size_bytes(source) is None:
        raise FailedPreconditionError(f"there is no store {source}: name the file of one")
    try:
        files.open(target, create=True).close()
    except FileExistsError:
        raise FailedPreconditionError(
            f"{target} exists already: name a new file for the copy, or move it away"
        ) from None
    try:
        with closing(_connect(files, source)) as connection:
            connection.execute("VACUUM INTO ?", (files.name_of(target),))
        with closing(_connect(files, target)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            renew_mark(connection)
    except sqlite3.Error as error:
        files.remove(target)
        told = translate(error, target)
        # What is damaged is the source; what is full or cannot be written is the target.
        raise (translate(error, source) if isinstance(told, DataLossError) else told) from error
    with closing(files.open(target)) as file:
        file.sync()
    files.sync_directory(target.parent)
