"""The sites on which the API's conformance suite runs: each has a network and storage and runs a test's coroutine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rube.api import (
    ApiStub,
    DeleteRequest,
    DeleteResponse,
    Event,
    GetRequest,
    Key,
    Metadata,
    Object,
    PutRequest,
    PutResponse,
    Unit,
    UnitStatus,
    UpdateStatusRequest,
    UpdateStatusResponse,
    WatchRequest,
    WatchResponse,
)
from rube.api.types import pack
from rube.client import Client
from rube.host import Engine, Host, Network, RealClock, RealRandomness
from rube.server import ApiServer, ApiServerConfig
from rube.server.relay import Relay, RelayConfig
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.store import RealStorage, Store, StoreConfig, open_store
from rube.store.engines import MemoryEngine
from rube.transport import ChannelOptions, GrpcNetwork, ServerKind

Body = Callable[[], Coroutine[Any, Any, None]]
TYPE = "api.systemd.Unit"
FOREIGN = ChannelOptions(message_bytes_max=4 * 1024 * 1024)
"""gRPC's default limit of the messages that a client takes."""


class Site(Protocol):
    """One network and one storage."""

    host: Host
    foreign: Network
    """The network of a client with gRPC's default limits."""
    store_url: str
    relayed: bool
    """The tests' clients use a relay of the apiserver."""

    def run(self, body: Body) -> None: ...


class GrpcSite:
    """Real gRPC on loopback."""

    def __init__(self, kind: ServerKind, store_url: str) -> None:
        self.foreign: Network = GrpcNetwork(channel_options=FOREIGN)
        self.store_url = store_url
        self.relayed = False
        self.host = Host(
            name="real",
            clock=RealClock(),
            network=GrpcNetwork(server_kind=kind),
            storage=RealStorage(),
            random=RealRandomness(),
        )

    def run(self, body: Body) -> None:
        async def main() -> None:
            async with asyncio.timeout(60):
                await body()

        asyncio.run(main())


class SimSite:
    """One host in a world, with a simulated disk."""

    def __init__(self, *, relayed: bool = False) -> None:
        self.store_url = "sqlite:///data"
        self.relayed = relayed
        self._world = World(1)
        self._sim_host = self._world.host("a", drift_ppm=50)
        fabric = SimFabric(self._world)
        self.foreign: Network = SimNetwork(fabric, self._sim_host, channel_options=FOREIGN)
        self.host = Host(
            name="a",
            clock=self._sim_host.clock,
            network=SimNetwork(fabric, self._sim_host),
            storage=_SimStorage(SimDisk(self._sim_host)),
            random=_WorldRandomness(self._world),
        )

    def run(self, body: Body) -> None:
        with self._world:
            self._world.run(body, host=self._sim_host)


class _SimStorage:
    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        return await MemoryEngine.open(self._disk, url)


class _WorldRandomness:
    def __init__(self, world: World) -> None:
        self._world = world

    def stream(self, name: str) -> random.Random:
        return self._world.random(name)

    def uid(self) -> str:
        return f"{self._world.random('uid').getrandbits(128):032x}"


@dataclass(kw_only=True)
class Served:
    """A running apiserver, its store, and a client of it."""

    host: Host
    store: Store
    server: ApiServer
    address: str
    client: Client

    async def put(self, *objects: Object) -> PutResponse:
        return await self.client.put(PutRequest(objects=objects))

    async def get(self, name: str) -> Object:
        return (await self.client.get(GetRequest(key=key(name)))).object

    async def delete(self, *names: str) -> DeleteResponse:
        return await self.client.delete(DeleteRequest(keys=[key(name) for name in names]))

    async def set_status(self, name: str, active_state: str) -> UpdateStatusResponse:
        status = pack(UnitStatus(active_state=active_state))
        return await self.client.update_status(UpdateStatusRequest(key=key(name), status=status))

    @asynccontextmanager
    async def watch(self, **request: Any) -> AsyncIterator[Watched]:
        async with self.host.network.channel(self.address) as channel:
            call = ApiStub(channel).Watch(WatchRequest(**{"type": TYPE, **request}))
            try:
                yield Watched(call)
            finally:
                call.cancel()


class Watched:
    """The responses of a watch, one event after the other."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._events: list[Event] = []
        self.responses: list[WatchResponse] = []

    async def response(self) -> WatchResponse:
        response: WatchResponse = await self._call.read()
        self.responses.append(response)
        return response

    async def event(self) -> Event:
        while not self._events:
            self._events += (await self.response()).events
        return self._events.pop(0)

    async def lines(self, count: int) -> list[str]:
        """The next events in short: `update x @rev`, `delete x`, `bookmark`."""
        return [line(await self.event()) for _ in range(count)]

    async def change(self) -> str:
        """The next event that is no bookmark, in short."""
        while (found := line(await self.event())).startswith("bookmark"):
            pass
        return found


def line(event: Event) -> str:
    match event.WhichOneof("event"):
        case "update":
            return f"update {event.update.metadata.name}"
        case "delete":
            return f"delete {event.delete.metadata.name}"
        case _:
            return "bookmark end" if event.bookmark.initial_end else "bookmark"


@asynccontextmanager
async def serve(site: Site, *, store: StoreConfig | None = None, **config: Any) -> AsyncIterator[Served]:
    """An apiserver on the site's store, with `config` for ApiServerConfig; what it stored is there at the next call,
    unless the store is in memory."""
    opened = await open_store(site.host, site.store_url, store)
    server = ApiServer(site.host, opened, ApiServerConfig(listen=("127.0.0.1:0",), **config))
    (address,) = await server.start()
    relay = await _relay_of(site, address, config) if site.relayed else None
    if relay is not None:
        (address,) = relay.addresses
    async with Client(site.host, [address]) as client:
        try:
            yield Served(host=site.host, store=opened, server=server, address=address, client=client)
        finally:
            if relay is not None:
                await relay.stop(1.0)
            await server.stop(1.0)
            await opened.close()


async def _relay_of(site: Site, address: str, config: Mapping[str, Any]) -> Relay:
    limits = ApiServerConfig(listen=("127.0.0.1:0",), **config)
    relay = Relay(site.host, RelayConfig(upstream=[address], server=limits))
    await relay.start()
    await relay.copied()
    return relay


def unit(name: str, description: str = "", *, namespace: str = "system", **metadata: Any) -> Object:
    return Object(
        metadata=Metadata(namespace=namespace, name=name, **metadata),
        spec=pack(Unit(description=description or name)),
    )


def key(name: str, *, type: str = TYPE, namespace: str = "system") -> Key:
    return Key(type=type, namespace=namespace, name=name)
