"""The verbs Put, Get and Watch over gRPC: all numbers are ratios to a bare echo server and a real etcd in the same run.

Figures to reach: durable Put with 64 calls in flight at 60% of the bare echo on grpcio's server, and at 40% of etcd's
puts on h2corn; 15,000 objects/s in Puts of 100, one after the other.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from grpc import aio
from pytest_benchmark.fixture import BenchmarkFixture

from bench.api_servers import etcd_is_installed, etcd_put, h2load, running, running_etcd
from rube.api import ApiStub, GetRequest, Key, Metadata, Object, PutRequest, Unit, WatchRequest, WatchResponse
from rube.api.types import pack

SECONDS = 3
VALUE_BYTES = 1024
TYPE = "api.systemd.Unit"

needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load is not installed: apt-get install nghttp2-client"
)


def unit(name: str) -> Object:
    spec = Unit(description="x" * VALUE_BYTES)
    spec.service.exec.start.append("/bin/true")
    return Object(metadata=Metadata(namespace="system", name=name), spec=pack(spec))


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Calls/s of what the API is measured against, on this machine in this run."""
    directory = tmp_path_factory.mktemp("peers")
    message = PutRequest(objects=[unit("")]).SerializeToString()
    with running("echo") as address:
        found = {"echo": h2load(address, "bench.Echo/Echo", message, directory, seconds=SECONDS)}
    if etcd_is_installed():
        with running_etcd(directory / "etcd") as address:
            put = etcd_put(b"unit", b"x" * VALUE_BYTES)
            found["etcd"] = h2load(address, "etcdserverpb.KV/Put", put, directory, seconds=SECONDS)
    return found


def measure(benchmark: BenchmarkFixture, peers: dict[str, float], what: str, calls_per_s: float) -> None:
    benchmark.extra_info.update(calls_per_s=round(calls_per_s))
    ratios = {name: round(calls_per_s / rate, 3) for name, rate in peers.items()}
    benchmark.extra_info.update({f"ratio_to_{name}": ratio for name, ratio in ratios.items()})
    of_peers = ", ".join(f"{ratio:.0%} of {name} ({peers[name]:,.0f}/s)" for name, ratio in ratios.items())
    print(f"\n{what}: {calls_per_s:,.0f} calls/s: {of_peers}")


@needs_h2load
@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
def test_durable_put(benchmark: BenchmarkFixture, peers: dict[str, float], kind: str, tmp_path: Path) -> None:
    message = PutRequest(objects=[unit("")]).SerializeToString()
    with running("api", "--grpc", kind, "--store", f"sqlite:///{tmp_path}/store.db") as address:
        calls_per_s = benchmark.pedantic(
            h2load, (address, "api.Api/Put", message, tmp_path), {"seconds": SECONDS}, rounds=1
        )
    measure(benchmark, peers, f"durable put, {kind}", calls_per_s)


@needs_h2load
@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
def test_get(benchmark: BenchmarkFixture, peers: dict[str, float], kind: str, tmp_path: Path) -> None:
    message = GetRequest(key=Key(type=TYPE, namespace="system", name="a")).SerializeToString()
    with running("api", "--grpc", kind, "--store", f"sqlite:///{tmp_path}/store.db") as address:
        asyncio.run(_put(address, [unit("a")]))
        calls_per_s = benchmark.pedantic(
            h2load, (address, "api.Api/Get", message, tmp_path), {"seconds": SECONDS}, rounds=1
        )
    measure(benchmark, peers, f"get, {kind}", calls_per_s)


@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
def test_puts_of_100_objects_one_after_the_other(benchmark: BenchmarkFixture, kind: str, tmp_path: Path) -> None:
    requests = [[unit(f"u{batch}-{index}") for index in range(100)] for batch in range(80)]
    with running("api", "--grpc", kind, "--store", f"sqlite:///{tmp_path}/store.db") as address:
        seconds = benchmark.pedantic(lambda: asyncio.run(_put(address, *requests)), rounds=1)
    objects_per_s = sum(map(len, requests)) / seconds
    benchmark.extra_info["objects_per_s"] = round(objects_per_s)
    print(f"\nputs of 100, {kind}: {objects_per_s:,.0f} objects/s")


@pytest.mark.parametrize("watchers", [1, 10, 100])
@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
def test_watch_fan_out(benchmark: BenchmarkFixture, kind: str, watchers: int) -> None:
    """The time from the first put to the last event at the last watcher; the watchers share one Python process."""
    puts = 2000 // watchers
    with running("api", "--grpc", kind) as address:
        seconds, latency_s = benchmark.pedantic(lambda: asyncio.run(_fan_out(address, watchers, puts)), rounds=1)
    rate = watchers * puts / seconds
    benchmark.extra_info.update(events_per_s=round(rate), put_to_last_watcher_ms=round(latency_s * 1000, 2))
    print(f"\n{watchers} watchers, {kind}: {rate:,.0f} events/s; a put reaches the last in {latency_s * 1e3:.1f} ms")


async def _put(address: str, *requests: list[Object]) -> float:
    """Seconds that the puts take, one after the other, with their client in Python."""
    async with aio.insecure_channel(address) as channel:
        stub = ApiStub(channel)
        await channel.channel_ready()
        start = time.perf_counter()
        for objects in requests:
            await stub.Put(PutRequest(objects=objects))
        return time.perf_counter() - start


async def _fan_out(address: str, watchers: int, puts: int) -> tuple[float, float]:
    """Seconds for all events at all watchers, and for one event alone at all watchers."""
    async with aio.insecure_channel(address) as channel:
        stub = ApiStub(channel)
        calls = [stub.Watch(WatchRequest(type=TYPE, send_initial=True)) for _ in range(watchers)]
        await asyncio.gather(*(call.read() for call in calls))
        latencies = []
        for number in range(5):
            start = time.perf_counter()
            await asyncio.gather(
                stub.Put(PutRequest(objects=[unit(f"one-{number}")])), *(_read(call, 1) for call in calls)
            )
            latencies.append(time.perf_counter() - start)
        start = time.perf_counter()
        readers = [asyncio.create_task(_read(call, puts)) for call in calls]
        for number in range(puts):
            await stub.Put(PutRequest(objects=[unit(f"u{number}")]))
        await asyncio.gather(*readers)
        elapsed = time.perf_counter() - start
        for call in calls:
            call.cancel()
        return elapsed, sorted(latencies)[len(latencies) // 2]


async def _read(call: aio.UnaryStreamCall[WatchRequest, WatchResponse], updates: int) -> None:
    """Reads until that many updates have come."""
    while updates > 0:
        response = await call.read()
        assert isinstance(response, WatchResponse)
        updates -= sum(event.HasField("update") for event in response.events)
