"""The checksum over a key and its value, and what is said of stored bytes that do not match theirs."""

from __future__ import annotations

import zlib

from rube.api.errors import DataLossError

CHECKSUM_BYTES = 4
_KEY_BYTES_SHOWN_MAX = 256


def checksum_of(key: bytes, value: bytes) -> bytes:
    """A CRC-32. It covers the key too: a value in another key's place is damage."""
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "big")


def mismatch(what: str, key: bytes, revision: int, remedy: str = "restore a backup") -> DataLossError:
    """The error for bytes, of that key and revision, that do not match their checksum."""
    shown = repr(key[:_KEY_BYTES_SHOWN_MAX])
    return DataLossError(
        f"{what} of revision {revision} (key {shown}) does not match its checksum: {remedy}",
        key=shown,
        revision=revision,
    )
