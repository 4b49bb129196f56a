"""The acknowledged mark: the number of the newest acknowledged commit, in a file of its own beside the data.

It reveals what a write-ahead log cannot: that its end is missing. A log that was cut or damaged at its end looks like
one whose last commits never happened, and a database opens it without an error.

The mark is written after each commit is durable and before it is acknowledged, so it is never ahead of the data. It is
not synced: kill -9 loses nothing of it, power loss sets it back by what the kernel had not written yet (30 s as a
rule), and a mark that is behind only finds less.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from typing import NamedTuple

_MAGIC = b"RUBEACK1"
ID_BYTES = 16
_BODY = struct.Struct(f">8s{ID_BYTES}sQ")
_CHECKSUM = struct.Struct(">I")
MARK_BYTES = _BODY.size + _CHECKSUM.size


class AcknowledgedMark(NamedTuple):
    """The number of the newest acknowledged commit, and the data's identity (16 bytes that a copy does not share)."""

    identity: bytes
    sequence: int


def encode_mark(mark: AcknowledgedMark) -> bytes:
    body = _BODY.pack(_MAGIC, *mark)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode_mark(data: bytes) -> AcknowledgedMark | None:
    """None if there is none, or none that can be read: then nothing is known."""
    if len(data) < MARK_BYTES:
        return None
    magic, identity, sequence = _BODY.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, _BODY.size)
    if magic != _MAGIC or checksum != zlib.crc32(data[: _BODY.size]):
        return None
    return AcknowledgedMark(identity, sequence)


def read_mark(fd: int) -> AcknowledgedMark | None:
    """Returns the mark; None if there is none that can be read, so that nothing is known."""
    return decode_mark(os.pread(fd, MARK_BYTES, 0))


def is_foreign(fd: int) -> bool:
    """Returns whether the file begins like no mark: it is another program's, and must not be written."""
    return not os.pread(fd, len(_MAGIC), 0).startswith(_MAGIC) and os.fstat(fd).st_size > 0


def write_mark(fd: int, mark: AcknowledgedMark) -> None:
    """Writes the mark. A failure does not affect the commit that it is about."""
    with suppress(OSError):
        os.pwrite(fd, encode_mark(mark), 0)
