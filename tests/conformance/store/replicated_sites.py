"""The replicated store: three members in a world, of which the tests use one; and one real member on SQLite."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from socket import create_server

from rube.host import Clock, Host, Randomness
from rube.sim.cluster.machines import Machine, make_machine
from rube.sim.world.kernel import SimProcess, World
from rube.sim.world.network import SimFabric
from rube.store import Store, StoreConfig
from rube.store import open_store as open_url
from tests.conformance.store.store_sites import Body, RealSite, WorldRandomness

NAMES = "abc"
MEMBERS = ",".join(f"{name}={name}:7900" for name in NAMES)


def url_of(name: str) -> str:
    return f"raft+sqlite:///member.db?name={name}&listen=0.0.0.0:7900&members={MEMBERS}&tick_ms=20"


class ReplicatedSimSite:
    """The members `a`, `b` and `c` on hosts of a world. Tests open, close and open again the store of `a`."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        fabric = SimFabric(self.world)
        self.machines: dict[str, Machine] = {
            name: make_machine(self.world, fabric, self.world.host(name, drift_ppm=50)) for name in NAMES
        }
        self._others: dict[str, SimProcess] = {}
        self.host: Host = self.machines["a"].ports
        self.clock: Clock = self.host.clock
        self.random: Randomness = WorldRandomness(self.world)

    def url(self, name: str = "data") -> str:
        return url_of("a")

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        for name in NAMES[1:]:
            if name not in self._others:
                self._others[name] = self.machines[name].host.spawn("member", partial(self._serve, name))
        return await open_url(self.host, self.url(), config)

    async def _serve(self, name: str) -> None:
        await open_url(self.machines[name].ports, url_of(name))
        await asyncio.Event().wait()

    def run(self, body: Body) -> None:
        with self.world:
            self.world.run(body, host=self.machines["a"].host)

    async def wipe(self) -> None:
        for process in self._others.values():
            process.kill()
        self._others.clear()
        for machine in self.machines.values():
            machine.disk.wipe()


class ReplicatedSite(RealSite):
    """A group of one on SQLite: gRPC, real time, a real disk."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        with create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"

    def url(self, name: str = "data") -> str:
        return f"raft+sqlite:///{self._directory}/member/{name}.db?name=a&members=a={self._address}&tick_ms=20"

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        return await open_url(self.host, self.url(), config)

    async def wipe(self) -> None:
        shutil.rmtree(self._directory / "member")
