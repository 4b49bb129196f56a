"""The check of a backup to its end, past all damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from rube.store.backends import Damage
from rube.store.maintenance.files import BackupSource
from rube.store.maintenance.format import BackupHeader, Decoder
from rube.store.ports import Record


class CheckedBackup(NamedTuple):
    """The progress of a check, and its findings since the last one."""

    header: BackupHeader | None
    records: int
    """The number of sound records."""
    done_bytes: int
    damage: Damage | None = None


async def verify_backup(source: BackupSource) -> AsyncIterator[CheckedBackup]:
    """Checks every record and the whole file; goes on after damage.

    Raises FailedPreconditionError if it is no backup of a known version.
    """
    decoder = Decoder(source.name)
    header: BackupHeader | None = None
    records = done_bytes = 0
    async for piece in _and_end(source):
        for item in decoder.feed(piece) if piece else decoder.end():
            if isinstance(item, Damage):
                yield CheckedBackup(header, records, done_bytes, item)
            elif isinstance(item, Record):
                records += 1
            elif isinstance(item, BackupHeader):
                header = item
        done_bytes += len(piece)
        yield CheckedBackup(header, records, done_bytes)


async def _and_end(source: BackupSource) -> AsyncIterator[bytes]:
    """Yields the source's pieces, and then an empty one."""
    async for piece in source.pieces():
        yield piece
    yield b""
