"""The sites on which the conformance suites run: each opens stores and engines in its way and runs a coroutine."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from rube.host import Clock, Engine, Host, Randomness, RealClock, RealRandomness, Storage, Wreck
from rube.sim.cluster.storage import SimStorage
from rube.sim.sqlite import SimFiles
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.store import Op, RealStorage, Store, StoreConfig, Txn, parse_store_url
from rube.store.embedded import MvccStore
from rube.store.engines import MemoryEngine, MemoryWreck
from rube.store.engines.sqlite_files import OS_FILES, Files
from rube.transport import GrpcNetwork

Body = Callable[[], Coroutine[Any, Any, None]]


class Site(Protocol):
    """One store under test."""

    clock: Clock
    random: Randomness
    host: Host
    """The host with which `rube.store.backends` opens the store."""

    def url(self, name: str = "data") -> str:
        """The store's URL, or that of another beside it."""
        ...

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        """The store, with what was written to it before."""
        ...

    def run(self, body: Body) -> None: ...

    async def wipe(self) -> None:
        """Removes all that was written; nothing may be open."""
        ...


class EngineSite(Site, Protocol):
    """One engine under test, and the store on it."""

    async def open_engine(self, path: str = "data", *, read_only: bool = False) -> Engine: ...


class RealSite:
    """The base of sites on the real loop."""

    def __init__(self, storage: Storage | None = None) -> None:
        self.clock: Clock = RealClock()
        self.random: Randomness = RealRandomness()
        self.host = Host(
            name="a",
            clock=self.clock,
            network=GrpcNetwork(),
            storage=storage or RealStorage(),
            random=self.random,
        )

    def run(self, body: Body) -> None:
        async def main() -> None:
            async with asyncio.timeout(60):
                await body()

        asyncio.run(main())


class _OnRealEngine(RealSite):
    def url(self, name: str = "data") -> str:
        raise NotImplementedError

    async def open_engine(self, path: str = "data", *, read_only: bool = False) -> Engine:
        return await self.host.storage.open(self.url(path), read_only=read_only)

    async def open_store(self, config: StoreConfig | None = None) -> MvccStore:
        return await MvccStore.open(await self.open_engine(), clock=self.clock, random=self.random, config=config)


class MemorySite(_OnRealEngine):
    """The memory engine on the real loop, over a disk that remembers."""

    def __init__(self) -> None:
        self.disk = KeptDisk()
        super().__init__(KeptStorage(self.disk))

    def url(self, name: str = "data") -> str:
        return f"memory:{name}"

    async def wipe(self) -> None:
        self.disk.files.clear()


class SqliteSite(_OnRealEngine):
    """SQLite in a directory of the test."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    @property
    def files(self) -> Files:
        return OS_FILES

    def path(self, name: str = "data") -> Path:
        return self.directory / name

    def url(self, name: str = "data") -> str:
        return f"sqlite:///{self.path(name)}"

    async def wipe(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()


class RocksdbSite(_OnRealEngine):
    """RocksDB in a directory of the test."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def url(self, name: str = "data") -> str:
        return f"rocksdb:///{self.directory / name}"

    async def wipe(self) -> None:
        for path in self.directory.iterdir():
            shutil.rmtree(path)


class SimSite:
    """The memory engine on the simulated disk of a host in a world."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.sim_host = self.world.host("a", drift_ppm=50)
        self.disk = SimDisk(self.sim_host)
        self.clock: Clock = self.sim_host.clock
        self.random: Randomness = WorldRandomness(self.world)
        self.host = Host(
            name="a",
            clock=self.clock,
            network=SimNetwork(SimFabric(self.world), self.sim_host),
            storage=self.make_storage(),
            random=self.random,
        )

    def make_storage(self) -> Storage:
        return SimStorage(self.disk)

    def url(self, name: str = "data") -> str:
        return f"sqlite:///{name}"

    async def open_engine(self, path: str = "data", *, read_only: bool = False) -> Engine:
        return await self.host.storage.open(self.url(path), read_only=read_only)

    async def open_store(self, config: StoreConfig | None = None) -> MvccStore:
        return await MvccStore.open(await self.open_engine(), clock=self.clock, random=self.random, config=config)

    def run(self, body: Body) -> None:
        with self.world:
            self.world.run(body, host=self.sim_host)

    async def wipe(self) -> None:
        self.disk.wipe()


class SimSqliteSite(SimSite):
    """The SQLite engine there."""

    def make_storage(self) -> Storage:
        self.files: Files = SimFiles(self.disk, self.world)
        return SimStorage(self.disk, self.files)

    def path(self, name: str = "data") -> Path:
        return Path(name)


class WorldRandomness:
    """`rube.host.Randomness` from a world's seed."""

    def __init__(self, world: World) -> None:
        self._world = world

    def stream(self, name: str) -> random.Random:
        return self._world.random(name)

    def uid(self) -> str:
        return f"{self._world.random('uid').getrandbits(128):032x}"


class KeptDisk:
    """A disk whose files are byte arrays: what was appended is there at the next opening."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def open(self, path: str) -> KeptLog:
        return KeptLog(self.files.setdefault(path, bytearray()))

    def read(self, path: str) -> bytes | None:
        return bytes(self.files[path]) if path in self.files else None


class KeptStorage:
    """`rube.host.Storage` whose `memory:` is on such a disk."""

    def __init__(self, disk: KeptDisk) -> None:
        self._disk = disk

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        if not url.startswith("memory:"):
            return await RealStorage().open(url, read_only=read_only)
        path = parse_store_url(url).path
        return MemoryEngine.open_read_only(self._disk, path) if read_only else await MemoryEngine.open(self._disk, path)

    async def salvage(self, url: str) -> Wreck:
        if not url.startswith("memory:"):
            return await RealStorage().salvage(url)
        return MemoryWreck(parse_store_url(url).path, self._disk)


class KeptLog:
    def __init__(self, data: bytearray) -> None:
        self._data = data

    def read(self) -> bytes:
        return bytes(self._data)

    def append(self, data: bytes) -> None:
        self._data += data

    def truncate(self, length_bytes: int) -> None:
        del self._data[length_bytes:]

    async def sync(self) -> None:
        await asyncio.sleep(0)

    async def replace(self, data: bytes) -> None:
        self._data[:] = data

    def close(self) -> None: ...


async def open_store(site: Site, config: StoreConfig | None = None) -> Store:
    return await site.open_store(config)


async def put(store: Store, **values: bytes) -> int:
    return await store.commit(Txn(tuple(Op(key.encode(), value) for key, value in values.items())))


async def delete(store: Store, *keys: bytes) -> int:
    return await store.commit(Txn(tuple(Op(key, None) for key in keys)))
