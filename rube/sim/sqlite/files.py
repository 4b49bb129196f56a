"""The files of databases on a simulated disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from rube.api.errors import FailedPreconditionError
from rube.sim.sqlite.connection import SimConnection, translated
from rube.sim.sqlite.shared_index import IndexUser, SharedIndex, share_index
from rube.sim.sqlite.vfs import VFS_NAME, FileLocks, ProcessVolume
from rube.sim.world.disk import SimDisk
from rube.sim.world.disk.page_file import SimPageFile
from rube.sim.world.kernel import Death, SimProcess, World, current_process
from rube.store.engines.acknowledged import MARK_BYTES, AcknowledgedMark, decode_mark, encode_mark
from rube.store.engines.sqlite_files import Access, File

_INDEX_SUFFIX = "-shm"
_STATEMENTS_CACHED_MAX = 4
_PATIENCE_MS = 1000


class SimFiles:
    """`rube.store.engines.sqlite_files.Files` on the disk of a host."""

    def __init__(self, disk: SimDisk, world: World) -> None:
        self._disk = disk
        self._world = world
        self._locks: dict[str, FileLocks] = {}
        self._indexes: dict[str, SharedIndex] = {}
        self._volumes: dict[SimProcess, ProcessVolume] = {}

    def place_of(self, path: Path) -> Path:
        return path

    def lock(self, path: Path) -> SimLock:
        mark = self._disk.open_pages(f"{path}.lock", create=True)
        try:
            mark.hold()
        except BlockingIOError as error:
            raise FailedPreconditionError(f"{error}: stop it or choose another file") from None
        try:
            if self._disk.size_bytes(str(path)) is None:
                mark.truncate(0)  # it is about a store that was deleted
                self._disk.open_pages(str(path), create=True)
        except BaseException:
            mark.close()
            raise
        return SimLock(mark)

    def connect(self, path: Path, access: Access) -> SimConnection:
        volume = self._volume()
        writes = access is Access.WRITE
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if writes else apsw.SQLITE_OPEN_READONLY
        volume.enter()
        try:
            inner = apsw.Connection(
                volume.name_of(str(path)), flags=flags, vfs=VFS_NAME, statementcachesize=_STATEMENTS_CACHED_MAX
            )
        except apsw.Error as error:
            raise translated(error) from error
        inner.set_busy_timeout(_PATIENCE_MS)
        inner.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(not writes))
        index = self._index(str(path))
        share_index(inner, IndexUser(index, lambda: volume.alive, lambda: self._forget_index(str(path), index)))
        volume.add(inner)
        return SimConnection(inner, volume.enter)

    def name_of(self, path: Path) -> str:
        return self._volume().name_of(str(path))

    def open(self, path: Path, *, create: bool = False) -> File:
        name = str(path)
        if create and self._disk.size_bytes(name) is not None:
            raise FileExistsError(name)
        if name.endswith(_INDEX_SUFFIX) and (index := self._indexes.get(name.removesuffix(_INDEX_SUFFIX))):
            return _IndexFile(index)
        return self._disk.open_pages(name, create=create)

    def remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self._disk.remove(str(path))

    def size_bytes(self, path: Path) -> int | None:
        return self._disk.size_bytes(str(path))

    def sync_directory(self, path: Path) -> None:
        self._disk.sync_directory("" if path == Path() else str(path))

    def close_to_others(self, path: Path) -> None:
        """Does nothing: a world has one user."""

    def is_short(self, path: Path, reserve_bytes: int) -> bool:
        free_bytes = self._disk.free_bytes
        return free_bytes is not None and free_bytes < reserve_bytes

    def log_bytes(self, path: Path, log_bytes_max: int) -> int:
        return log_bytes_max

    def _volume(self) -> ProcessVolume:
        process = current_process()
        if (volume := self._volumes.get(process)) is None:
            draw = self._world.random(f"sqlite/{process}")
            volume = self._volumes[process] = ProcessVolume(self._disk, process, self._locks, draw)
            process.on_death(self._forget_volume)
        return volume

    def _forget_volume(self, process: SimProcess, _death: Death) -> None:
        del self._volumes[process]

    def _index(self, path: str) -> SharedIndex:
        """Returns the index; the first connection to a database begins a new one."""
        index = self._indexes.get(path)
        if index is None or not index.in_use:
            index = self._indexes[path] = SharedIndex()
        return index

    def _forget_index(self, path: str, index: SharedIndex) -> None:
        if self._indexes.get(path) is index:
            del self._indexes[path]


class SimLock:
    """`rube.store.engines.sqlite_files.Lock`."""

    def __init__(self, file: SimPageFile) -> None:
        self._file = file

    def read_mark(self) -> AcknowledgedMark | None:
        return decode_mark(self._file.read_at(MARK_BYTES, 0))

    def write_mark(self, mark: AcknowledgedMark) -> None:
        """A mark that cannot be written takes nothing from the commit that it is about."""
        with suppress(OSError):
            self._file.write_at(encode_mark(mark), 0)

    def release(self) -> None:
        self._file.close()


class _IndexFile:
    """A shared index, as the file that it is on a real machine."""

    def __init__(self, index: SharedIndex) -> None:
        self._content = index.content()

    def read_at(self, size_bytes: int, place: int) -> bytes:
        return self._content[place : place + size_bytes]

    def write_at(self, data: bytes, place: int) -> None:
        raise OSError("only SQLite writes its index")

    def size_bytes(self) -> int:
        return len(self._content)

    def sync(self) -> None: ...

    def close(self) -> None: ...
