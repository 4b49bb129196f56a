"""A node's heartbeat at the apiserver: the processor time of a renewal, which is written with others, beside that of
what a node without renewals does (it reads its lease, puts it, and reads its Node), without transport and disk.

Goal: the heartbeats of 5,000 nodes, one in ten seconds each, take at most 15% of a core with their transport, 300 us
each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rube.api import GetRequest, GetResponse, Key, Lease, Metadata, Node, Object, PutRequest, RenewLeaseRequest
from rube.api.types import pack
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.backend import Backend
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.put import put
from rube.server.read import get
from rube.server.renewals import Renewals
from rube.server.writes import Writer
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork

NODES = 500
ROUNDS = 5
INTERVAL_S = 0.001
Beat = Callable[[int, int], Awaitable[object]]


class Server:
    """The parts of an apiserver that a heartbeat passes."""

    def __init__(self, backend: Backend, renewals: Renewals) -> None:
        self.backend = backend
        self.renewals = renewals

    async def register(self, number: int) -> None:
        lease = Object(metadata=Metadata(namespace="node-leases", name=f"n{number}"), spec=pack(_lease(0)))
        node = Object(metadata=Metadata(name=f"n{number}"), spec=pack(Node(instance_id="one")))
        await put(self.backend, PutRequest(objects=[lease, node]))

    async def read_and_put(self, number: int, second: int) -> None:
        answer = await get(self.backend, GetRequest(key=_lease_key(number)))
        found = GetResponse.FromString(answer.data).object
        request = PutRequest(objects=[found])
        request.objects[0].spec.CopyFrom(pack(_lease(second)))
        request.preconditions.add(key=_lease_key(number), revision=found.metadata.revision)
        await put(self.backend, request)
        await get(self.backend, GetRequest(key=_node_key(number)))

    async def renew(self, number: int, second: int) -> None:
        request = RenewLeaseRequest(
            namespace="node-leases", name=f"n{number}", holder="one", session="first", related=_node_key(number)
        )
        request.renew_time.FromSeconds(second)
        await self.renewals.renew(request)


def _lease(second: int) -> Lease:
    lease = Lease(holder="one", session="first")
    lease.renew_time.FromSeconds(second)
    return lease


def _lease_key(number: int) -> Key:
    return Key(type="api.Lease", namespace="node-leases", name=f"n{number}")


def _node_key(number: int) -> Key:
    return Key(type="api.Node", name=f"n{number}")


@asynccontextmanager
async def _server() -> AsyncIterator[Server]:
    host = Host(name="bench", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, "memory:")
    writer = Writer(store, Namespaces(host.clock, store), retries_max=3, waiters_per_key_max=NODES)
    config = ApiServerConfig(renewals_interval_s=INTERVAL_S)
    backend = Backend(host=host, store=store, writer=writer, types=KnownTypes(store, host.clock), config=config)
    renewals = Renewals(backend)
    task = asyncio.create_task(renewals.run())
    try:
        yield Server(backend, renewals)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def _beats(renews: bool) -> list[float]:
    """Returns the processor time of a heartbeat in each round, in seconds."""
    async with _server() as server:
        await asyncio.gather(*(server.register(number) for number in range(NODES)))
        beat: Beat = server.renew if renews else server.read_and_put
        rounds = []
        for second in range(1, ROUNDS + 1):
            began = time.process_time()
            await asyncio.gather(*(beat(number, second) for number in range(NODES)))
            rounds.append((time.process_time() - began) / NODES)
        return rounds


@pytest.mark.parametrize("renews", [False, True], ids=["read-and-put", "renewal"])
def test_a_heartbeat(benchmark: BenchmarkFixture, renews: bool) -> None:
    rounds = asyncio.run(_beats(renews))
    benchmark.extra_info["us_a_heartbeat"] = round(min(rounds) * 1e6, 1)
    print(f"\n{'renewal' if renews else 'read-and-put'}: {min(rounds) * 1e6:.0f} us of processor time a heartbeat")
    benchmark.pedantic(lambda: None)
