"""The stored form of a write: keys in two columns, positions, checksums.

InnoDB indexes at most 3072 bytes of a key, and 768 if its pages have 4 KiB, but Rube's keys may have 4096. So a key is
its first `HEAD_BYTES` (the column `head`, indexed) and the rest (`tail`). All real keys fit into the head. Order by
head is order by key except among keys that share a whole head; a read that needs that order sorts those few by tail.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from rube.api.errors import DataLossError
from rube.store.checksums import mismatch
from rube.store.mvcc.log import ROW, SUB_BITS, Row
from rube.store.ports import Change, Record

HEAD_BYTES = 700
_TAIL_HASH_BYTES = 24

# The checksum's header: position, 1 for a put and 0 for a delete, create revision, previous position, bytes of the key.
_CHECKED = struct.Struct(">QBQQI")


class LogRow(NamedTuple):
    """One write. `previous` is the position of the put that it replaced, 0 if the key did not exist."""

    row: Row
    previous: int


class Where(NamedTuple):
    """A condition on keys as SQL with its params; {0} stands for the table's alias."""

    sql: str
    params: tuple[bytes, ...]


EVERYTHING = Where("TRUE", ())


def split_key(key: bytes) -> tuple[bytes, bytes]:
    return key[:HEAD_BYTES], key[HEAD_BYTES:]


def tail_hash(tail: bytes) -> bytes:
    """Returns a hash that tells apart, in a unique index, keys that share a head."""
    return hashlib.sha256(tail).digest()[:_TAIL_HASH_BYTES] if tail else b""


def where_range(start: bytes, end: bytes | None) -> Where:
    """Returns start <= key < end; end None: just the key `start`."""
    if end is None:
        return where_keys([start])
    (start_head, start_tail), (end_head, end_tail) = split_key(start), split_key(end)
    sql, params = "{0}.head >= %s", [start_head]
    if start_tail:
        sql += " AND NOT ({0}.head = %s AND {0}.tail < %s)"
        params += [start_head, start_tail]
    if end_tail:
        sql += " AND {0}.head <= %s AND NOT ({0}.head = %s AND {0}.tail >= %s)"
        params += [end_head, end_head, end_tail]
    else:
        sql += " AND {0}.head < %s"
        params.append(end_head)
    return Where(sql, tuple(params))


def where_keys(keys: Sequence[bytes]) -> Where:
    """Returns the condition for any of the keys."""
    short = [key for key in keys if len(key) <= HEAD_BYTES]
    conditions, params = [], list(short)
    if short:
        conditions.append(f"({{0}}.head IN ({', '.join(['%s'] * len(short))}) AND {{0}}.tail = '')")
    for key in keys:
        if len(key) > HEAD_BYTES:
            conditions.append("({0}.head = %s AND {0}.tail = %s)")
            params += split_key(key)
    return Where(f"({' OR '.join(conditions) or 'FALSE'})", tuple(params))


COLUMNS = "{0}.position, {0}.create_revision, {0}.previous, {0}.checksum, {0}.head, {0}.tail, {0}.value"
"""The columns for `decode`; {0} stands for the table's alias."""
COLUMNS_COUNT = 7


def decode(columns: Sequence[Any]) -> LogRow:
    """Returns the row. Raises DataLossError that names revision and key if it does not match its checksum."""
    position, create_revision, previous, expected, head, tail, value = columns
    row = Row(position, head + tail, value, create_revision)
    if checksum(row, previous) != expected:
        raise mismatch(ROW, row.key, row.revision)
    return LogRow(row, previous)


def decode_change(columns: Sequence[Any]) -> Change:
    """Returns the change from the columns of a row and those of the row that it replaced (NULL if there was none)."""
    row, previous = decode(columns[:COLUMNS_COUNT])
    if not previous:
        return Change(row.to_record(), row.value is None, None)
    if columns[COLUMNS_COUNT] is None:
        raise DataLossError(
            f"the row of revision {previous >> SUB_BITS} (key {row.key[:256]!r}) is missing: restore a backup"
        )
    return Change(row.to_record(), row.value is None, decode(columns[COLUMNS_COUNT:]).row.to_record())


def decode_record(columns: Sequence[Any]) -> Record:
    return decode(columns).row.to_record()


def checksum(row: Row, previous: int) -> int:
    """Returns a checksum that covers all of a stored row, its position too: a row in another's place is damage."""
    position, key, value, create_revision = row
    start = _CHECKED.pack(position, value is not None, create_revision, previous, len(key)) + key
    return zlib.crc32(value or b"", zlib.crc32(start))
