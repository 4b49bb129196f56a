"""A database as a loss of power would leave it now, without what may be torn. What a sync has lied about is in it."""

from __future__ import annotations

import sqlite3  # noqa: TID251 (its exceptions)
from pathlib import Path

import apsw

from rube.sim.sqlite.connection import SimConnection
from rube.sim.sqlite.shared_index import IndexUser, SharedIndex, share_index
from rube.sim.sqlite.vfs import VFS_NAME, Volume
from rube.sim.world.disk import SimDisk
from rube.store.engines.sqlite_tables import check_tables, get_value


class DurableDatabase:
    """The durable pairs of an engine's file and log, as of each look."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._versions: tuple[tuple[int, int], ...] | None = None
        self._volume = _DurableVolume(disk)
        self._connection: SimConnection | None = None

    def get(self, key: bytes) -> bytes | None:
        """Returns the value; None also if there is no database yet."""
        versions = self._disk.version(self._path), self._disk.version(f"{self._path}-wal")
        if versions != self._versions:
            self._versions = versions
            self._open()
        return None if self._connection is None else get_value(self._connection, Path(self._path), key)

    def _open(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        if not self._disk.reported(self._path):
            return
        inner = apsw.Connection(self._volume.name_of(self._path), flags=apsw.SQLITE_OPEN_READONLY, vfs=VFS_NAME)
        inner.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        share_index(inner, IndexUser(SharedIndex(), lambda: True, lambda: None))
        connection = SimConnection(inner, lambda: None)
        try:
            found = check_tables(connection, Path(self._path))
        except sqlite3.Error:  # the process is creating it
            found = False
        if found:
            self._connection = connection
        else:
            connection.close()


class _DurableVolume(Volume):
    """The durable content of a disk, for reads."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__({})
        self._disk = disk

    @property
    def alive(self) -> bool:
        return True

    def size_bytes(self, path: str) -> int | None:
        return len(self._disk.reported(path)) or None  # SQLite takes an empty file for none

    def open(self, path: str, *, create: bool) -> _DurableFile:
        return _DurableFile(self._disk.reported(path))

    def remove(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...


class _DurableFile:
    """A `rube.sim.sqlite.vfs.PageFile` of bytes that do not change."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_at(self, size_bytes: int, place: int) -> bytes:
        return self._data[place : place + size_bytes]

    def write_at(self, data: bytes, place: int) -> None: ...

    def truncate(self, length_bytes: int) -> None: ...

    def sync(self) -> None: ...

    def size_bytes(self) -> int:
        return len(self._data)

    def close(self) -> None: ...
