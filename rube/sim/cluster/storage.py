"""The storage of a simulated host: engines on its simulated disk."""

from __future__ import annotations

from pathlib import Path

from rube.api.errors import InvalidArgumentError
from rube.host import Engine, Wreck
from rube.sim.world.disk import SimDisk
from rube.store.engines import MemoryEngine, MemoryWreck, SqliteEngine
from rube.store.engines.sqlite_files import Files
from rube.store.engines.sqlite_reader import SqliteReader
from rube.store.engines.sqlite_wreck import SqliteWreck
from rube.store.urls import StoreUrl, parse_store_url


class SimStorage:
    """`rube.host.Storage` of a simulated host: all URLs of the real one, each a memory engine on the host's disk.

    So a scenario may say `sqlite:///rube.db`, and `memory:` survives a crash of its process. With `sqlite_files`,
    `sqlite:` URLs open the shipped SQLite engine on them.
    """

    def __init__(self, disk: SimDisk, sqlite_files: Files | None = None) -> None:
        self.disk = disk
        self._sqlite_files = sqlite_files

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        parsed = _engine_url(url)
        if (files := self._files_of(parsed)) is not None:
            path = Path(parsed.path)
            return SqliteReader.open(path, files) if read_only else await SqliteEngine.open(path, files)
        name = _name(url, parsed)
        return MemoryEngine.open_read_only(self.disk, name) if read_only else await MemoryEngine.open(self.disk, name)

    async def salvage(self, url: str) -> Wreck:
        parsed = _engine_url(url)
        if (files := self._files_of(parsed)) is not None:
            return SqliteWreck.open(Path(parsed.path), files)
        return MemoryWreck(_name(url, parsed), self.disk)

    def _files_of(self, url: StoreUrl) -> Files | None:
        return self._sqlite_files if url.scheme == "sqlite" else None


def _engine_url(url: str) -> StoreUrl:
    parsed = parse_store_url(url)
    if not parsed.is_engine:
        raise InvalidArgumentError(f"{parsed} is a server, and no engine on a disk")
    return parsed


def _name(url: str, parsed: StoreUrl) -> str:
    return url if parsed.scheme == "memory" else parsed.path
