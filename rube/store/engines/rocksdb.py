"""The engine on RocksDB, through rocksdict (the extra `rube-plane[rocksdb]`).

Commits run on the caller's thread: rocksdict holds the interpreter's lock while RocksDB syncs, so a thread would make
commits slower and let nothing else run (docs/decisions/rocksdb-engine.md has the figures).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, RubeError, UnavailableError
from rube.distribution import install_command
from rube.host import Write
from rube.host.disk_errors import full
from rube.store.engines import rocksdb_files as files
from rube.store.engines.acknowledged import write_mark
from rube.store.engines.private_files import open_file
from rube.store.engines.rocksdb_errors import translate
from rube.store.engines.room import growth_bytes, is_short

if TYPE_CHECKING:
    from rocksdict import Rdict, RdictIter

_LOG = logging.getLogger("rube.store")

REOPEN_ROOM_BYTES = 2 * 1024 * 1024
"""After a full disk RocksDB is opened again, which writes its logs' content into a table: the free bytes that this
needs on top."""
RESERVE_BYTES = 2 * files.LEVEL_BUFFERS * files.WRITE_BUFFER_BYTES_MAX
"""Bytes kept free for compaction: the first tables from memory, and those that they are merged with."""
# Pairs that a scan reads at a time: at first, and then.
PAGE_ROWS_MIN = 16
PAGE_ROWS_MAX = 256


class RocksdbEngine:
    """A `rube.host.Engine` on one directory. Every commit is one batch in RocksDB's log, synced."""

    def __init__(self, path: Path, db: Rdict, mark_fd: int | None) -> None:
        """`mark_fd` is the descriptor of the acknowledged mark; None for an engine that is only read."""
        from rocksdict import WriteOptions

        self._path = path
        self._db = db
        self._mark_fd = mark_fd
        self._synced = WriteOptions()
        self._synced.sync = True
        # Open iterators: RocksDB keeps its lock until the last one is gone.
        self._snapshots: WeakSet[RocksdbSnapshot] = WeakSet()
        self._poison: RubeError | None = None
        # After a full disk RocksDB refuses writes until it is opened again.
        self._full = False
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> RocksdbEngine:
        """Opens or creates the directory. Errors: see `rube.host.Storage.open`."""
        _check_installed()
        path = files.place_of(path)
        if read_only:
            return cls(path, files.open_reader(path), None)
        files.prepare(path)
        db = files.open_writer(path)
        mark_fd = -1
        try:
            mark_fd = open_file(path / files.MARK_FILE, os.O_RDWR | os.O_CREAT)
            files.check_mark(path, mark_fd, db.latest_sequence_number())
            write_mark(mark_fd, files.mark_of(db.latest_sequence_number()))
        except BaseException as error:
            db.close()
            if mark_fd >= 0:
                os.close(mark_fd)
            if isinstance(error, OSError):
                raise FailedPreconditionError(
                    f"{path / files.MARK_FILE} cannot be opened ({error.strerror}): check its owner and mode"
                ) from error
            raise
        return cls(path, db, mark_fd)

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return _get(self._db, self._path, key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self.snapshot().scan(start, end, limit=limit, reverse=reverse)

    def snapshot(self) -> RocksdbSnapshot:
        self._check_open()
        try:
            snapshot = RocksdbSnapshot(self._path, self._db.iter())
        except Exception as error:
            raise translate(error, self._path) from error
        self._snapshots.add(snapshot)
        return snapshot

    async def commit(self, batch: Sequence[Write]) -> None:
        self._check_open()
        if self._mark_fd is None:
            raise FailedPreconditionError(f"{self._path} is open for reading only")
        if self._poison is not None:
            raise DataLossError(self._poison.message, **self._poison.metadata)
        if growth_bytes(batch) and is_short(self._path, RESERVE_BYTES):
            raise full(self._path)
        if self._full:
            self._reopen(sum(len(key) + len(value or b"") for key, value in batch))
        if batch:
            self._write(batch, self._mark_fd)
        await asyncio.sleep(0)  # lets others run beside a caller that writes without a pause

    async def checkpoint(self, path: str) -> None:
        from rocksdict import Checkpoint

        self._check_open()
        files.check_absent(Path(path))
        try:
            Checkpoint(self._db).create_checkpoint(path)
        except Exception as error:
            told = translate(error, Path(path), opening=True)
            # Damage is the source's; a full or unwritable disk is the target's.
            raise (translate(error, self._path) if isinstance(told, DataLossError) else told) from error
        files.seal_copy(Path(path))

    def size_bytes(self) -> int:
        return sum(files.size_of(file) for file in self._path.iterdir())

    def inspect(self) -> Iterator[str]:
        """Yields nothing: RocksDB checks every block that it reads, so a scan of everything finds all that can be
        found."""
        self._check_open()
        return iter(())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._close_db()
        finally:
            if self._mark_fd is not None:
                os.close(self._mark_fd)

    def _write(self, batch: Sequence[Write], mark_fd: int) -> None:
        from rocksdict import WriteBatch

        writes = WriteBatch(raw_mode=True)
        for key, value in batch:
            if value is None:
                writes.delete(key)
            else:
                writes.put(key, value)
        before = self._db.latest_sequence_number()
        try:
            self._db.write(writes, self._synced)
        except Exception as error:
            raise self._noted(translate(error, self._path), before) from error
        write_mark(mark_fd, files.mark_of(self._db.latest_sequence_number()))
        if any(value is None for _, value in batch) and is_short(self._path, RESERVE_BYTES):
            self._make_room()

    def _make_room(self) -> None:
        """Lets RocksDB move deletes into its tables now, where they free space, in the background."""
        try:
            self._db.flush(wait=False)
        except Exception as error:
            failure = translate(error, self._path)
            self._full = self._full or isinstance(failure, ResourceExhaustedError)
            _LOG.warning("%s", failure.message)

    def _noted(self, failure: RubeError, sequence: int) -> RubeError:
        """Handles the failure of a commit after `sequence`, and returns it."""
        if isinstance(failure, ResourceExhaustedError):
            self._full = True
            try:
                files.cut_logs(self._path, sequence)
            except OSError as error:
                failure = translate(error, self._path)
        if isinstance(failure, DataLossError):
            self._poison = failure
        return failure

    def _reopen(self, batch_bytes: int) -> None:
        """Makes RocksDB write again, if there is room. Scans and snapshots under way end."""
        needed = batch_bytes + sum(files.size_of(log) for log in files.logs_of(self._path)) + REOPEN_ROOM_BYTES
        if files.free_bytes(self._path) < needed:
            raise full(self._path)
        sequence = self._db.latest_sequence_number()
        try:
            self._close_db()
            self._db = files.open_writer(self._path)
        except ResourceExhaustedError:
            self._db = files.open_reader(self._path)  # reads go on
            raise
        except RubeError as error:
            self._poison = error
            raise
        if self._db.latest_sequence_number() != sequence:
            self._poison = files.lost(self._path, self._db.latest_sequence_number(), sequence)
            raise self._poison
        self._full = False

    def _close_db(self) -> None:
        for snapshot in list(self._snapshots):
            snapshot.close()
        try:
            self._db.close()
        except Exception as error:
            # `close` flushes first, which fails on a full or failed disk. What was acknowledged is in the log.
            failure = translate(error, self._path)
            if not self._full and self._poison is None and not isinstance(failure, ResourceExhaustedError):
                raise failure from error

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError(f"{self._path} is closed")


class RocksdbSnapshot:
    """A `rube.host.Snapshot`: one RocksDB iterator, which sees the database as it was when it was made.

    (rocksdict 0.3.29's own snapshots don't hold for iterators: those see the newest data.) The tables that it needs
    stay on the disk until it is closed or collected.
    """

    def __init__(self, path: Path, cursor: RdictIter) -> None:
        self._path = path
        self._cursor: RdictIter | None = cursor

    def get(self, key: bytes) -> bytes | None:
        page = self._page(key, key + b"\0", 1, False)
        return page[0][1] if page else None

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._open_cursor()
        return self._pairs(start, end, limit, reverse)

    def close(self) -> None:
        self._cursor = None

    def _pairs(self, start: bytes, end: bytes, limit: int, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        size = PAGE_ROWS_MIN
        left = limit
        while True:
            count = min(size, left) if limit else size
            page = self._page(start, end, count, reverse)
            yield from page
            left -= len(page)
            if len(page) < count or (limit and not left):
                return
            if reverse:
                end = page[-1][0]
            else:
                start = page[-1][0] + b"\0"
            size = PAGE_ROWS_MAX

    def _page(self, start: bytes, end: bytes, count: int, reverse: bool) -> list[tuple[bytes, bytes]]:
        """Returns the next pairs; several scans may take turns with the one iterator."""
        cursor = self._open_cursor()
        if reverse:
            cursor.seek_for_prev(end)
            if cursor.valid() and cursor.key() >= end:
                cursor.prev()
            move = cursor.prev
        else:
            cursor.seek(start)
            move = cursor.next
        page: list[tuple[bytes, bytes]] = []
        while len(page) < count and cursor.valid():
            key: bytes = cursor.key()
            if not start <= key < end:
                break
            page.append((key, cursor.value()))
            move()
        try:
            cursor.status()  # an iterator that meets damage ends, and only its status has the error
        except Exception as error:
            raise translate(error, self._path) from error
        return page

    def _open_cursor(self) -> RdictIter:
        if self._cursor is None:
            raise UnavailableError(f"{self._path} was closed while it was read: read again")
        return self._cursor


def _get(db: Rdict, path: Path, key: bytes) -> bytes | None:
    try:
        value: bytes | None = db.get(key)
    except Exception as error:
        raise translate(error, path) from error
    return value


def _check_installed() -> None:
    try:
        import rocksdict  # noqa: F401
    except ImportError as error:
        raise FailedPreconditionError(
            f"RocksDB is not installed here: {install_command('rocksdb')}, or use a sqlite:/// store"
        ) from error
