"""The rows of the log: their keys in the engine, their bytes, their checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from rube.host import Write
from rube.store.checksums import CHECKSUM_BYTES, mismatch
from rube.store.ports import Record

# A position is revision << 16 | number of the op in its transaction, below 2**63: eight bytes whose first bit is 0.
SUB_BITS = 16
REVISION_MAX = (1 << 47) - 1
OPS_PER_REVISION_MAX = 1 << SUB_BITS

# The position (in the checksum only: in the engine it is the row's key), 1 for a put and 0 for a delete, the create
# revision, bytes of the key.
_HEADER = struct.Struct(">QBQI")
_POSITION_BYTES = 8
# A stored row: checksum, header without position, key, value.
_KEY_START = CHECKSUM_BYTES + _HEADER.size - _POSITION_BYTES
_PUT = 1
# In error messages.
ROW = "the stored row"


class Row(NamedTuple):
    """One write as it stands in the log. `value` None: a delete, whose `create_revision` is 0."""

    position: int
    key: bytes
    value: bytes | None
    create_revision: int

    @property
    def revision(self) -> int:
        return self.position >> SUB_BITS

    def to_record(self) -> Record:
        return Record(self.key, self.value or b"", self.create_revision, self.position >> SUB_BITS)


# `Row(…)` and `Write(…)` out of a tuple of their fields, at a third of the cost: two of each for every object written.
new_row: Callable[[tuple[int, bytes, bytes | None, int]], Row] = partial(tuple.__new__, Row)
_new_write: Callable[[tuple[bytes, bytes | None]], Write] = partial(tuple.__new__, Write)


def position_of(revision: int, sub: int = 0) -> int:
    assert 0 <= revision <= REVISION_MAX
    assert 0 <= sub < OPS_PER_REVISION_MAX
    return revision << SUB_BITS | sub


def log_key(position: int) -> bytes:
    """The engine's key of a row: its position, big-endian, so that the engine's order is the log's."""
    return position.to_bytes(8, "big")


def encode_rows(rows: Iterable[Row]) -> list[Write]:
    """What the engine keeps of rows. The checksum covers the position too: a row in another's place is damage."""
    pack, crc32 = _HEADER.pack, zlib.crc32
    writes = []
    for position, key, value, create_revision in rows:
        data = pack(position, value is not None, create_revision, len(key)) + key + (value or b"")
        checksum = crc32(data).to_bytes(CHECKSUM_BYTES, "big")
        writes.append(_new_write((data[:_POSITION_BYTES], checksum + data[_POSITION_BYTES:])))
    return writes


def decode_row(position: int, data: bytes) -> Row:
    """Raises DataLossError that names revision and key if the bytes do not match their checksum."""
    if len(data) < _KEY_START:
        raise mismatch(ROW, b"", position >> SUB_BITS)
    # What stands before the header is the checksum; only what follows the position is read here.
    _, kind, create_revision, key_bytes = _HEADER.unpack_from(log_key(position) + data[CHECKSUM_BYTES:_KEY_START])
    value_start = _KEY_START + key_bytes
    key = data[_KEY_START:value_start]
    checksum = zlib.crc32(memoryview(data)[CHECKSUM_BYTES:], zlib.crc32(log_key(position)))
    if checksum != int.from_bytes(data[:CHECKSUM_BYTES], "big"):
        raise mismatch(ROW, key, position >> SUB_BITS)
    return Row(position, key, data[value_start:] if kind == _PUT else None, create_revision)
