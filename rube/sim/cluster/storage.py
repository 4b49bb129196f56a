"""The storage of a simulated host: engines on its simulated disk."""

from __future__ import annotations

from rube.api.errors import InvalidArgumentError
from rube.host import Engine, Wreck
from rube.sim.world.disk import SimDisk
from rube.store.engines import MemoryEngine, MemoryWreck
from rube.store.urls import parse_store_url


class SimStorage:
    """`rube.host.Storage` of a simulated host: all URLs of the real one, each a memory engine on the host's disk.

    So a scenario may say `sqlite:///rube.db`, and `memory:` survives a crash of its process.
    """

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        parsed = parse_store_url(url)
        if not parsed.is_engine:
            raise InvalidArgumentError(f"{parsed} is a server, and no engine on a disk")
        path = url if parsed.scheme == "memory" else parsed.path
        return MemoryEngine.open_read_only(self.disk, path) if read_only else await MemoryEngine.open(self.disk, path)

    async def salvage(self, url: str) -> Wreck:
        parsed = parse_store_url(url)
        return MemoryWreck(url if parsed.scheme == "memory" else parsed.path, self.disk)
