"""The checksum over a key and its value, and the error for stored bytes that do not match theirs."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from rube.api.errors import DataLossError

CHECKSUM_BYTES = 4
SALVAGE = "`rube store salvage` copies what is left into a new store; or restore a backup"
"""The remedy for a damaged store that is in files."""
_KEY_BYTES_SHOWN_MAX = 256


def checksum_of(key: bytes, value: bytes) -> bytes:
    """Returns a CRC-32. It covers the key too: a value under another key is damage."""
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "big")


def mismatch(what: str, key: bytes, revision: int, remedy: str = "restore a backup") -> DataLossError:
    """Returns the error for bytes, of that key and revision, that do not match their checksum."""
    shown = repr(key[:_KEY_BYTES_SHOWN_MAX])
    return DataLossError(
        f"{what} of revision {revision} (key {shown}) does not match its checksum: {remedy}",
        key=shown,
        revision=revision,
    )


class ByteError(NamedTuple):
    """One damaged byte."""

    place: int
    change: int
    """The present byte XOR the original one."""


def single_error(length_bytes: int, syndrome: int) -> ByteError | None:
    """Returns the one damaged byte of `length_bytes` bytes that explains the difference between their present and
    original CRC-32; None if no single byte does.

    A CRC is linear: the difference does not depend on the other bytes.
    """
    rest = syndrome
    for place in range(length_bytes - 1, -1, -1):
        change = _CHANGES.get(rest)
        if change is not None:
            return ByteError(place, change)
        # The step back over one zero byte.
        last = _LAST[rest >> 24]
        rest = ((rest ^ _TABLE[last]) << 8 & 0xFFFFFFFF) | last
    return None


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xEDB88320 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _crc_table()
# The change that a table's entry stands for, and the entry whose first byte is the index.
_CHANGES = {entry: change for change, entry in enumerate(_TABLE) if change}
_LAST = tuple(sorted(range(256), key=lambda index: _TABLE[index] >> 24))
