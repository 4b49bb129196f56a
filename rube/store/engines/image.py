"""The memory engine's log on its disk: batches one after the other, each with its length and checksum. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Write
from rube.store.checksums import SALVAGE

MAGIC = b"RUBELOG1"
# The length of the batch, the checksum of those four bytes, the checksum of the batch. With a checksum of its own, a
# flipped length differs from a batch that power loss cut short.
_HEADER = struct.Struct(">III")
_LENGTH = struct.Struct(">I")
_PAIR = struct.Struct(">IIB")


def encode_batch(batch: Sequence[Write]) -> bytes:
    parts: list[bytes] = []
    for key, value in batch:
        parts += (_PAIR.pack(len(key), len(value or b""), value is not None), key, value or b"")
    body = b"".join(parts)
    return _HEADER.pack(len(body), zlib.crc32(_LENGTH.pack(len(body))), zlib.crc32(body)) + body


def decode_batches(image: bytes, path: str) -> Iterator[tuple[list[Write], int]]:
    """Yields the batches of an image, each with the offset of its end.

    A last batch that is cut short was never acknowledged and ends the iteration. Anything else that does not check is
    damage: DataLossError with path and offset.
    """
    if not image.startswith(MAGIC):
        if MAGIC.startswith(image):
            return  # created, and lost power before the first sync
        raise FailedPreconditionError(f"{path} is no log of format {MAGIC.decode()}: choose another file")
    offset = len(MAGIC)
    while offset + _HEADER.size <= len(image):
        length, length_sum, body_sum = _HEADER.unpack_from(image, offset)
        if zlib.crc32(_LENGTH.pack(length)) != length_sum:
            raise _damaged(path, offset)
        end = offset + _HEADER.size + length
        if end > len(image):
            return
        body = image[offset + _HEADER.size : end]
        if zlib.crc32(body) != body_sum:
            raise _damaged(path, offset)
        yield _decode_body(body), end
        offset = end


def decode_remains(image: bytes) -> Iterator[list[Write] | None]:
    """Yields the batches of an image that may be damaged anywhere; None where some are lost."""
    offset = image.find(MAGIC[:4]) + len(MAGIC) if image.startswith(MAGIC[:4]) else 0
    lost = False
    while offset + _HEADER.size <= len(image):
        length, length_sum, body_sum = _HEADER.unpack_from(image, offset)
        end = offset + _HEADER.size + length
        whole = zlib.crc32(_LENGTH.pack(length)) == length_sum
        body = image[offset + _HEADER.size : end]
        if whole and end <= len(image) and zlib.crc32(body) == body_sum:
            if lost:
                yield None
            lost = False
            yield _decode_body(body)
            offset = end
        elif whole and end > len(image):
            break  # cut short: it was never acknowledged
        else:
            lost = True
            offset = end if whole else offset + 1
    if lost:
        yield None


def _decode_body(body: bytes) -> list[Write]:
    batch = []
    offset = 0
    while offset < len(body):
        key_bytes, value_bytes, present = _PAIR.unpack_from(body, offset)
        offset += _PAIR.size
        key = body[offset : offset + key_bytes]
        offset += key_bytes
        batch.append(Write(key, body[offset : offset + value_bytes] if present else None))
        offset += value_bytes
    return batch


def _damaged(path: str, offset: int) -> DataLossError:
    return DataLossError(
        f"{path} is damaged: the batch at byte {offset} does not match its checksum: {SALVAGE}",
        path=path,
        offset=offset,
    )
