"""A file of pages on a simulated disk, as one process has it open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rube.sim.world.disk import SimDisk
    from rube.sim.world.disk.pages import PageContent
    from rube.sim.world.kernel import SimProcess


class SimPageFile:
    """Reads and writes at places, as pread and pwrite do. A dead process is refused (ProcessFenced).

    All raise OSError where a fault of the disk says so.
    """

    def __init__(self, disk: SimDisk, path: str, content: PageContent, process: SimProcess) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._process = process
        self._holds = False

    def read_at(self, size_bytes: int, place: int) -> bytes:
        """Fewer bytes at the end of the file."""
        self._process.check_alive()
        self._disk.check_read(self._path)
        return bytes(self._content.data[place : place + size_bytes])

    def write_at(self, data: bytes, place: int) -> None:
        self._process.check_alive()
        self._disk.write_pages(self._path, self._content, self._process, place, data)

    def truncate(self, length_bytes: int) -> None:
        self._process.check_alive()
        self._disk.truncate_pages(self._path, self._content, self._process, length_bytes)

    def sync(self) -> None:
        self._process.check_alive()
        self._disk.sync_pages(self._path, self._content, self._process)

    def size_bytes(self) -> int:
        self._process.check_alive()
        return len(self._content.data)

    def hold(self) -> None:
        """Keeps others from holding it, until the process ends or `close`. BlockingIOError while another does."""
        self._process.check_alive()
        if self._content.holder is not None:
            raise BlockingIOError(f"{self._path} is in use by {self._content.holder}")
        self._content.holder = self._process
        self._holds = True
        self._process.on_death(lambda _process, _death: self.close())

    def close(self) -> None:
        if self._holds:
            self._content.holder = None
            self._holds = False
