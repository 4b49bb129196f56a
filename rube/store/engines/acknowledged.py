"""The acknowledged mark: how far commits had come, in a file of its own beside the data.

It tells what a write-ahead log cannot: that its end is missing. A log that was cut or damaged at its end looks like one
whose last commits never happened, and a database opens it and says nothing.

Written after each commit is durable and before it is acknowledged, so that the mark is never ahead of the data. It is
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


class Mark(NamedTuple):
    """Which data it is about (16 bytes that a copy does not share), and the number of its newest commit."""

    identity: bytes
    sequence: int


def encode_mark(mark: Mark) -> bytes:
    body = _BODY.pack(_MAGIC, *mark)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode_mark(data: bytes) -> Mark | None:
    """None if there is none, or none that can be read: then nothing is known."""
    if len(data) < MARK_BYTES:
        return None
    magic, identity, sequence = _BODY.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, _BODY.size)
    if magic != _MAGIC or checksum != zlib.crc32(data[: _BODY.size]):
        return None
    return Mark(identity, sequence)


def read_mark(fd: int) -> Mark | None:
    """As `decode_mark`."""
    return decode_mark(os.pread(fd, MARK_BYTES, 0))


def is_foreign(fd: int) -> bool:
    """Whether the file holds what no mark begins with: it is another program's, and not to be written or changed."""
    return not os.pread(fd, len(_MAGIC), 0).startswith(_MAGIC) and os.fstat(fd).st_size > 0


def write_mark(fd: int, mark: Mark) -> None:
    """A mark that cannot be written takes nothing from the commit that it is about."""
    with suppress(OSError):
        os.pwrite(fd, encode_mark(mark), 0)
