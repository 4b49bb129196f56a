"""The sites on which the suite runs: a real etcd, the simulated one on real gRPC, and the simulated one in a world."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from grpc import aio

from rube.host import Host, RealClock, RealRandomness
from rube.sim.cluster.storage import SimStorage
from rube.sim.etcd import MemberConfig, Timing, run_member
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.store.storage import RealStorage
from rube.transport import GrpcNetwork
from tests.conformance.etcd.etcd_client import EtcdClient

Body = Callable[..., Coroutine[Any, Any, None]]
"""A test, which takes its client by name."""
QUOTA_BYTES = 16 * 1024 * 1024
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
]


class Site(Protocol):
    """One etcd under test, with a quota of QUOTA_BYTES."""

    real: bool

    def run(self, body: Body) -> None:
        """Runs a test against a new etcd."""
        ...


class RealEtcdSite:
    """The program `etcd`."""

    real = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, body: Body) -> None:
        client_port, peer_port = _free_ports(2)
        client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
        arguments = {
            "name": "n",
            "data-dir": str(self._directory / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"n={peer}",
            "quota-backend-bytes": str(QUOTA_BYTES),
            "heartbeat-interval": "10",
            "election-timeout": "100",
            "logger": "zap",
            "log-level": "error",
        }
        command = ["etcd", *(f"--{name}={value}" for name, value in arguments.items())]
        with (self._directory / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            asyncio.run(_on_channel(f"127.0.0.1:{client_port}", body))
        finally:
            process.kill()
            process.wait()


class SimulatedSite:
    """The simulated etcd on real gRPC and the real clock."""

    real = False

    def run(self, body: Body) -> None:
        async def main() -> None:
            async with _serving() as port:
                await _on_channel(f"127.0.0.1:{port}", body)

        asyncio.run(main())


class WorldSite:
    """The simulated etcd in a world, a host away from its client."""

    real = False

    def __init__(self) -> None:
        self.world = World(1)

    def run(self, body: Body) -> None:
        with self.world as world:
            fabric = SimFabric(world)
            etcd, client = world.host("etcd-1", drift_ppm=50), world.host("client", drift_ppm=-30)
            host = Host(
                name=etcd.name,
                clock=etcd.clock,
                network=SimNetwork(fabric, etcd),
                storage=SimStorage(SimDisk(etcd)),
                random=etcd.random,
            )
            config = MemberConfig(name="etcd-1", peers={"etcd-1": "etcd-1:2380"}, quota_bytes=QUOTA_BYTES)
            etcd.spawn("etcd", lambda: run_member(host, config))

            async def main() -> None:
                await _play(body, EtcdClient(SimNetwork(fabric, client).channel("etcd-1:2379"), client.clock))

            world.run(main, host=client)


@asynccontextmanager
async def _serving() -> AsyncIterator[int]:
    """A simulated member on loopback; gives its port."""
    host = Host(name="n", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    config = MemberConfig(
        name="n",
        peers={"n": "127.0.0.1:2380"},
        quota_bytes=QUOTA_BYTES,
        data_url="memory:",
        timing=Timing(election_timeout_s=0.1),
    )
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        run_member(
            host,
            config,
            client_address="127.0.0.1:0",
            peer_address="127.0.0.1:0",
            listening=port.set_result,
        )
    )
    try:
        yield await port
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _on_channel(address: str, body: Body) -> None:
    channel = aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    async with asyncio.timeout(60), channel:
        await _play(body, EtcdClient(channel, RealClock()))


async def _play(body: Body, client: EtcdClient) -> None:
    await client.ready()
    await body(client=client)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def has_etcd() -> bool:
    return shutil.which("etcd") is not None
