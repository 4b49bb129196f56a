"""Calls a second: through the simulated network, and through real servers with a Python client on loopback.

The real figures are the client's as much as the server's: a Python client costs more than h2corn. `bare` is
the server beneath, `leveled` is ours around it: the difference is what we add.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from rube.host import ServerOptions
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.transport import GrpcNetwork, ServerKind
from rube.transport.h2 import H2Server
from rube.transport.options import server_core_options

METHOD = "/bench.Service/echo"
CALLS = 1600
IN_FLIGHT = 16


async def echo(request: bytes, context: Any) -> bytes:
    return request


def add_echo(server: aio.Server) -> None:
    methods = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Service", methods),))
    server.add_registered_method_handlers("bench.Service", methods)  # type: ignore[attr-defined]  # stubs lack it


async def call_many(channel: aio.Channel) -> None:
    method: Any = channel.unary_unary(METHOD, None, None)

    async def worker() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await method(b"x" * 100)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(worker())


def bare(kind: ServerKind) -> aio.Server:
    return H2Server(ServerOptions()) if kind == "h2corn" else aio.server(options=server_core_options(ServerOptions()))


SERVERS: dict[str, Callable[[], aio.Server]] = {
    "grpcio-bare": lambda: bare("grpcio"),
    "grpcio-leveled": lambda: GrpcNetwork(server_kind="grpcio").server(),
    "h2corn-bare": lambda: bare("h2corn"),
    "h2corn-leveled": lambda: GrpcNetwork(server_kind="h2corn").server(),
}


@pytest.mark.parametrize("name", list(SERVERS))
def test_real_calls(benchmark: Any, name: str) -> None:
    with asyncio.Runner() as runner:

        async def start() -> tuple[aio.Server, aio.Channel]:
            server = SERVERS[name]()
            add_echo(server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            channel = GrpcNetwork().channel(f"127.0.0.1:{port}")
            await channel.channel_ready()
            return server, channel

        async def stop(server: aio.Server, channel: aio.Channel) -> None:
            await channel.close(None)
            await server.stop(None)

        server, channel = runner.run(start())
        benchmark.pedantic(lambda: runner.run(call_many(channel)), rounds=3, warmup_rounds=1)
        runner.run(stop(server, channel))
    benchmark.extra_info["calls_per_s"] = round(CALLS / benchmark.stats.stats.min)


def test_simulated_calls(benchmark: Any) -> None:
    with World(1) as world:
        fabric = SimFabric(world)

        async def serve() -> None:
            server = SimNetwork(fabric, "server").server()
            add_echo(server)
            server.add_insecure_port("0.0.0.0:1")
            await server.start()
            await server.wait_for_termination()

        async def client() -> None:
            async with SimNetwork(fabric, world.observer).channel("server:1") as channel:
                await call_many(channel)

        world.host("server").spawn("server", serve)
        benchmark.pedantic(lambda: world.run(client), rounds=3, warmup_rounds=1)
    benchmark.extra_info["calls_per_s"] = round(CALLS / benchmark.stats.stats.min)
