"""The driver's directory, real: files are replaced by rename, and synced with the folder that they are in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from driver import Entry

from rube.api.errors import FailedPreconditionError

T = TypeVar("T")
TEMPORARY = ".rube-"
"""The beginning of the names of files that are being written; no object's path has it."""


class Folder:
    """A directory of the machine. The calls run in a thread, so that a slow disk holds up nothing else."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def names(self, folder: str) -> Sequence[str]:
        return await self._run(lambda: self._names(folder))

    async def read(self, path: str) -> Entry | None:
        return await self._run(lambda: self._read(path))

    async def write(self, path: str, entry: Entry) -> None:
        await self._run(lambda: self._write(path, entry))

    async def remove(self, path: str) -> None:
        await self._run(lambda: self._remove(path))

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise FailedPreconditionError(f"{error.filename or self._root}: {error.strerror}") from error

    def _names(self, folder: str) -> Sequence[str]:
        place = self._root / folder
        if not place.is_dir():
            return []
        return sorted(path.name for path in place.iterdir() if path.is_file() and not path.name.startswith(TEMPORARY))

    def _read(self, path: str) -> Entry | None:
        place = self._place(path)
        if not place.is_file():
            return None
        return Entry(place.read_bytes(), f"{place.stat().st_mode & 0o777:04o}")

    def _write(self, path: str, entry: Entry) -> None:
        place = self._place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{TEMPORARY}{place.name}")
        temporary.write_bytes(entry.content)
        temporary.chmod(int(entry.mode, 8))
        _sync(temporary)
        temporary.replace(place)
        _sync(place.parent)

    def _remove(self, path: str) -> None:
        place = self._place(path)
        if place.is_file() or place.is_symlink():
            place.unlink()
            _sync(place.parent)

    def _place(self, path: str) -> Path:
        """Returns the file's place. Raises FailedPreconditionError for one that a link has led out of the directory."""
        place = self._root / path
        if not place.parent.resolve().is_relative_to(self._root.resolve()):
            raise FailedPreconditionError(f"{path} is outside of {self._root}: remove the link that leads there")
        return place


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
