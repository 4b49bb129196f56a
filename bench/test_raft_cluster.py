"""Three members: simulated, and as real processes on this machine, with an etcd of three beside them.

Figures to reach. Simulated: 25 virtual seconds a second of processor time under 50 proposals a second, 100 idle. Real:
40% of a single apiserver's puts on the same server kind with 64 calls in flight; the first write after
kill -9 of the leader within 1.5 election timeouts, which are a second or less (median of 20 kills, RUBE_BENCH_KILLS).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from grpc import aio
from pytest_benchmark.fixture import BenchmarkFixture

from bench.api_servers import etcd_is_installed, etcd_put, free_port, h2load, running
from bench.raft_groups import Apiservers, Etcds, Group, running_group
from bench.test_api import needs_h2load, unit
from rube.api import ApiAsyncStub, ApiStub, PutRequest
from rube.group import MemberConfig
from rube.sim.cluster.cluster import ClusterConfig, SimCluster
from rube.sim.cluster.daemons import API_PORT
from rube.sim.world.kernel import World
from rube.sim.world.network import SimNetwork
from tests.simulation.group_world import GroupWorld

needs_etcd = pytest.mark.skipif(not etcd_is_installed(), reason="etcd is not installed: apt-get install etcd-server")

IDLE_S, LOADED_S, ROUNDS = 10, 3, 40
PUTS_PER_S = 50
PROPOSAL_BYTES = 100
SECONDS, TURNS = 3, 3
KILLS = int(os.environ.get("RUBE_BENCH_KILLS", "5"))
PROBE_S, PROBE_DEADLINE_S = 0.025, 15.0
SETTLE_S = 1.0


# Simulated


def test_simulated_cluster(benchmark: BenchmarkFixture) -> None:
    """Virtual seconds a second of processor time, of three apiservers without controllers."""
    with World(1) as world:
        cluster = SimCluster(world, ClusterConfig(raft_invariants=False))
        names = ["api-1", "api-2", "api-3"]
        members = ",".join(f"{name}={name}:7900" for name in names)
        for name in names:
            url = f"raft+sqlite:////store.db?name={name}&listen=0.0.0.0:7900&members={members}"
            cluster.add_apiserver(name, store=url, controllers=None)
        world.run_until(lambda: bool(cluster.leader()))
        world.run_for(3)
        idle = IDLE_S / min(_processor_s(lambda: world.run_for(IDLE_S)) for _ in range(ROUNDS))
        acknowledged: list[int] = []
        target = f"{cluster.leader()}:{API_PORT}"

        async def put() -> None:
            async with SimNetwork(cluster.fabric, world.observer).channel(target) as channel:
                stub: ApiAsyncStub = ApiStub(channel)
                for number in range(PUTS_PER_S * (LOADED_S * ROUNDS + 1)):
                    call = asyncio.ensure_future(stub.Put(PutRequest(objects=[unit(f"u-{number}")])))
                    call.add_done_callback(lambda done: acknowledged.append(done.result().revision))
                    await asyncio.sleep(1 / PUTS_PER_S)

        world.observer.spawn("client", put)
        world.run_for(1)
        before = len(acknowledged)
        loaded = LOADED_S / _best(benchmark, lambda: world.run_for(LOADED_S))
        assert len(acknowledged) - before == pytest.approx(PUTS_PER_S * LOADED_S * ROUNDS, abs=5)
    benchmark.extra_info.update(idle=round(idle, 1), loaded=round(loaded, 1))
    print(f"\nsimulated apiservers: {idle:.0f} virtual seconds a second idle, {loaded:.1f} at {PUTS_PER_S} puts/s")


def test_simulated_members(benchmark: BenchmarkFixture) -> None:
    """The same as `test_simulated_cluster`, of members with a dictionary for a state: Raft, its log and its network."""
    with World(1) as world:
        group = GroupWorld(world, tick_s=MemberConfig(name="a", listen="").tick_s)
        group.start_all()
        world.run_for(3)
        idle = IDLE_S / min(_processor_s(lambda: world.run_for(IDLE_S)) for _ in range(ROUNDS))
        leader, applied = group.leader(), []
        assert leader is not None
        assert leader.process is not None
        member = leader.member
        assert member is not None

        async def propose() -> None:
            number = 0
            while True:
                number += 1
                proposal = asyncio.ensure_future(member.propose(b"k%d=%s" % (number % 100, b"x" * PROPOSAL_BYTES)))
                proposal.add_done_callback(lambda done: applied.append(done.result()))
                await asyncio.sleep(1 / PUTS_PER_S)

        leader.process.create_task(propose())
        world.run_for(1)
        before = len(applied)
        loaded = LOADED_S / _best(benchmark, lambda: world.run_for(LOADED_S))
        assert len(applied) - before == pytest.approx(PUTS_PER_S * LOADED_S * ROUNDS, abs=5)
    benchmark.extra_info.update(idle=round(idle, 1), loaded=round(loaded, 1))
    print(f"\nsimulated members: {idle:.0f} virtual seconds a second idle, {loaded:.1f} at {PUTS_PER_S} proposals/s")


def _best(benchmark: BenchmarkFixture, work: Callable[[], None]) -> float:
    """The best of a few rounds: what else the machine does only ever adds time."""
    seconds: list[float] = []
    benchmark.pedantic(lambda: seconds.append(_processor_s(work)), rounds=ROUNDS)
    return min(seconds)


def _processor_s(work: Callable[[], None]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


# Real


@needs_h2load
@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
def test_puts_of_three_members(benchmark: BenchmarkFixture, kind: str, tmp_path: Path) -> None:
    """With 64 in flight at the leader, of what a single apiserver takes on the same server."""
    message = PutRequest(objects=[unit("")]).SerializeToString()

    async def of_three(directory: Path) -> float:
        group = Apiservers(directory, server_kind=kind)
        async with running_group(group):
            address = group.api[await group.leader()]
            return await asyncio.to_thread(h2load, address, "api.Api/Put", message, tmp_path, seconds=SECONDS)

    def of_one(scheme: str, directory: Path) -> float:
        names = f"?name=s&members=s=127.0.0.1:{free_port()}" if scheme.startswith("raft") else ""
        url = f"{scheme}:///{directory}/{scheme}.db{names}"
        with running("api", "--grpc", kind, "--store", url) as address:
            return h2load(address, "api.Api/Put", message, tmp_path, seconds=SECONDS)

    found: list[tuple[float, float, float]] = []  # three, single, alone: in turn, since the machine's speed drifts

    def measure() -> None:
        directory = tmp_path / f"turn-{len(found)}"
        directory.mkdir()
        single, alone = of_one("sqlite", directory), of_one("raft+sqlite", directory)
        found.append((asyncio.run(of_three(directory)), single, alone))

    benchmark.pedantic(measure, rounds=TURNS)
    three, single, _ = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(three / single for three, single, _ in found)
    ratio_alone = statistics.median(alone / single for _, single, alone in found)
    benchmark.extra_info.update(puts_per_s=round(three), single_per_s=round(single))
    benchmark.extra_info.update(ratio=round(ratio, 3), ratio_alone=round(ratio_alone, 3))
    print(
        f"\nputs, 64 in flight, {kind}: {three:,.0f}/s of three members, {ratio:.0%} of a single apiserver's "
        f"{single:,.0f}/s; a group of one {ratio_alone:.0%}; medians of {TURNS}"
    )


def test_first_write_after_a_kill(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    group = Apiservers(tmp_path)
    put = PutRequest(objects=[unit("")]).SerializeToString()
    seconds = benchmark.pedantic(lambda: asyncio.run(_first_writes(group, "/api.Api/Put", put)), rounds=1)
    _report_kills(benchmark, "apiservers", seconds, MemberConfig(name="a", listen="").election_s)


@needs_etcd
def test_first_write_after_a_kill_of_etcd(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    put = etcd_put(b"unit", b"x" * 1024)
    group = Etcds(tmp_path / "etcd")
    seconds = benchmark.pedantic(lambda: asyncio.run(_first_writes(group, "/etcdserverpb.KV/Put", put)), rounds=1)
    _report_kills(benchmark, "etcd", seconds, 1.0)


async def _first_writes(group: Apiservers | Etcds, method: str, message: bytes) -> list[tuple[float, float]]:
    """Returns for each kill the seconds to the first acknowledgement, and to that of the slowest write sent at once."""
    async with running_group(group):
        return [await _kill_once(group, method, message) for _ in range(KILLS)]


async def _kill_once(group: Group, method: str, message: bytes) -> tuple[float, float]:
    leader = await group.leader()
    channels = [aio.insecure_channel(address) for address in group.addresses(without=leader)]
    calls = [channel.unary_unary(method) for channel in channels]  # type: ignore[call-arg]  # grpc-stubs lag behind
    await asyncio.gather(*(call(message, timeout=PROBE_DEADLINE_S) for call in calls))
    begin = time.perf_counter()
    await group.kill(leader)
    first = [asyncio.create_task(_acknowledged(call, message)) for call in calls]
    probes = list(first)
    while not any(probe.done() for probe in probes):
        await asyncio.sleep(PROBE_S)
        probes.append(asyncio.create_task(_acknowledged(calls[len(probes) % len(calls)], message)))
    ends = await asyncio.gather(*probes)
    for channel in channels:
        await channel.close()  # type: ignore[call-arg]  # grpc-stubs lag behind
    await group.restart(leader)
    await asyncio.sleep(SETTLE_S)
    return min(ends) - begin, max(ends[: len(first)]) - begin


async def _acknowledged(call: Callable[..., Awaitable[bytes]], message: bytes) -> float:
    """The time at which a write is acknowledged that is tried again after each refusal."""
    while True:
        try:
            await call(message, timeout=PROBE_DEADLINE_S)
            return time.perf_counter()
        except aio.AioRpcError:
            await asyncio.sleep(PROBE_S)


def _report_kills(
    benchmark: BenchmarkFixture, what: str, seconds: list[tuple[float, float]], election_s: float
) -> None:
    first, held = statistics.median(one for one, _ in seconds), statistics.median(one for _, one in seconds)
    benchmark.extra_info.update(first_s=round(first, 3), held_s=round(held, 3), kills=KILLS)
    benchmark.extra_info.update(election_s=election_s, of_timeout=round(first / election_s, 3))
    benchmark.extra_info.update(all_s=[round(one, 3) for one, _ in seconds])
    print(
        f"\n{what}: first write {first:.2f} s after kill -9 of the leader, median of {KILLS}, {first / election_s:.2f} "
        f"of an election timeout of {election_s:g} s; writes in flight {held:.2f} s"
    )
