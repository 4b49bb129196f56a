"""SQLite's way to files (https://www.sqlite.org/vfs.html), onto simulated disks."""

from __future__ import annotations

import errno
import random  # noqa: TID251 (a type; the generator is the world's)
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Protocol

import apsw

from rube.sim.sqlite.shared_index import raise_failure
from rube.sim.world.disk import SimDisk
from rube.sim.world.disk.pages import PageContent
from rube.sim.world.kernel import ProcessFenced, SimProcess

VFS_NAME = "rube-sim"
SECTOR_BYTES = 4096
_SEED_BYTES = 44
_JULIAN_MS_AT_UNIX_EPOCH = 210866760000000
_EXISTS = apsw.SQLITE_ACCESS_EXISTS
_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


class FileLocks:
    """The locks of connections on one database (https://www.sqlite.org/lockingv3.html)."""

    def __init__(self) -> None:
        self._levels: dict[VfsFile, int] = {}

    def take(self, file: VfsFile, level: int) -> bool:
        """Returns whether `file` has it now."""
        others = [held for other, held in self._levels.items() if other is not file and other.volume.alive]
        if level == apsw.SQLITE_LOCK_SHARED:
            granted = all(held < apsw.SQLITE_LOCK_PENDING for held in others)
        elif level == apsw.SQLITE_LOCK_RESERVED:
            granted = all(held < apsw.SQLITE_LOCK_RESERVED for held in others)
        else:
            granted = all(held == apsw.SQLITE_LOCK_NONE for held in others)
        if granted:
            self._levels[file] = max(level, self._levels.get(file, 0))
        return granted

    def lower(self, file: VfsFile, level: int) -> None:
        if level == apsw.SQLITE_LOCK_NONE:
            self._levels.pop(file, None)
        elif file in self._levels:
            self._levels[file] = min(level, self._levels[file])

    def reserved(self) -> bool:
        return any(held >= apsw.SQLITE_LOCK_RESERVED for file, held in self._levels.items() if file.volume.alive)


class PageFile(Protocol):
    """A file that SQLite reads and writes. All methods raise OSError, and ProcessFenced if the process ends in the
    middle."""

    def read_at(self, size_bytes: int, place: int) -> bytes: ...

    def write_at(self, data: bytes, place: int) -> None: ...

    def truncate(self, length_bytes: int) -> None: ...

    def sync(self) -> None: ...

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


class Volume(ABC):
    """A disk as SQLite sees it. Once it is not alive nothing is written any more, and nothing fails."""

    def __init__(self, locks: dict[str, FileLocks]) -> None:
        self._locks = locks
        self._number = next(_numbers)
        _volumes[self._number] = self

    @property
    @abstractmethod
    def alive(self) -> bool: ...

    @abstractmethod
    def size_bytes(self, path: str) -> int | None:
        """Returns the size; None if there is no file."""

    @abstractmethod
    def open(self, path: str, *, create: bool) -> PageFile: ...

    @abstractmethod
    def remove(self, path: str) -> None: ...

    @abstractmethod
    def sync_directory(self, path: str) -> None: ...

    def name_of(self, path: str) -> str:
        """Returns SQLite's name of the file at `path`."""
        return f"{self._number}:{path}"

    def locks(self, path: str) -> FileLocks:
        return self._locks.setdefault(path, FileLocks())


class ProcessVolume(Volume):
    """A simulated disk as one process sees it; alive as long as that is."""

    def __init__(self, disk: SimDisk, process: SimProcess, locks: dict[str, FileLocks], draw: random.Random) -> None:
        super().__init__(locks)
        self._disk = disk
        self._process = process
        self._draw = draw
        self._connections: list[weakref.ref[apsw.Connection]] = []
        process.on_death(lambda _process, _death: self._lose_connections())

    @property
    def alive(self) -> bool:
        return self._process.alive and not self._process.loop.is_closed()

    def size_bytes(self, path: str) -> int | None:
        return self._disk.size_bytes(path)

    def open(self, path: str, *, create: bool) -> PageFile:
        return self._disk.open_pages(path, create=create)

    def remove(self, path: str) -> None:
        self._disk.remove(path)

    def sync_directory(self, path: str) -> None:
        self._disk.sync_directory(path)

    def enter(self) -> None:
        """Enters the process, before SQLite is called: SQLite's random draws then come from the world. Raises
        ProcessFenced."""
        self._process.check_alive()
        vfs.enter(self, self._draw)

    def add(self, connection: apsw.Connection) -> None:
        """Has it closed when the process dies."""
        self._connections = [known for known in self._connections if known() is not None]
        self._connections.append(weakref.ref(connection))

    def _lose_connections(self) -> None:
        """The process may have died within a call of SQLite's: they are closed once that is over."""
        lost = [connection for known in self._connections if (connection := known()) is not None]
        for connection in lost:
            with suppress(apsw.ConnectionClosedError):
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._process.loop.after_ns(0, _close_all, lost)


_numbers = count(1)
_volumes: weakref.WeakValueDictionary[int, Volume] = weakref.WeakValueDictionary()


class SimVfs(apsw.VFS):
    """All volumes; a file's name says which."""

    def __init__(self) -> None:
        super().__init__(VFS_NAME, None, makedefault=False, maxpathname=4096)
        # Weak: this lives longer than any world.
        self._current: Callable[[], Volume | None] = lambda: None
        self._seed = b""

    def enter(self, volume: Volume, draw: random.Random) -> None:
        """Seeds SQLite's one generator of random numbers, where another volume used it last."""
        if self._current() is volume:
            return
        self._current = weakref.ref(volume)
        self._seed = draw.randbytes(_SEED_BYTES)
        default = apsw.vfs_names()[0]
        apsw.set_default_vfs(VFS_NAME)
        try:
            apsw.randomness(0)
            apsw.randomness(1)
        finally:
            apsw.set_default_vfs(default)

    def xFullPathname(self, name: str) -> str:
        return name

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> VfsFile:  # type: ignore[override]  # any object with these methods
        flags[1] = flags[0]
        if name is None:
            volume, path = self._current(), ""
        else:
            volume, path = _place(name if isinstance(name, str) else name.filename())
        if volume is None:
            raise apsw.CantOpenError
        opened = VfsFile(volume, "", _NamelessFile(), 0)
        if path and volume.alive:
            with _results(apsw.SQLITE_CANTOPEN):
                made = volume.size_bytes(path) is None
                file = volume.open(path, create=bool(flags[0] & apsw.SQLITE_OPEN_CREATE))
                opened = VfsFile(volume, path, file, flags[0] if made else 0)
        return opened

    def xDelete(self, name: str, sync_directory: bool) -> None:
        volume, path = _place(name)
        if volume is None or not volume.alive:
            return
        with _results(apsw.SQLITE_IOERR_DELETE):
            try:
                volume.remove(path)
            except FileNotFoundError:
                raise _error(apsw.IOError, apsw.SQLITE_IOERR_DELETE_NOENT) from None
            if sync_directory:
                volume.sync_directory(path.rpartition("/")[0])

    def xAccess(self, name: str, flags: int) -> bool:
        volume, path = _place(name)
        size_bytes = None if volume is None else volume.size_bytes(path)
        # As the Unix VFS: an empty file counts as none.
        return size_bytes is not None and (flags != _EXISTS or size_bytes > 0)

    def xRandomness(self, size_bytes: int) -> bytes:
        return self._seed[:size_bytes].ljust(size_bytes, b"\0")

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xCurrentTimeInt64(self) -> int:
        return _JULIAN_MS_AT_UNIX_EPOCH

    def xCurrentTime(self) -> float:
        return _JULIAN_MS_AT_UNIX_EPOCH / 86_400_000

    def xGetLastError(self) -> tuple[int, str]:
        return 0, ""


class VfsFile:
    """An open file, as apsw calls it."""

    def __init__(self, volume: Volume, path: str, file: PageFile, flags: int) -> None:
        self.volume = volume
        self._path = path
        self._file = file
        # SQLite has the directory of a journal that it creates synced with the journal's first sync.
        self._unnamed = bool(flags & _JOURNALS)

    def xRead(self, size_bytes: int, place: int) -> bytes:
        if not self.volume.alive:
            return b""
        try:
            return self._file.read_at(size_bytes, place)
        except OSError as error:
            # As the Unix VFS has it for EIO; SQLite then says that the database is malformed.
            raise _error(apsw.IOError, apsw.SQLITE_IOERR_CORRUPTFS) from error

    def xWrite(self, data: bytes, place: int) -> None:
        if self.volume.alive:
            with _results(apsw.SQLITE_IOERR_WRITE):
                self._file.write_at(bytes(data), place)

    def xTruncate(self, length_bytes: int) -> None:
        if self.volume.alive:
            with _results(apsw.SQLITE_IOERR_TRUNCATE):
                self._file.truncate(length_bytes)

    def xSync(self, flags: int) -> None:
        if self.volume.alive:
            with _results(apsw.SQLITE_IOERR_FSYNC):
                self._file.sync()
                if self._unnamed:
                    self.volume.sync_directory(self._path.rpartition("/")[0])
                    self._unnamed = False

    def xFileSize(self) -> int:
        if not self.volume.alive:
            return 0
        return self._file.size_bytes()

    def xLock(self, level: int) -> None:
        if not self.volume.alive or not self.volume.locks(self._path).take(self, level):
            raise apsw.BusyError

    def xUnlock(self, level: int) -> None:
        self.volume.locks(self._path).lower(self, level)

    def xCheckReservedLock(self) -> bool:
        return self.volume.locks(self._path).reserved()

    def xFileControl(self, operation: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None:
        self.volume.locks(self._path).lower(self, apsw.SQLITE_LOCK_NONE)
        self._file.close()


vfs = SimVfs()


class _NamelessFile:
    """A file of memory, which is gone when it is closed."""

    def __init__(self) -> None:
        self._content = PageContent(0)

    def read_at(self, size_bytes: int, place: int) -> bytes:
        return bytes(self._content.data[place : place + size_bytes])

    def write_at(self, data: bytes, place: int) -> None:
        self._content.write(place, data)

    def truncate(self, length_bytes: int) -> None:
        self._content.truncate(length_bytes)

    def sync(self) -> None:
        self._content.begin_sync()()

    def size_bytes(self) -> int:
        return len(self._content.data)

    def close(self) -> None: ...


def _place(name: str) -> tuple[Volume | None, str]:
    """No volume: it is gone with its world."""
    number, _, path = name.partition(":")
    return _volumes.get(int(number)), path


def _close_all(connections: list[apsw.Connection]) -> None:
    for connection in connections:
        connection.close(True)
    raise_failure()


def _error(kind: type[apsw.Error], code: int) -> apsw.Error:
    error = kind()
    error.extendedresult = code  # type: ignore[attr-defined]  # apsw looks for it
    return error


@contextmanager
def _results(code: int) -> Iterator[None]:
    """Turns a disk's errors into SQLite's: no room, or that failure.

    A process that ends here goes on as the dead do (`Volume`), until `SimConnection` handles it.
    """
    try:
        yield
    except ProcessFenced:
        pass
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise apsw.FullError from error
        raise _error(apsw.CantOpenError if code == apsw.SQLITE_CANTOPEN else apsw.IOError, code) from error
