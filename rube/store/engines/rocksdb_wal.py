"""A reader of RocksDB's write-ahead log: tells a torn end from damage, and cuts a batch off.

The format: https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format. Pure functions of a log's bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

BLOCK_BYTES = 32 * 1024
# A fragment's header: masked CRC-32C of type and data, bytes of the data, type.
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# A batch begins with the sequence number of its first write.
_SEQUENCE = struct.Struct("<Q")


class Fragment(NamedTuple):
    """A batch, or the part of one that fits in a block."""

    offset: int
    kind: int
    data: memoryview
    intact: bool

    @property
    def begins_batch(self) -> bool:
        return self.kind in (_FULL, _FIRST)


def is_sound(log: bytes) -> bool:
    """Returns whether every checksum in the log matches."""
    return all(fragment.intact for fragment in _fragments(log, check=True))


def is_torn(log: bytes) -> bool:
    """Returns whether only the log's end is damaged, which power loss explains: commits are synced one by one, so no
    batch begins after the one that was being written."""
    fragments = _fragments(log, check=True)
    if all(fragment.intact for fragment in fragments):
        return False  # then the log is not what is damaged
    return not any(fragment.intact and fragment.begins_batch for fragment in fragments)


def length_up_to(log: bytes, sequence: int) -> int:
    """Returns the log's length in bytes without the batches whose writes are newer than `sequence`."""
    for fragment in _fragments(log, check=False):
        if fragment.begins_batch and len(fragment.data) >= _SEQUENCE.size:
            (first,) = _SEQUENCE.unpack_from(fragment.data)
            if first > sequence:
                return fragment.offset
    return len(log)


def _fragments(log: bytes, *, check: bool) -> Iterator[Fragment]:
    """Yields all fragments in order; after a damaged one it goes on at the next block. `check`: verifies checksums."""
    view = memoryview(log)
    offset = 0
    while offset + _HEADER.size <= len(log):
        room = BLOCK_BYTES - offset % BLOCK_BYTES
        if room < _HEADER.size:
            offset += room
            continue
        checksum, length, kind = _HEADER.unpack_from(log, offset)
        data = view[offset + _HEADER.size : offset + _HEADER.size + length]
        if not _FULL <= kind <= _LAST or len(data) < length or length > room - _HEADER.size:
            yield Fragment(offset, kind, data[:0], intact=False)
            offset += room
            continue
        if check and _masked(_crc32c(view[offset + _HEADER.size - 1 : offset + _HEADER.size + length])) != checksum:
            yield Fragment(offset, kind, data, intact=False)
            offset += room
            continue
        yield Fragment(offset, kind, data, intact=True)
        offset += _HEADER.size + length


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC_TABLE = _crc_table()


def _crc32c(data: memoryview) -> int:
    """Returns the CRC-32C. It is slow (some MB a second), so only a log that RocksDB has refused is checked."""
    crc, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
