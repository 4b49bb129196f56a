"""A SQLite engine that is only read, while another process may have it open."""

from __future__ import annotations

import sqlite3  # noqa: TID251 (belongs to the engine)
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rube.api.errors import FailedPreconditionError
from rube.host import Write
from rube.store.engines.acknowledged import MARK_BYTES, AcknowledgedMark, decode_mark
from rube.store.engines.sqlite import copy_database
from rube.store.engines.sqlite_errors import translate
from rube.store.engines.sqlite_files import OS_FILES, Access, Connection, Files
from rube.store.engines.sqlite_tables import (
    check_tables,
    files_bytes,
    get_value,
    inspect_file,
    scan_pairs,
    stored_mark,
)


class SqliteReader:
    """A `rube.host.Engine` as of the time of `open`: one read transaction, during which a writer's log grows."""

    def __init__(self, files: Files, path: Path, connection: Connection, acknowledged: AcknowledgedMark | None) -> None:
        self._files = files
        self._path = path
        self._connection = connection
        self._acknowledged = acknowledged
        self._closed = False

    @classmethod
    def open(cls, path: Path, files: Files = OS_FILES) -> SqliteReader:
        """Opens the file. Errors: see `rube.host.Storage.open`."""
        path = files.place_of(path)
        if files.size_bytes(path) is None:
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        acknowledged = _acknowledged(files, path)  # first: the data that is read after it is not older
        try:
            connection = files.connect(path, Access.LOOK)
            try:
                connection.execute("BEGIN")
                if not check_tables(connection, path):  # its first read begins the transaction
                    raise FailedPreconditionError(f"there is no store in {path}, which is empty: check the path")
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise translate(error, path) from error
        return cls(files, path, connection, acknowledged)

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
        copy_database(self._files, self._path, Path(path))

    def size_bytes(self) -> int:
        return files_bytes(self._files, self._path)

    def inspect(self) -> Iterator[str]:
        self._check_open()
        yield from inspect_file(self._connection)
        try:
            found = stored_mark(self._connection)
        except sqlite3.Error:
            return  # a damaged page, which was reported already
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
    """A `rube.host.Snapshot`: the reader's state does not change anyway."""

    def __init__(self, reader: SqliteReader) -> None:
        self.get, self.scan = reader.get, reader.scan

    def close(self) -> None: ...


def _acknowledged(files: Files, path: Path) -> AcknowledgedMark | None:
    try:
        with closing(files.open(Path(f"{path}.lock"))) as file:
            return decode_mark(file.read_at(MARK_BYTES, 0))
    except OSError:
        return None
