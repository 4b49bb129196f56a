"""The rows of the log: their keys in the engine, their bytes, their checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from rube.api.errors import DataLossError
from rube.host import Write
from rube.store.checksums import CHECKSUM_BYTES, SALVAGE, mismatch, single_error
from rube.store.ports import Record

SUB_BITS = 16
"""A position is revision << 16 | number of the op in its transaction, below 2**63: eight bytes whose first bit is 0."""
REVISION_MAX = (1 << 47) - 1
OPS_PER_REVISION_MAX = 1 << SUB_BITS

# A row's header: position (in the checksums only: in the engine it is the row's key), kind, create revision, bytes of
# the key.
_HEADER = struct.Struct(">QBQI")
_POSITION_BYTES = 8
# A stored row: checksum, header without position, key, checksum of header and key, value. So the row's key and revision
# are known even if its value is damaged. Rows of the first format lack the second checksum; their kinds are 0 and 1.
_KEY_START = CHECKSUM_BYTES + _HEADER.size - _POSITION_BYTES
_KEY_BYTES_PLACE = _KEY_START - 4
_OLD_PUT = 1
_DELETE, _PUT = 2, 3
ROW = "the stored row"
"""The name of a row in errors about its checksum."""


class Row(NamedTuple):
    """One write in the log. `value` None: a delete, whose `create_revision` is 0."""

    position: int
    key: bytes
    value: bytes | None
    create_revision: int

    @property
    def revision(self) -> int:
        return self.position >> SUB_BITS

    def to_record(self) -> Record:
        return Record(self.key, self.value or b"", self.create_revision, self.position >> SUB_BITS)


# `Row(…)` and `Write(…)` from a tuple of their fields, at a third of the cost: each object written takes two of each.
new_row: Callable[[tuple[int, bytes, bytes | None, int]], Row] = partial(tuple.__new__, Row)
_new_write: Callable[[tuple[bytes, bytes | None]], Write] = partial(tuple.__new__, Write)


def position_of(revision: int, sub: int = 0) -> int:
    assert 0 <= revision <= REVISION_MAX
    assert 0 <= sub < OPS_PER_REVISION_MAX
    return revision << SUB_BITS | sub


def log_key(position: int) -> bytes:
    """Returns the engine's key of a row: its position, big-endian, so that the engine's order is the log's."""
    return position.to_bytes(8, "big")


class DamagedRow(NamedTuple):
    """A stored row that does not match its checksum. `head`: its position, key, whether it is a put (then the value is
    empty) and create revision if those are certain, else None. `key` is the apparent key."""

    position: int
    key: bytes
    head: Row | None

    @property
    def revision(self) -> int:
        return self.position >> SUB_BITS

    def error(self) -> DataLossError:
        """Returns an error that names key and revision."""
        return mismatch(ROW, self.key, self.revision, SALVAGE)


def encode_rows(rows: Iterable[Row], *, heads: bool = True) -> list[Write]:
    """Returns the engine's writes for rows; `heads`: in the format that has a second checksum.

    The checksums cover the position too: a row in another's place is damage.
    """
    if not heads:
        return [_encode_old(row) for row in rows]
    pack, crc32 = _HEADER.pack, zlib.crc32
    writes = []
    for position, key, value, create_revision in rows:
        head = pack(position, _DELETE if value is None else _PUT, create_revision, len(key)) + key
        head_sum = crc32(head)
        body = head_sum.to_bytes(CHECKSUM_BYTES, "big") + (value or b"")
        checksum = crc32(body, head_sum).to_bytes(CHECKSUM_BYTES, "big")
        writes.append(_new_write((head[:_POSITION_BYTES], checksum + head[_POSITION_BYTES:] + body)))
    return writes


def _encode_old(row: Row) -> Write:
    position, key, value, create_revision = row
    data = _HEADER.pack(position, value is not None, create_revision, len(key)) + key + (value or b"")
    return _new_write((data[:_POSITION_BYTES], zlib.crc32(data).to_bytes(4, "big") + data[_POSITION_BYTES:]))


def decode_row(position: int, data: bytes) -> Row:
    """Returns the row. Raises DataLossError that names revision and key if the bytes do not match their checksum."""
    row = read_row(position, data)
    if isinstance(row, DamagedRow):
        raise row.error()
    return row


def read_row(position: int, data: bytes) -> Row | DamagedRow:
    """Returns the row, even if one byte before the value is damaged: the two checksums together locate the byte and its
    old value (one damaged row in 2**64 passes wrongly as sound, and so does, as stored, one in 2**32)."""
    row = _sound_row(position, data)
    if row is None and (mended := _mended(position, data)) is not None:
        row = _sound_row(position, mended)
    return _damaged_row(position, data) if row is None else row


def _sound_row(position: int, data: bytes) -> Row | None:
    if len(data) < _KEY_START:
        return None
    checksum = zlib.crc32(memoryview(data)[CHECKSUM_BYTES:], zlib.crc32(log_key(position)))
    if checksum != int.from_bytes(data[:CHECKSUM_BYTES], "big"):
        return None
    # The header comes after the checksum; only the part after the position is read here.
    _, kind, create_revision, key_bytes = _HEADER.unpack_from(log_key(position) + data[CHECKSUM_BYTES:_KEY_START])
    key_end = _KEY_START + key_bytes
    key = data[_KEY_START:key_end]
    value_start = key_end + CHECKSUM_BYTES if kind >= _DELETE else key_end
    return new_row((position, key, data[value_start:] if kind in (_OLD_PUT, _PUT) else None, create_revision))


def _damaged_row(position: int, data: bytes) -> DamagedRow:
    if len(data) < _KEY_START:
        return DamagedRow(position, b"", None)
    _, kind, create_revision, key_bytes = _HEADER.unpack_from(log_key(position) + data[CHECKSUM_BYTES:_KEY_START])
    key_end = _KEY_START + key_bytes
    key = data[_KEY_START:key_end]
    if kind not in (_DELETE, _PUT) or _head_syndrome(position, data, key_end) != 0:
        return DamagedRow(position, key, None)
    return DamagedRow(position, key, Row(position, key, b"" if kind == _PUT else None, create_revision))


def _mended(position: int, data: bytes) -> bytes | None:
    """Returns the bytes with one byte of the head, or of its checksum, changed so that they match; None if no single
    byte explains the damage."""
    if len(data) < _KEY_START:
        return None
    key_end = _KEY_START + int.from_bytes(data[_KEY_BYTES_PLACE:_KEY_START], "big")
    syndrome = _head_syndrome(position, data, key_end)
    if syndrome is None:  # the damaged byte may be in the key's length
        return _with_key_length(position, data)
    error = single_error(key_end - CHECKSUM_BYTES, syndrome)
    if error is not None:
        place = CHECKSUM_BYTES + error.place
        return data[:place] + bytes([data[place] ^ error.change]) + data[place + 1 :]
    head_sum = zlib.crc32(data[CHECKSUM_BYTES:key_end], zlib.crc32(log_key(position)))
    with_sum = data[:key_end] + head_sum.to_bytes(CHECKSUM_BYTES, "big") + data[key_end + CHECKSUM_BYTES :]
    return with_sum if syndrome and _sound_row(position, with_sum) is not None else _with_key_length(position, data)


def _with_key_length(position: int, data: bytes) -> bytes | None:
    """Returns the bytes with one byte of the key's length changed so that the head matches its checksum."""
    for place in range(_KEY_BYTES_PLACE, _KEY_START):
        for value in range(256):
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            key_end = _KEY_START + int.from_bytes(changed[_KEY_BYTES_PLACE:_KEY_START], "big")
            if value != data[place] and _head_syndrome(position, changed, key_end) == 0:
                return changed
    return None


def _head_syndrome(position: int, data: bytes, key_end: int) -> int | None:
    """Returns the head's CRC-32 XOR the stored one; None if there is no stored one."""
    stored = data[key_end : key_end + CHECKSUM_BYTES]
    if len(stored) < CHECKSUM_BYTES:
        return None
    found = zlib.crc32(memoryview(data)[CHECKSUM_BYTES:key_end], zlib.crc32(log_key(position)))
    return found ^ int.from_bytes(stored, "big")
