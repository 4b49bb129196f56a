"""The engine in memory, over an append-only log on a disk that the caller passes in.

With `VolatileDisk` nothing survives; on the simulated disk (rube.sim.world.disk) it is the durable engine of a world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from sortedcontainers import SortedDict

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, RubeError
from rube.host import Remains, Write
from rube.store.engines.image import MAGIC, decode_batches, decode_remains, encode_batch

REWRITE_BYTES_MIN = 4 * 1024 * 1024
"""The log is rewritten when it is this large and at least half of it is superseded."""
# The bytes of the keys that `rube.host.Wreck.log` yields.
_LOG_KEY_BYTES = 8


class LogFile(Protocol):
    """A file that grows at its end. All methods raise DataLossError once a sync has failed."""

    def read(self) -> bytes: ...

    def append(self, data: bytes) -> None:
        """Appends; durable once `sync` has returned. Raises ResourceExhaustedError on a full disk, with nothing
        appended."""
        ...

    def truncate(self, length_bytes: int) -> None: ...

    async def sync(self) -> None: ...

    async def replace(self, data: bytes) -> None:
        """Durably replaces the whole content by `data`, or leaves it as it was."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    """The disk that holds log files."""

    def open(self, path: str) -> LogFile:
        """Opens the file, and creates it if it is missing. Raises FailedPreconditionError while another process has it
        open."""
        ...

    def read(self, path: str) -> bytes | None:
        """Returns the file's content, even while a process has it open; None if there is no file."""
        ...


class MemoryEngine:
    """A `rube.host.Engine` whose pairs are all in memory; as durable as its disk."""

    def __init__(self, path: str, disk: Disk, log: LogFile) -> None:
        self._path = path
        self._disk = disk
        self._log = log
        self._pairs: SortedDict[bytes, bytes] = SortedDict()
        self._log_bytes = 0
        self._live_bytes = 0
        self._poison: RubeError | None = None
        self._closed = False
        # Commits run one after the other, in the order of their calls.
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, disk: Disk, path: str) -> MemoryEngine:
        """Opens or creates the log at `path` and reads it. Errors: see `rube.host.Storage.open`."""
        log = disk.open(path)
        try:
            engine = cls(path, disk, log)
            await engine._recover()
        except BaseException:
            log.close()
            raise
        return engine

    @classmethod
    def open_read_only(cls, disk: Disk, path: str) -> MemoryEngine:
        """Reads what the log at `path` holds now. Errors: see `rube.host.Storage.open`."""
        image = disk.read(path)
        if not image:
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        engine = cls(path, disk, _ReadOnlyLog(path, image))
        for batch, end in decode_batches(image, path):
            engine._apply(batch)
            engine._log_bytes = end
        return engine

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        value: bytes | None = self._pairs.get(key)
        return value

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        return _scan(self._pairs, start, end, limit, reverse)

    def snapshot(self) -> MemorySnapshot:
        self._check_open()
        return MemorySnapshot(self._pairs.copy())

    async def commit(self, batch: Sequence[Write]) -> None:
        async with self._turn:
            self._check_open()
            data = encode_batch(batch)
            self._log.append(data)  # raises on a full disk, with nothing written
            self._log_bytes += len(data)
            try:
                await self._sync()
            except asyncio.CancelledError:
                self._apply(batch)  # it is in the log, and the next sync makes it durable
                raise
            self._apply(batch)
            if self._log_bytes > max(REWRITE_BYTES_MIN, 2 * self._live_bytes):
                await self._rewrite()

    async def checkpoint(self, path: str) -> None:
        self._check_open()
        data = self._image()
        copy = self._disk.open(path)
        try:
            if copy.read():
                raise FailedPreconditionError(f"{path} exists already: name a new file for the copy")
            await copy.replace(data)
        finally:
            copy.close()

    def size_bytes(self) -> int:
        return self._log_bytes

    def inspect(self) -> Iterator[str]:
        return iter(())  # the whole log was checked when it was opened

    async def close(self) -> None:
        async with self._turn:
            if not self._closed:
                self._closed = True
                self._log.close()

    async def _recover(self) -> None:
        image = self._log.read()
        end = len(MAGIC)
        for batch, end in decode_batches(image, self._path):  # noqa: B007 (the last end is used below)
            self._apply(batch)
        if len(image) < len(MAGIC):
            self._log.truncate(0)
            self._log.append(MAGIC)
        elif len(image) > end:
            self._log.truncate(end)
        # A killed process may have written what is not durable yet, and from here on it is read.
        await self._sync()
        self._log_bytes = end

    async def _sync(self) -> None:
        if self._poison is not None:
            raise DataLossError(self._poison.message)
        try:
            await self._log.sync()
        except DataLossError as error:
            self._poison = error
            raise

    async def _rewrite(self) -> None:
        image = self._image()
        try:
            await self._log.replace(image)
        except ResourceExhaustedError:
            return  # no room for two logs: the batch is in the old one, and a later commit tries again
        self._log_bytes = len(image)

    def _image(self) -> bytes:
        return MAGIC + b"".join(encode_batch([Write(key, value)]) for key, value in self._pairs.items())

    def _apply(self, batch: Sequence[Write]) -> None:
        for key, value in batch:
            old = self._pairs.pop(key, None) if value is None else self._pairs.get(key)
            if old is not None:
                self._live_bytes -= len(key) + len(old)
            if value is not None:
                self._pairs[key] = value
                self._live_bytes += len(key) + len(value)

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError(f"{self._path} is closed")


class MemoryWreck:
    """The `rube.host.Wreck` of a log: a damaged batch is lost, and the batches after it are found again."""

    def __init__(self, path: str, disk: Disk) -> None:
        """Raises FailedPreconditionError if there is no log."""
        image = disk.read(path)
        if not image:
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        self._pairs: SortedDict[bytes, bytes] = SortedDict()
        self._lost = 0
        for batch in decode_remains(image):
            self._lost += batch is None
            for key, value in batch or ():
                if value is None:
                    self._pairs.pop(key, None)
                else:
                    self._pairs[key] = value

    def log(self) -> Iterator[Remains]:
        for key in self._pairs.irange(bytes(8), b"\x80", inclusive=(True, False)):
            if len(key) == _LOG_KEY_BYTES:
                yield Remains(int.from_bytes(key, "big"), self._pairs[key], True)

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._pairs.get(key)
        return value

    def read(self, number: int) -> list[bytes]:
        value = self.get(number.to_bytes(_LOG_KEY_BYTES, "big"))
        return [] if value is None else [value]

    def holes(self) -> list[tuple[int, int]]:
        return []  # nothing tells what is missing

    def findings(self) -> list[str]:
        return [f"batches of writes are damaged at {self._lost} places"] if self._lost else []

    async def close(self) -> None: ...


class MemorySnapshot:
    """A `rube.host.Snapshot`: a copy of the map (the values are shared)."""

    def __init__(self, pairs: SortedDict[bytes, bytes]) -> None:
        self._pairs = pairs

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._pairs.get(key)
        return value

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._pairs, start, end, limit, reverse)

    def close(self) -> None:
        self._pairs = SortedDict()


class VolatileDisk:
    """A disk that forgets a file when it is closed: for tests and for `memory:`."""

    def open(self, path: str) -> LogFile:
        return _VolatileLog()

    def read(self, path: str) -> bytes | None:
        return None


class _VolatileLog:
    def read(self) -> bytes:
        return b""

    def append(self, data: bytes) -> None: ...

    def truncate(self, length_bytes: int) -> None: ...

    async def sync(self) -> None: ...

    async def replace(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class _ReadOnlyLog:
    def __init__(self, path: str, image: bytes) -> None:
        self._path = path
        self._image = image

    def read(self) -> bytes:
        return self._image

    def append(self, data: bytes) -> None:
        raise self._refusal()

    def truncate(self, length_bytes: int) -> None:
        raise self._refusal()

    async def sync(self) -> None:
        raise self._refusal()

    async def replace(self, data: bytes) -> None:
        raise self._refusal()

    def close(self) -> None: ...

    def _refusal(self) -> FailedPreconditionError:
        return FailedPreconditionError(f"{self._path} is open for reading only")


def _scan(
    pairs: SortedDict[bytes, bytes], start: bytes, end: bytes, limit: int, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    keys = pairs.irange(start, end, inclusive=(True, False), reverse=reverse) if start < end else iter(())
    # A list, so that the scan does not see later commits.
    return iter([(key, pairs[key]) for key in (islice(keys, limit) if limit else keys)])
