"""A SQLite engine that is only read, beside the process that may have it open."""

from __future__ import annotations

import os
import sqlite3  # noqa: TID251 (belongs to the engine)
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from rube.api.errors import FailedPreconditionError
from rube.host import Write
from rube.store.engines.acknowledged import Mark, read_mark
from rube.store.engines.sqlite import copy_database
from rube.store.engines.sqlite_errors import translate
from rube.store.engines.sqlite_lock import place_of
from rube.store.engines.sqlite_tables import (
    as_text,
    check_tables,
    files_bytes,
    get_value,
    inspect_file,
    scan_pairs,
    stored_mark,
)


class SqliteReader:
    """`rube.host.Engine` as of the moment of `open`: one read transaction, in which the log of a writer grows."""

    def __init__(self, path: Path, connection: sqlite3.Connection, acknowledged: Mark | None) -> None:
        self._path = path
        self._connection = connection
        self._acknowledged = acknowledged
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> SqliteReader:
        """Errors: see `rube.host.Storage.open`."""
        path = place_of(path)
        if not path.is_file():
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        acknowledged = _acknowledged(path)  # first: what is read after it is not older
        try:
            connection = _connect(path)
            try:
                connection.execute("BEGIN")
                if not check_tables(connection, path):  # its first read begins the transaction
                    raise FailedPreconditionError(f"there is no store in {path}, which is empty: check the path")
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise translate(error, path) from error
        return cls(path, connection, acknowledged)

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return get_value(self._connection, self._path, key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        return scan_pairs(self._connection, self._path, start, end, limit, reverse)

    def snapshot(self) -> _View:
        self._check_open()
        return _View(self)

    async def commit(self, batch: Sequence[Write]) -> None:
        raise FailedPreconditionError(f"{self._path} is open for reading only")

    async def checkpoint(self, path: str) -> None:
        copy_database(self._path, Path(path))

    def size_bytes(self) -> int:
        return files_bytes(self._path)

    def inspect(self) -> Iterator[str]:
        self._check_open()
        yield from inspect_file(self._connection)
        try:
            found = stored_mark(self._connection)
        except sqlite3.Error:
            return  # a damaged page, of which there was talk already
        acknowledged = self._acknowledged
        if acknowledged is None or found is None or found.identity != acknowledged.identity:
            return
        if found.sequence < acknowledged.sequence:
            yield f"{acknowledged.sequence} commits were acknowledged, and {found.sequence} are there"

    async def close(self) -> None:
        self._closed = True
        self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError(f"{self._path} is closed")


class _View:
    """`rube.host.Snapshot`: the reader stands still anyway."""

    def __init__(self, reader: SqliteReader) -> None:
        self.get, self.scan = reader.get, reader.scan

    def close(self) -> None: ...


def _acknowledged(path: Path) -> Mark | None:
    try:
        fd = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_mark(fd)
    finally:
        os.close(fd)


def _connect(path: Path) -> sqlite3.Connection:
    # Without a log, and where none can be made, nobody writes: SQLite then need not make its index of the log.
    still = not Path(f"{path}-wal").exists() and not os.access(path.parent, os.W_OK)
    mode = "immutable=1" if still else "mode=ro"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = as_text
    return connection
