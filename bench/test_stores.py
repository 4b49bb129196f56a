"""Every kind of store beside etcd used directly by the same client: `pytest bench/test_stores.py -s`.

`RUBE_BENCH_SIZES=10000,100000,1000000` says how many objects of 1 KiB; `RUBE_BENCH_KINDS=sqlite,etcd` which stores
(`store_servers.KINDS`; default: sqlite, rocksdb, etcd). `python -m bench.stores` asks for both and prints tables.
Ratios hold from machine to machine, absolute figures do not.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from pytest_benchmark.fixture import BenchmarkFixture

from bench.api_servers import running_etcd
from bench.etcd_direct import DirectEtcd, transaction
from bench.store_servers import Apiservers, remove, store_urls, unavailable
from bench.test_memory import resident_mb, unit
from rube.api import ApiStub, GetRequest, Key, PutRequest
from rube.cli.real_host import real_host
from rube.store import Compare, Op, Store, Txn, open_store
from rube.store.etcd import rpc_pb2

SIZES = [int(size) for size in os.environ.get("RUBE_BENCH_SIZES", "10000,100000").split(",")]
CHOSEN = os.environ.get("RUBE_BENCH_KINDS", "sqlite,rocksdb,etcd").split(",")
OBJECTS_A_PUT = 100
IN_FLIGHT = 8
PUTS_A_ROUND = 80
ROUNDS = 3
VALUE = os.urandom(1024)
WATCHED_COMMITS = 200
LOADING_WRITERS = 8


@pytest.fixture(params=CHOSEN)
def kind(request: pytest.FixtureRequest) -> str:
    if why := unavailable(request.param):
        pytest.skip(why)
    return str(request.param)


# Through the API


@pytest.mark.skipif(bool(unavailable("etcd")), reason=unavailable("etcd"))
@pytest.mark.parametrize("server", ["grpcio", "h2corn"])
def test_puts_of_100_objects(benchmark: BenchmarkFixture, kind: str, server: str, tmp_path: Path) -> None:
    """Eight Puts of 100 objects in flight, and eight of etcd's transactions of 100 puts and 100 compares, in turn."""

    async def main() -> tuple[list[float], list[float]]:
        ours, theirs = [], []
        async with Apiservers(urls, tmp_path, server_kind=server) as servers:
            for number in range(ROUNDS + 1):  # the first is to warm up
                theirs.append(await _etcd_txns(etcd, number))
                ours.append(await _puts(servers.addresses, number))
        return ours[1:], theirs[1:]

    with running_etcd(tmp_path / "peer") as etcd, store_urls(kind, tmp_path / "store") as urls:
        ours, theirs = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    rate, peer = statistics.median(ours), statistics.median(theirs)
    benchmark.extra_info.update(objects_per_s=round(rate), ratio_to_etcd=round(rate / peer, 3))
    print(f"\nputs of 100, {kind}, {server}: {rate:,.0f} objects/s, {rate / peer:.0%} of etcd's {peer:,.0f}")


@pytest.mark.parametrize("size", SIZES)
def test_apiserver_memory_and_start(benchmark: BenchmarkFixture, kind: str, size: int, tmp_path: Path) -> None:
    """The memory of an object of 1 KiB in the server, and the time from a server's start to its first answer."""

    async def main() -> tuple[float, float | None]:
        servers = Apiservers(urls, tmp_path)
        async with servers:
            await _puts(servers.addresses, -1, puts=1)  # to warm up
            empty_mb = resident_mb(servers.daemons[0].pid)
            await _puts(servers.addresses, 0, puts=size // OBJECTS_A_PUT)
            full_mb = resident_mb(servers.daemons[0].pid)
        object_bytes = (full_mb - empty_mb) * 1024 * 1024 / size
        if kind == "memory":  # starts empty
            return object_bytes, None
        begin = time.perf_counter()
        async with servers:
            await _get_one(servers.addresses[0])
            return object_bytes, time.perf_counter() - begin

    with store_urls(kind, tmp_path / "store") as urls:
        object_bytes, start_s = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    remove(tmp_path / "store")
    figures = {"bytes_per_object": object_bytes} | ({} if start_s is None else {"start_s": start_s})
    _report(benchmark, f"apiserver on {kind}, {size:,} objects of 1 KiB", figures)


async def _puts(addresses: list[str], number: int, puts: int = PUTS_A_ROUND) -> float:
    """Objects a second; the requests are serialized before the clock runs."""
    channels = [aio.insecure_channel(address) for address in addresses]
    calls = [channel.unary_unary("/api.Api/Put") for channel in channels]  # type: ignore[call-arg]
    per_part = 200
    seconds = 0.0
    for first in range(0, puts, per_part):
        requests = [
            PutRequest(
                objects=[unit(((number + 1) * 10_000 + put) * 100 + place, node="elsewhere") for place in range(100)]
            ).SerializeToString()
            for put in range(first, min(first + per_part, puts))
        ]
        seconds += await _in_flight([partial(calls[i % len(calls)], request) for i, request in enumerate(requests)])
    for channel in channels:
        await channel.close()  # type: ignore[call-arg]  # grpc-stubs lag behind
    return puts * OBJECTS_A_PUT / seconds


async def _etcd_txns(address: str, number: int) -> float:
    async with aio.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{rpc_pb2.DESCRIPTOR.package}.KV/Txn")  # type: ignore[call-arg]
        requests = [
            _etcd_txn([b"api.systemd.Unit/bench/%d-%d-%d" % (number, put, place) for place in range(OBJECTS_A_PUT)])
            for put in range(PUTS_A_ROUND)
        ]
        seconds = await _in_flight([partial(call, request) for request in requests])
    return PUTS_A_ROUND * OBJECTS_A_PUT / seconds


def _etcd_txn(keys: list[bytes]) -> bytes:
    txn = Txn(tuple(Op(key, VALUE) for key in keys), tuple(Compare(key, 0) for key in keys))
    return transaction(txn).SerializeToString()


async def _in_flight(calls: list[Callable[[], Awaitable[Any]]]) -> float:
    """The seconds that they take, `IN_FLIGHT` at a time."""
    waiting = list(reversed(calls))

    async def work() -> None:
        while waiting:
            await waiting.pop()()

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - begin


async def _get_one(address: str) -> None:
    async with aio.insecure_channel(address) as channel:
        key = Key(type="api.systemd.Unit", namespace="bench", name="unit-1000000")
        await ApiStub(channel).Get(GetRequest(key=key))


# The port alone


@pytest.mark.parametrize("size", SIZES)
def test_store_at_size(benchmark: BenchmarkFixture, kind: str, size: int, tmp_path: Path) -> None:
    """Commits, a scan of everything, a watch's delay and an opening, with so many records of 1 KiB in the store."""
    if kind.endswith("x3"):
        pytest.skip("three members need three processes: see test_puts_of_100_objects")

    async def main() -> dict[str, float]:
        store = await open_store(real_host(), url)
        figures = await _figures(store, size)
        await store.close()
        if kind != "memory":
            begin = time.perf_counter()
            store = await open_store(real_host(), url)
            figures["open_s"] = time.perf_counter() - begin
            await store.close()
        return figures

    with store_urls(kind, tmp_path / "store") as (url,):
        figures = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    remove(tmp_path / "store")
    _report(benchmark, f"{kind}, {size:,} records", figures)


@pytest.mark.skipif(bool(unavailable("etcd")), reason=unavailable("etcd"))
@pytest.mark.parametrize("size", SIZES)
def test_etcd_directly(benchmark: BenchmarkFixture, size: int, tmp_path: Path) -> None:
    """The same of etcd by its own API: what the stores at that size are to be seen beside."""

    async def main() -> dict[str, float]:
        etcd = DirectEtcd(address)
        figures = await _figures(etcd, size)
        await etcd.close()
        return figures

    with running_etcd(tmp_path / "etcd") as address:
        figures = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    remove(tmp_path / "etcd")
    _report(benchmark, f"etcd directly, {size:,} records", figures)


def _report(benchmark: BenchmarkFixture, what: str, figures: dict[str, float]) -> None:
    benchmark.extra_info.update({name: round(value, 4) for name, value in figures.items()})
    print(f"\n{what}: " + ", ".join(f"{name} {value:,.5g}" for name, value in figures.items()))


async def _figures(store: Store | DirectEtcd, size: int) -> dict[str, float]:
    for number in range(20):  # to warm up; a member of a group elects its leader meanwhile
        await store.commit(Txn((Op(b"warm/%d" % number, VALUE),)))
    figures = await _fill(store, size)
    figures |= await _commits(store) | await _scan(store, size)
    idle = await _watch(store, b"idle")
    async with _load(store):
        loaded = await _watch(store, b"loaded")
    return (
        figures
        | {f"watch_{name}": value for name, value in idle.items()}
        | {f"watch_loaded_{name}": value for name, value in loaded.items()}
    )


async def _fill(store: Store | DirectEtcd, size: int) -> dict[str, float]:
    async def commit(first: int) -> None:
        await store.commit(Txn(tuple(Op(b"bench/%09d" % number, VALUE) for number in range(first, first + 100))))

    seconds = await _in_flight([partial(commit, first) for first in range(0, size, 100)])
    return {"rows_100_per_s": size / seconds}


async def _commits(store: Store | DirectEtcd) -> dict[str, float]:
    async def write(task: int) -> None:
        for number in range(30):
            await store.commit(Txn((Op(b"one/%d-%d" % (task, number), VALUE),)))

    begin = time.perf_counter()
    await asyncio.gather(*(write(task) for task in range(64)))
    return {"commits_per_s": 64 * 30 / (time.perf_counter() - begin)}


async def _scan(store: Store | DirectEtcd, size: int) -> dict[str, float]:
    begin = time.perf_counter()
    start, found, revision = b"bench/", 0, 0
    while True:
        page = await store.range(start, b"bench0", revision=revision, limit=500)
        revision, found = page.revision, found + len(page.records)
        if not page.more:
            break
        start = page.records[-1].key + b"\0"
    assert found == size
    return {"scan_rows_per_s": size / (time.perf_counter() - begin)}


@asynccontextmanager
async def _load(store: Store | DirectEtcd) -> AsyncIterator[None]:
    """Writers of other keys, each with one commit after the other, until the block ends."""

    async def write(task: int) -> None:
        for number in itertools.count():
            await store.commit(Txn((Op(b"load/%d-%d" % (task, number % 1000), VALUE),)))

    tasks = [asyncio.create_task(write(task)) for task in range(LOADING_WRITERS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(store: Store | DirectEtcd, prefix: bytes) -> dict[str, float]:
    """The time from the call of a commit to the delivery of its change; beside it, to the call's return."""
    begun: dict[int, float] = {}
    committed_ms: list[float] = []
    delivered: dict[int, float] = {}

    async def follow() -> None:
        async with aclosing(store.watch(prefix + b"/", prefix + b"0", after_revision=store.revision)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                now = time.perf_counter()
                delivered.update((change.record.mod_revision, now) for change in batch.changes)
                if len(delivered) == WATCHED_COMMITS:
                    return

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0.2)
    for number in range(WATCHED_COMMITS):
        begin = time.perf_counter()
        begun[await store.commit(Txn((Op(prefix + b"/%d" % number, VALUE),)))] = begin
        committed_ms.append((time.perf_counter() - begin) * 1e3)
    await follower
    delays_ms = [(delivered[revision] - begin) * 1e3 for revision, begin in begun.items()]
    return {
        "p50_ms": statistics.median(delays_ms),
        "p99_ms": statistics.quantiles(delays_ms, n=100)[98],
        "commit_p50_ms": statistics.median(committed_ms),
    }
