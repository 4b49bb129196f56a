"""The tables in the SQLite engine's file, and the mapping of keys to their rows."""

from __future__ import annotations

import heapq
import sqlite3  # noqa: TID251 (belongs to the engine)
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

from rube.api.errors import FailedPreconditionError
from rube.host import Write
from rube.store.engines.acknowledged import ID_BYTES, AcknowledgedMark
from rube.store.engines.sqlite_errors import translate
from rube.store.engines.sqlite_files import Connection, Cursor, Files

FORMAT_VERSION = 1
APPLICATION_ID = 0x52756265
""""Rube" in ASCII: tells this file from another program's database (https://www.sqlite.org/fileformat2.html)."""
PAGE_BYTES = 8192
# A key of eight bytes maps to a signed integer of the same order.
_ID_BASE = 1 << 63
MARK_ID = -_ID_BASE
"""The first row of the log is the engine's own: it counts the commits (`acknowledged.py`). It is there so that one
statement writes it and the rows of a batch. The key that would be there is in the second table."""
_MARK_KEY = bytes(8)
_FINDINGS_MAX = 100
# SQLite takes 32766 parameters for a statement (https://www.sqlite.org/limits.html).
_ROWS_PER_STATEMENT_MAX = 1000

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


def check_tables(connection: Connection, path: Path) -> bool:
    """Returns whether there are tables at all. Raises FailedPreconditionError if they are another program's, or of an
    unknown version."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return False
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
    return True


def create_tables(connection: Connection) -> None:
    """Creates the tables in an empty file."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    renew_mark(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def stored_mark(connection: Connection) -> AcknowledgedMark | None:
    """Returns the mark of the commits in the file; None in a file of a version that did not count them."""
    row = connection.execute("SELECT value FROM log WHERE id = ?", (MARK_ID,)).fetchone()
    return mark_of(_bytes(row[0])) if row else None


def mark_of(value: bytes) -> AcknowledgedMark:
    """Decodes a stored mark."""
    return AcknowledgedMark(value[:ID_BYTES], int.from_bytes(value[ID_BYTES:], "big"))


def renew_mark(connection: Connection) -> AcknowledgedMark:
    """Gives a new file, or a copy, an identity that no acknowledged mark has yet."""
    (identity,) = connection.execute(f"SELECT randomblob({ID_BYTES})").fetchone()
    mark = AcknowledgedMark(identity, 0)
    connection.execute("INSERT OR REPLACE INTO log VALUES (?, ?)", _mark_row(mark))
    return mark


def unused_bytes(connection: Connection) -> int:
    """Returns the bytes of free pages in the file."""
    pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages * PAGE_BYTES


def files_bytes(files: Files, path: Path) -> int:
    """Returns the bytes of the database and its log."""
    return sum(files.size_bytes(file) or 0 for file in (path, Path(f"{path}-wal")))


def inspect_file(connection: Connection) -> Iterator[str]:
    """Yields the damage that SQLite finds in pages and trees
    (https://www.sqlite.org/pragma.html#pragma_quick_check)."""
    try:
        for (finding,) in connection.execute(f"PRAGMA quick_check({_FINDINGS_MAX})"):
            if finding != "ok":
                yield " ".join(str(finding).split())
    except sqlite3.Error as error:
        yield str(error)


def write_batch(connection: Connection, batch: Sequence[Write], mark: AcknowledgedMark) -> int:
    """Writes a batch and the mark in one transaction; the last write to a key wins. Returns by about how many bytes
    SQLite's log grew, rather too many than too few.

    It uses as few statements as possible: sqlite3 releases the GIL for each one, and while the event loop computes it
    takes `sys.getswitchinterval()`, 5 ms, to get it back. A statement for each row would cost that for each row.
    """
    log: dict[int, bytes | None] = {}
    pairs: dict[bytes, bytes | None] = {}
    for key, value in batch:
        if _is_log(key):
            log[_id(key)] = value
        else:
            pairs[key] = value
    log_rows = [*log.items(), _mark_row(mark)]
    statements = [*_statements("log", "id", log_rows), *_statements("pairs", "key", [*pairs.items()])]
    if len(statements) == 1:  # a transaction by itself
        connection.execute(*statements[0])
    else:
        _execute(connection, statements)
    # Appended rows fill pages; each other row may touch a page of its own.
    scattered = len(pairs) + sum(value is None for value in log.values())
    return PAGE_BYTES * (2 + scattered) + sum(len(value) for _, value in batch if value is not None)


def _execute(connection: Connection, statements: Sequence[tuple[str, list[object]]]) -> None:
    """Runs the statements in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for text, parameters in statements:
            connection.execute(text, parameters)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(
    table: str, column: str, rows: Sequence[tuple[object, bytes | None]]
) -> Iterator[tuple[str, list[object]]]:
    """Yields the statements that write the rows, with their parameters."""
    puts = [row for row in rows if row[1] is not None]
    deletes = [key for key, value in rows if value is None]
    for start in range(0, len(puts), _ROWS_PER_STATEMENT_MAX):
        part = puts[start : start + _ROWS_PER_STATEMENT_MAX]
        values = "(?,?)" + ",(?,?)" * (len(part) - 1)
        yield f"INSERT OR REPLACE INTO {table} VALUES {values}", list(chain.from_iterable(part))
    for start in range(0, len(deletes), _ROWS_PER_STATEMENT_MAX):
        some = deletes[start : start + _ROWS_PER_STATEMENT_MAX]
        yield f"DELETE FROM {table} WHERE {column} IN (?{',?' * (len(some) - 1)})", some


def get_value(connection: Connection, path: Path, key: bytes) -> bytes | None:
    try:
        if _is_log(key):
            row = connection.execute("SELECT value FROM log WHERE id = ?", (_id(key),)).fetchone()
        else:
            row = connection.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return _bytes(row[0]) if row else None


def scan_pairs(
    connection: Connection, path: Path, start: bytes, end: bytes, limit: int, reverse: bool
) -> Generator[tuple[bytes, bytes]]:
    """Yields both tables' pairs, merged. The statements start at the call and read one row after the other."""
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


def _merge(pairs: Cursor, log: Cursor, path: Path, limit: int, reverse: bool) -> Generator[tuple[bytes, bytes]]:
    with closing(pairs), closing(log):
        merged = heapq.merge(pairs, ((_key(row_id), value) for row_id, value in log), reverse=reverse)
        try:
            for key, value in islice(merged, limit or None):
                yield _bytes(key), _bytes(value)
        except sqlite3.Error as error:
            raise translate(error, path) from error


def _bytes(value: object) -> bytes:
    """Returns the bytes of a column; empty if a damaged record claims another type."""
    return value if isinstance(value, bytes) else b""


def _mark_row(mark: AcknowledgedMark) -> tuple[int, bytes]:
    return MARK_ID, mark.identity + mark.sequence.to_bytes(8, "big")


def _is_log(key: bytes) -> bool:
    return len(key) == 8 and key != _MARK_KEY


def _id(key: bytes) -> int:
    return int.from_bytes(key, "big") - _ID_BASE


def _key(row_id: int) -> bytes:
    return (row_id + _ID_BASE).to_bytes(8, "big")


def key_of_id(row_id: int) -> int:
    """Returns the key of that row of the log, as a number."""
    return row_id + _ID_BASE


def id_of_key(number: int) -> int:
    return number - _ID_BASE


def _first_id(bound: bytes) -> int:
    """Returns the id of the log's first key that is not less than `bound`; one past the last id if there is none."""
    return max(_id(bound[:8].ljust(8, b"\0")) + (1 if len(bound) > 8 else 0), MARK_ID + 1)
