"""The files of an audit log on a real disk: `FILE.N`, where N is the number of the first line, and `FILE`, a link to
the one that grows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_MODE = 0o600


class RealAuditFiles:
    """`rube.server.audit.files.AuditFiles`."""

    def __init__(self, path: Path) -> None:
        """Nothing is made until a file begins."""
        self._path = path.absolute()
        self._descriptor = -1
        self._size_bytes = 0

    def parts(self) -> list[int]:
        beginning = f"{self._path.name}."
        if not self._path.parent.is_dir():
            return []
        names = [each.name.removeprefix(beginning) for each in self._path.parent.iterdir()]
        # A name that is no number is another file's, which has kept its beginning.
        return sorted(int(name) for name in names if name.isdecimal())

    def path_of(self, part: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{part}")

    def read(self, part: int, place: int, bytes_max: int) -> bytes:
        with open(self.path_of(part), "rb") as file:  # noqa: PTH123 (an adapter)
            file.seek(place)
            return file.read(bytes_max)

    def begin(self, part: int, line: bytes) -> None:
        path = self.path_of(part)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, _MODE)
        try:
            _write(descriptor, line, 0)
            os.fsync(descriptor)
            self._link(path.name)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self.close()
        self._descriptor, self._size_bytes = descriptor, len(line)

    def append(self, line: bytes) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path_of(self.parts()[-1]), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size_bytes = os.fstat(self._descriptor).st_size
        _write(self._descriptor, line, self._size_bytes)
        self._size_bytes += len(line)

    async def sync(self) -> None:
        if self._descriptor < 0:
            return
        descriptor = os.dup(self._descriptor)  # the file may end meanwhile, and another begin
        try:
            await asyncio.to_thread(os.fdatasync, descriptor)
        finally:
            os.close(descriptor)

    def remove(self, part: int) -> None:
        self.path_of(part).unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _link(self, name: str) -> None:
        """Points FILE to the file that grows, in one step, and makes the names durable."""
        if self._path.exists() and not self._path.is_symlink():
            raise OSError(0, f"{self._path} is there, and no link of an audit log's: choose another name")
        aside = self._path.with_name(f"{self._path.name}.new")
        aside.unlink(missing_ok=True)
        aside.symlink_to(name)
        aside.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _write(descriptor: int, line: bytes, place: int) -> None:
    """Writes a whole line at the end of a file, or nothing of it. Raises OSError."""
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, place)
        raise
