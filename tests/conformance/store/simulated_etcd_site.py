"""The store on a simulated etcd, both in one world."""

from __future__ import annotations

from rube.host import Clock, Host, Randomness
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimNetwork
from rube.store import Store, StoreConfig, parse_store_url
from rube.store.backends import backend_of
from rube.store.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest
from rube.store.etcd.rpc_pb2_grpc import KVStub
from tests.conformance.store.store_sites import Body


class SimulatedEtcdSite:
    """A host whose store is an etcd on other hosts."""

    def __init__(self, seed: int = 1, members: int = 1) -> None:
        self.world = World(seed)
        self.cluster = SimCluster(self.world)
        self._etcd_url = self.cluster.add_etcd([f"etcd-{number + 1}" for number in range(members)])
        self.sim_host = self.world.host("a", drift_ppm=50)
        self.clock: Clock = self.sim_host.clock
        self.random: Randomness = self.sim_host.random
        self.host = Host(
            name="a",
            clock=self.clock,
            network=SimNetwork(self.cluster.fabric, self.sim_host),
            storage=SimStorage(SimDisk(self.sim_host)),
            random=self.random,
        )

    def url(self, name: str = "data") -> str:
        return f"{self._etcd_url}/{name}"

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        url = parse_store_url(self.url())
        return await backend_of(url).open(self.host, url, config or StoreConfig())

    def run(self, body: Body) -> None:
        with self.world:
            self.world.run(body, host=self.sim_host)

    async def overwrite(self, key: str, value: str) -> None:
        """Writes below the store, past it."""
        channel = self.host.network.channel("etcd-1:2379")
        await KVStub(channel).Put(PutRequest(key=key.encode(), value=value.encode()))
        await channel.close(None)

    async def wipe(self) -> None:
        channel = self.host.network.channel("etcd-1:2379")
        await KVStub(channel).DeleteRange(DeleteRangeRequest(key=b"data/", range_end=b"data0"))
        await channel.close(None)
