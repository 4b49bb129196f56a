"""A backup of an apiserver's store, kept beside the world, and its restore in the store's place."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rube.host import Host
from rube.store.maintenance.copy import back_up, restore


class Shelf:
    """Holds one backup: `rube.store.maintenance.files.BackupTarget` and `BackupSource`."""

    name = "the backup of this world"

    def __init__(self) -> None:
        self._written = bytearray()
        self._whole: bytes | None = None

    @property
    def filled(self) -> bool:
        return self._whole is not None

    @property
    def size_bytes(self) -> int:
        return len(self._whole or b"")

    def write(self, data: bytes) -> None:
        self._written += data

    def finish(self) -> None:
        self._whole = bytes(self._written)
        self._written.clear()

    def discard(self) -> None:
        self._written.clear()

    async def pieces(self) -> AsyncIterator[bytes]:
        assert self._whole is not None, "something was backed up"
        yield self._whole


async def fill(host: Host, url: str, shelf: Shelf) -> None:
    """Backs the store up, also while a server uses it."""
    await back_up(host, url, shelf, lambda done, total: None)


async def put_back(host: Host, url: str, shelf: Shelf) -> None:
    """Makes a store at `url`, where there is none, from the backup."""
    await restore(host, shelf, url, lambda done, total: None)
