"""A log on a simulated disk: a file that grows at its end, and the part of it that is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rube.api.errors import DataLossError

if TYPE_CHECKING:
    from rube.sim.world.disk import SimDisk
    from rube.sim.world.kernel import SimProcess


class SimLogFile:
    """`rube.store.engines.LogFile` of one process. A dead process is refused (ProcessFenced)."""

    def __init__(self, disk: SimDisk, path: str, content: LogContent, process: SimProcess) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._process = process
        self._failed: DataLossError | None = None

    def read(self) -> bytes:
        self._check()
        self._disk.check_log_read(self._path)
        return bytes(self._content.data)

    def append(self, data: bytes) -> None:
        self._check()
        try:
            self._disk.check_log_write(self._path, len(data))
        except DataLossError as error:
            self._failed = error
            raise
        self._content.data += data
        self._disk.record("disk-append", self._path, data)

    def truncate(self, length_bytes: int) -> None:
        self._check()
        self._content.truncate(length_bytes)

    async def sync(self) -> None:
        self._check()
        await self._sync(self._content)

    async def replace(self, data: bytes) -> None:
        # As a new file that is synced and then renamed over the old one, which it replaces at that moment.
        self._check()
        self._disk.check_log_write(self._path, len(data))
        aside = LogContent(0)
        aside.data += data
        await self._sync(aside)
        self._content.replace(aside)
        self._disk.record("disk-replace", self._path, data)

    def close(self) -> None:
        self._content.release(self._process)

    async def _sync(self, content: LogContent) -> None:
        try:
            await self._disk.sync(self._path, content)
        except DataLossError as error:
            self._failed = error
            raise

    def _check(self) -> None:
        self._process.check_alive()
        if self._failed is not None:
            raise DataLossError(self._failed.message, **self._failed.metadata)


class LogContent:
    """A file's bytes: as processes see them, and how many of them are durable."""

    def __init__(self, number: int) -> None:
        self.number = number
        # How often what was durable, or reported to be, was anything but continued.
        self.edits = 0
        self.data = bytearray()
        self.holder: SimProcess | None = None
        # Of `data`; unless `_before` is set.
        self._durable_bytes = 0
        # What is durable, while a truncation is not.
        self._before: bytes | None = None
        # Of `data`: a sync reported so many as durable, and lied. 0: none did since the last honest one.
        self._reported_bytes = 0

    @property
    def unsynced_bytes(self) -> int:
        return 0 if self._before is not None else len(self.data) - self._durable_bytes

    def flip(self, place: int, bit: int) -> None:
        self.data[place] ^= 1 << bit

    def truncate(self, length_bytes: int) -> None:
        if length_bytes < self._reported_bytes:
            self._reported_bytes = length_bytes
            self.edits += 1
        if length_bytes < self._durable_bytes:
            if self._before is None:
                self._before = bytes(self.data[: self._durable_bytes])
                self.edits += 1
            self._durable_bytes = length_bytes
        del self.data[length_bytes:]

    def durable(self, start: int) -> bytes:
        """Returns the part after a loss of power, without what may be torn, from that byte on."""
        return bytes(self.data[start : self._durable_bytes]) if self._before is None else self._before[start:]

    def reported(self, start: int) -> bytes:
        """Returns the part that syncs have reported as durable, truly or not, from that byte on."""
        if not self._reported_bytes:
            return self.durable(start)
        return bytes(self.data[start : max(self._reported_bytes, self._durable_bytes)])

    def synced(self, length_bytes: int) -> None:
        if self._before is not None:
            self.edits += 1
        self._before = None
        # The bytes that a sync was to cover may be gone, by another that failed.
        self._durable_bytes = max(self._durable_bytes, min(length_bytes, len(self.data)))
        if self._durable_bytes >= self._reported_bytes:
            self._reported_bytes = 0

    def lied(self, length_bytes: int) -> None:
        """Notes that so many bytes were reported as durable."""
        if self._before is not None and not self._reported_bytes:
            self.edits += 1
        self._reported_bytes = max(self._reported_bytes, min(length_bytes, len(self.data)))

    def lose_unsynced(self, *, keep_bytes: int) -> None:
        if self._reported_bytes:
            self._reported_bytes = 0
            self.edits += 1
        if self._before is not None:
            self.data = bytearray(self._before)
            self._before = None
        else:
            del self.data[self._durable_bytes + keep_bytes :]
        self._durable_bytes = len(self.data)

    def replace(self, other: LogContent) -> None:
        """Takes the content of the other, which is durable; if the sync of that lied, this one's old content is."""
        self.edits += 1
        if other._reported_bytes:
            self._before = self.durable(0)
            self._durable_bytes, self._reported_bytes = 0, other._reported_bytes
        else:
            self._before = None
            self._durable_bytes, self._reported_bytes = len(other.data), 0
        self.data = other.data

    def release(self, process: SimProcess) -> None:
        if self.holder is process:
            self.holder = None
