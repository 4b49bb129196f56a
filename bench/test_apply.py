"""Apply and Patch beside Put: the processor time of one call on an object of 1 KiB with a dozen fields, without
transport and disk, which are the same for all.

Goal: an apply that changes a field takes at most twice a put that does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from grpc import aio
from pytest_benchmark.fixture import BenchmarkFixture

from rube.api import ApiStub, ApplyRequest, Metadata, Object, PatchRequest, PutRequest, Service, Unit
from rube.api.types import pack
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServer, ApiServerConfig
from rube.server.apply import apply
from rube.server.backend import Backend
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.patch import patch
from rube.server.put import put
from rube.server.writes import Writer
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork
from rube.units.spec_checks import built_in_spec_checks

CALLS = 1_000
ROUNDS = 5
Call = Callable[[Backend, int], Awaitable[object]]


def unit(number: int, name: str = "web") -> Object:
    spec = Unit(
        description=f"{number} {'x' * 700}",
        after=["network.target", "db.service"],
        service=Service(
            exec=Service.Exec(start=["/bin/web --port 80"]),
            user="web",
            environment={"PORT": "80", "HOME": "/srv/web", "LANG": "C"},
            restart=Service.ALWAYS,
        ),
    )
    return Object(
        metadata=Metadata(namespace="shop", name=name, labels={"app": "shop", "tier": "web"}), spec=pack(spec)
    )


async def _put(backend: Backend, number: int) -> object:
    return await put(backend, PutRequest(objects=[unit(number)]))


async def _create(backend: Backend, number: int) -> object:
    return await put(backend, PutRequest(objects=[unit(number, f"web-{number}")]))


async def _apply(backend: Backend, number: int) -> object:
    return await apply(backend, ApplyRequest(objects=[unit(number)], owner="bench"))


async def _apply_unchanged(backend: Backend, number: int) -> object:
    return await apply(backend, ApplyRequest(objects=[unit(0)], owner="bench"))


async def _apply_new(backend: Backend, number: int) -> object:
    return await apply(backend, ApplyRequest(objects=[unit(number, f"web-{number}")], owner="bench"))


async def _put_owned(backend: Backend, number: int) -> object:
    if number == 0:
        await apply(backend, ApplyRequest(objects=[unit(number)], owner="bench"))
    return await put(backend, PutRequest(objects=[unit(number)]))


async def _patch(backend: Backend, number: int) -> object:
    if number == 0:
        await put(backend, PutRequest(objects=[unit(number)]))
    request = PatchRequest(object=unit(number))
    request.update_mask.paths.append("spec.description")
    return await patch(backend, request)


CASES: dict[str, tuple[Call, Call]] = {
    "apply that changes a field, of such a put": (_apply, _put),
    "apply that creates, of such a put": (_apply_new, _create),
    "apply that changes nothing, of a put that changes a field": (_apply_unchanged, _put),
    "put on an object with owners, of one without": (_put_owned, _put),
    "patch of a field, of a put that changes it": (_patch, _put),
}


async def _seconds(call: Call) -> float:
    """Returns the processor time of one call, the least of some rounds."""
    host = Host(name="b", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    found = []
    for _ in range(ROUNDS):
        store = await open_store(host, "memory:")
        backend = Backend(
            host=host,
            store=store,
            writer=Writer(store, Namespaces(host.clock, store), retries_max=1, waiters_per_key_max=1),
            types=KnownTypes(store, host.clock),
            config=ApiServerConfig(spec_checks=built_in_spec_checks()),
        )
        await call(backend, 0)
        start = time.process_time()
        for number in range(1, CALLS + 1):
            await call(backend, number)
        found.append((time.process_time() - start) / CALLS)
        await store.close()
    return min(found)


@pytest.mark.parametrize("case", CASES)
def test_apply_beside_put(benchmark: BenchmarkFixture, case: str) -> None:
    call, peer = CASES[case]
    took_s, peer_s = benchmark.pedantic(lambda: (asyncio.run(_seconds(call)), asyncio.run(_seconds(peer))), rounds=1)
    benchmark.extra_info.update(microseconds=round(took_s * 1e6), ratio_to_put=round(took_s / peer_s, 2))
    print(f"\n{case}: {took_s * 1e6:.0f} µs, {took_s / peer_s:.2f} times")


async def _served_seconds(*requests: str) -> list[float]:
    """Returns the processor time of a call of each kind, with gRPC's server and client in this process."""
    host = Host(name="b", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, "memory:")
    config = ApiServerConfig(listen=("127.0.0.1:0",), spec_checks=built_in_spec_checks())
    server = ApiServer(host, store, config)
    (address,) = await server.start()
    found: dict[str, list[float]] = {request: [] for request in requests}
    async with aio.insecure_channel(address) as channel:
        stub = ApiStub(channel)
        for _ in range(ROUNDS):
            for name in requests:
                start = time.process_time()
                for number in range(CALLS):
                    obj = unit(number, name)
                    if name == "put":
                        await stub.Put(PutRequest(objects=[obj]))
                    else:
                        await stub.Apply(ApplyRequest(objects=[obj], owner="bench"))
                found[name].append((time.process_time() - start) / CALLS)
    await server.stop(0)
    await store.close()
    return [min(times) for times in found.values()]


def test_served_apply_beside_put(benchmark: BenchmarkFixture) -> None:
    put_s, apply_s = benchmark.pedantic(lambda: asyncio.run(_served_seconds("put", "apply")), rounds=1)
    benchmark.extra_info.update(microseconds=round(apply_s * 1e6), ratio_to_put=round(apply_s / put_s, 2))
    print(f"\nserved apply, client included: {apply_s * 1e6:.0f} µs, {apply_s / put_s:.2f} times")
