"""The files of an audit log on a simulated disk."""

from __future__ import annotations

import asyncio

from rube.sim.world.disk import SimDisk


class SimAuditFiles:
    """`rube.server.audit.files.AuditFiles`, as `rube.cli.audit_files` has them on a real disk."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def parts(self) -> list[int]:
        beginning = f"{self._path}."
        return sorted(
            int(path.removeprefix(beginning))
            for path in self._disk.paths
            if path.startswith(beginning) and path.removeprefix(beginning).isdecimal()
        )

    def read(self, part: int, place: int, bytes_max: int) -> bytes:
        return self._disk.open_pages(f"{self._path}.{part}", create=False).read_at(bytes_max, place)

    def begin(self, part: int, line: bytes) -> None:
        path = f"{self._path}.{part}"
        file = self._disk.open_pages(path, create=True)
        file.truncate(0)
        try:
            file.write_at(line, 0)
            file.sync()
        except OSError:
            self._disk.remove(path)
            raise
        self._disk.sync_directory(self._path.rpartition("/")[0] or "/")

    def append(self, line: bytes) -> None:
        file = self._disk.open_pages(f"{self._path}.{self.parts()[-1]}", create=False)
        file.write_at(line, file.size_bytes())

    async def sync(self) -> None:
        parts = self.parts()
        if parts:
            await asyncio.to_thread(self._disk.open_pages(f"{self._path}.{parts[-1]}", create=False).sync)

    def remove(self, part: int) -> None:
        self._disk.remove(f"{self._path}.{part}")

    def close(self) -> None:
        """Does nothing: no file is kept open."""
