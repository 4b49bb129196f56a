"""The sites on which the conformance suite runs: each makes servers, processes and breakable links in its own way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from grpc import aio

from rube.host import Network, ServerOptions, ServerTls
from rube.sim.world.kernel import SimProcess, World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.transport import ChannelOptions, GrpcNetwork, ServerKind
from rube.transport.forwarder import Forwarder
from tests.conformance.transport.transport_identities import Identities, RealIdentities, SimIdentities
from tests.conformance.transport.transport_service import Client, add_service, echo_server

Body = Callable[[], Coroutine[Any, Any, None]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None
"""The loop of RealSite: asyncio's own if there is none."""

CHANNEL = ChannelOptions(
    keepalive_s=0.3, keepalive_timeout_s=0.5, backoff_s_initial=0.02, backoff_s_max=0.1, connect_timeout_s=0.3
)
SERVER = ServerOptions(keepalive_s=0.3, keepalive_timeout_s=0.5)
PATIENT_CHANNEL = ChannelOptions()
PATIENT_SERVER = ServerOptions()
WAIT_S_MAX = 10.0


class Served(Protocol):
    """A server under test, with `address` to connect to."""

    address: str

    async def stop(self, grace: float | None) -> None: ...


class Spawned(Protocol):
    """A server of the echo service in a process of its own."""

    address: str

    async def kill(self) -> None:
        """kill -9; returns when the process is dead."""
        ...


class Link(Protocol):
    """A connection that can be broken between a client of `address` and a server."""

    address: str

    def stall(self) -> None: ...

    def heal(self) -> None: ...

    def reset(self) -> None: ...


class Site(Protocol):
    """One adapter under test."""

    network: Network
    """The network of the test's own code, with the keepalive of CHANNEL."""
    patient: Network
    """The same one with the keepalive of PATIENT_CHANNEL, for tests that keep a machine busy."""

    def run(self, body: Body) -> None: ...

    identities: Identities

    async def serve(
        self, *, address: str = "", options: ServerOptions = SERVER, tls: ServerTls | None = None, **handlers: Any
    ) -> Served:
        """Serves these handlers; the test's code shares memory with them."""
        ...

    async def spawn(self, address: str = "") -> Spawned: ...

    def link(self, server: Served) -> Any:
        """An async context manager that gives a Link."""
        ...

    def unix_address(self) -> str: ...


def client(site: Site, target: Served | Spawned | Link) -> Client:
    """A client of its own connection; the site closes nothing: the test's channels end with its loop."""
    return Client(site.network.channel(target.address))


def patient_client(site: Site, target: Served) -> Client:
    return Client(site.patient.channel(target.address))


async def until(condition: Callable[[], bool]) -> None:
    """Waits, boundedly, until the condition holds."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not condition():
            await asyncio.sleep(0.005)


def _add_port(server: aio.Server, address: str, tls: ServerTls | None) -> int:
    if tls is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, tls)  # type: ignore[arg-type]  # rube.host.Network's servers take it


def _target(address: str, port: int, host: str) -> str:
    return address if address.startswith("unix:") else f"{host}:{port}"


class _RealServed:
    def __init__(self, server: aio.Server, address: str) -> None:
        self._server = server
        self.address = address

    async def stop(self, grace: float | None) -> None:
        await self._server.stop(grace)


class _RealSpawned:
    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self._process = process
        self.address = address

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class RealSite:
    """Real gRPC over loopback."""

    def __init__(self, kind: ServerKind, path: Path, loop_factory: LoopFactory = None) -> None:
        self._loop_factory = loop_factory
        self.network: Network = GrpcNetwork(server_kind=kind, channel_options=CHANNEL)
        self.patient: Network = GrpcNetwork(server_kind=kind, channel_options=PATIENT_CHANNEL)
        self.kind = kind
        self._path = path
        self.identities: Identities = RealIdentities(path)
        self._ended = AsyncExitStack()

    def run(self, body: Body) -> None:
        async def main() -> None:
            async with self._ended:
                await body()

        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(main())

    async def serve(
        self, *, address: str = "", options: ServerOptions = SERVER, tls: ServerTls | None = None, **handlers: Any
    ) -> Served:
        server = self.network.server(options)
        add_service(server, handlers)
        address = address or "127.0.0.1:0"
        port = _add_port(server, address, tls)
        await server.start()
        self._ended.push_async_callback(server.stop, None)
        return _RealServed(server, _target(address, port, "127.0.0.1"))

    async def spawn(self, address: str = "") -> Spawned:
        program = str(Path(__file__).with_name("transport_service.py"))
        address = address or "127.0.0.1:0"
        arguments = (sys.executable, program, self.kind, address)
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        spawned = _RealSpawned(process, _target(address, port, "127.0.0.1"))
        self._ended.push_async_callback(spawned.kill)
        return spawned

    @asynccontextmanager
    async def link(self, server: Served) -> AsyncIterator[Link]:
        async with Forwarder("127.0.0.1:0", server.address, deaf=True) as forwarder:
            yield forwarder  # type: ignore[misc]  # a stand-in

    def unix_address(self) -> str:
        return f"unix:{self._path}/s"


class _SimServed:
    def __init__(self, address: str) -> None:
        self.address = address
        self.stopping = asyncio.Event()
        self.stopped = asyncio.Event()
        self.grace: float | None = None

    async def stop(self, grace: float | None) -> None:
        self.grace = grace
        self.stopping.set()
        await self.stopped.wait()


class _SimSpawned:
    def __init__(self, process: SimProcess, address: str) -> None:
        self._process = process
        self.address = address

    async def kill(self) -> None:
        self._process.kill()


class _SimLink:
    def __init__(self, fabric: SimFabric, address: str) -> None:
        self._fabric = fabric
        self.address = address

    def stall(self) -> None:
        self._fabric.partition(["client"], ["server"])

    def heal(self) -> None:
        self._fabric.unite(["client"], ["server"])

    def reset(self) -> None:
        self._fabric.reset_connections("client", "server")


class SimSite:
    """The simulated network: the test's code on host `client`, servers on host `server`."""

    def __init__(self) -> None:
        self.world = World(7)
        self.fabric = SimFabric(self.world)
        self._client = self.world.host("client", drift_ppm=40)
        self._server = self.world.host("server", drift_ppm=-30)
        self.network: Network = SimNetwork(self.fabric, self._client, channel_options=CHANNEL)
        self.patient: Network = SimNetwork(self.fabric, self._client, channel_options=PATIENT_CHANNEL)
        self._served = 0
        self.identities: Identities = SimIdentities(self.fabric, self._client, self._server)

    def run(self, body: Body) -> None:
        with self.world:
            self.world.run(body, host=self._client)

    async def serve(
        self, *, address: str = "", options: ServerOptions = SERVER, tls: ServerTls | None = None, **handlers: Any
    ) -> Served:
        unix = address.startswith("unix:")
        host = self._client if unix else self._server
        started: asyncio.Future[_SimServed] = asyncio.get_running_loop().create_future()

        async def main() -> None:
            try:
                server = SimNetwork(self.fabric, host).server(options)
                add_service(server, handlers)
                port = _add_port(server, address or "0.0.0.0:0", tls)
                await server.start()
            except Exception as error:
                started.set_exception(error)
                return
            served = _SimServed(_target(address, port, "server"))
            started.set_result(served)
            await served.stopping.wait()
            await server.stop(served.grace)
            served.stopped.set()

        self._served += 1
        host.spawn(f"server-{self._served}", main)
        return await started

    async def spawn(self, address: str = "") -> Spawned:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def main() -> None:
            server, port = await echo_server(SimNetwork(self.fabric, "server"), address or "0.0.0.0:0")
            started.set_result(port)
            await server.wait_for_termination()

        process = self._server.spawn("echo", main)
        return _SimSpawned(process, _target(address, await started, "server"))

    @asynccontextmanager
    async def link(self, server: Served) -> AsyncIterator[Link]:
        yield _SimLink(self.fabric, server.address)

    def unix_address(self) -> str:
        return "unix:/run/s"
