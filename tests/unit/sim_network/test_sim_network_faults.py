"""Abilities of the simulated network alone: faults, hosts, links, and a trace that tells every change."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import ChannelConnectivity, StatusCode, aio

from rube.sim.world.kernel import HostStateError, SimProcess, World
from rube.sim.world.network import Link, SimFabric, SimNetwork
from rube.transport import ChannelOptions

METHOD = "/test.Service/echo"
CHANNEL = ChannelOptions(keepalive_s=10, keepalive_timeout_s=5)


class Cluster:
    """A server on host `server` that notes what it was asked, and clients on hosts `a` and `b`."""

    def __init__(self, seed: int = 1, link: Link | None = None) -> None:
        self.world = World(seed)
        self.fabric = SimFabric(self.world, link)
        self.server = self.world.host("server")
        self.a, self.b = self.world.host("a"), self.world.host("b")
        self.written: list[bytes] = []
        self.ended: list[str] = []
        self.listen = "0.0.0.0:70"
        self.process: SimProcess = self.start()

    def start(self) -> SimProcess:
        self.process = self.server.spawn("echo", self._serve)
        self.world.run_for(0.01)
        return self.process

    async def _serve(self) -> None:
        server = SimNetwork(self.fabric, "server").server()
        methods = {"echo": grpc.unary_unary_rpc_method_handler(self._echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
        server.add_insecure_port(self.listen)
        await server.start()
        await server.wait_for_termination()

    async def _echo(self, request: bytes, context: Any) -> bytes:
        self.written.append(request)
        try:
            await asyncio.sleep(0.1 if request == b"slow" else 0)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return request

    def call(self, host: str = "a") -> Callable[..., Any]:
        channel: Any = SimNetwork(self.fabric, host, channel_options=CHANNEL).channel("server:70")
        return channel.unary_unary(METHOD)  # type: ignore[no-any-return]

    def run(self, body: Callable[[], Coroutine[Any, Any, Any]], host: str = "a") -> Any:
        return self.world.run(body, host=self.world.host(host))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    with made.world:
        yield made


async def failure(call: Any) -> StatusCode:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    code: StatusCode = raised.value.code()
    return code


def elapsed_s(world: World, start_ns: int) -> float:
    return (world.now_ns - start_ns) / 1e9


def test_a_kill_loses_the_response_of_a_write_that_was_done(cluster: Cluster) -> None:
    async def body() -> None:
        call = cluster.call()(b"slow")
        await asyncio.sleep(0.05)
        cluster.process.kill()
        assert await failure(call) is StatusCode.UNAVAILABLE

    cluster.run(body)
    assert cluster.written == [b"slow"]
    assert cluster.ended == []  # a killed process runs no cleanup


def test_power_loss_is_silence_until_keepalive(cluster: Cluster) -> None:
    async def body() -> float:
        calls = cluster.call()
        await calls(b"")
        start_ns = cluster.world.now_ns
        call = calls(b"slow")
        await asyncio.sleep(0.05)
        cluster.server.power_off()
        assert await failure(call) is StatusCode.UNAVAILABLE
        return elapsed_s(cluster.world, start_ns)

    assert 14 < cluster.run(body) < 15.1


def test_a_host_that_comes_back_resets_connections_it_does_not_know(cluster: Cluster) -> None:
    async def body() -> float:
        calls = cluster.call()
        await calls(b"")
        start_ns = cluster.world.now_ns
        cluster.server.power_off()
        cluster.server.power_on()
        assert await failure(calls(b"")) is StatusCode.UNAVAILABLE
        return elapsed_s(cluster.world, start_ns)

    assert cluster.run(body) < 0.1


def test_a_paused_server_answers_late(cluster: Cluster) -> None:
    async def body() -> float:
        calls = cluster.call()
        await calls(b"")
        cluster.server.pause()
        start_ns = cluster.world.now_ns
        call = calls(b"x")
        await asyncio.sleep(5)
        assert not call.done()
        cluster.server.resume()
        assert await call == b"x"
        return elapsed_s(cluster.world, start_ns)

    assert 5 < cluster.run(body) < 5.1


def test_a_process_that_ends_closes_its_connections(cluster: Cluster) -> None:
    async def body() -> StatusCode:
        calls = cluster.call()
        await calls(b"")
        call = calls(b"slow")
        await asyncio.sleep(0.05)
        cluster.process.stop()
        return await failure(call)

    assert cluster.run(body) is StatusCode.CANCELLED  # its handlers were cancelled before the connections closed
    assert cluster.ended == ["cancelled"]


def test_a_dead_client_cancels_its_calls_at_the_server(cluster: Cluster) -> None:
    async def client() -> None:
        await cluster.call()(b"slow")

    process = cluster.a.spawn("client", client)
    cluster.world.run_until(lambda: cluster.written == [b"slow"])
    process.kill()
    cluster.world.run_for(0.01)
    assert cluster.ended == ["cancelled"]


def test_a_partition_cuts_only_between_its_groups(cluster: Cluster) -> None:
    cluster.fabric.partition(["a"], ["server"])

    async def cut_off() -> None:
        assert await failure(cluster.call("a")(b"", timeout=1)) is StatusCode.DEADLINE_EXCEEDED

    async def connected() -> None:
        assert await cluster.call("b")(b"b") == b"b"

    cluster.run(cut_off)
    cluster.run(connected, "b")
    cluster.fabric.unite(["a"], ["server"])
    cluster.world.run_for(5)

    async def healed() -> None:
        assert await cluster.call("a")(b"healed") == b"healed"

    cluster.run(healed)


def test_a_one_way_partition_loses_answers_only(cluster: Cluster) -> None:
    async def body() -> None:
        calls = cluster.call()
        await calls(b"before")
        cluster.fabric.partition(["server"], ["a"], one_way=True)
        assert await failure(calls(b"heard", timeout=1)) is StatusCode.DEADLINE_EXCEEDED

    cluster.run(body)
    assert cluster.written == [b"before", b"heard"]


def test_a_stall_that_heals_in_time_delivers_everything_in_order(cluster: Cluster) -> None:
    async def body() -> list[bytes]:
        calls = cluster.call()
        await calls(b"0")
        cluster.fabric.partition(["a"], ["server"])
        running = [calls(b"%d" % number) for number in range(1, 20)]
        await asyncio.sleep(8)
        cluster.fabric.heal_all()
        return [await call for call in running]

    assert cluster.run(body) == [b"%d" % number for number in range(1, 20)]
    assert cluster.written == [b"%d" % number for number in range(20)]


def test_what_was_under_way_when_a_partition_healed_does_not_overtake(cluster: Cluster) -> None:
    cluster.fabric.set_link("a", "server", latency_ms=100, jitter_ms=0)

    async def body() -> None:
        calls = cluster.call()
        await calls(b"0")
        first = calls(b"1")  # arrives, and is lost, during the partition
        await asyncio.sleep(0.08)
        second = calls(b"2")  # under way all through the partition
        await asyncio.sleep(0.01)
        cluster.fabric.partition(["a"], ["server"])
        await asyncio.sleep(0.05)
        cluster.fabric.heal_all()
        await asyncio.gather(first, second)

    cluster.run(body)
    assert cluster.written == [b"0", b"1", b"2"]


def test_isolation_holds_for_hosts_made_later_and_heals_by_name(cluster: Cluster) -> None:
    cluster.fabric.isolate("server")
    cluster.world.host("late")

    async def body() -> StatusCode:
        return await failure(cluster.call("late")(b"", timeout=1))

    assert cluster.run(body, "late") is StatusCode.DEADLINE_EXCEEDED
    cluster.fabric.heal(["server"])

    async def healed() -> bytes:
        return bytes(await cluster.call("late")(b"x", timeout=5, wait_for_ready=True))

    assert cluster.run(healed, "late") == b"x"


def test_healing_one_host_leaves_another_isolated(cluster: Cluster) -> None:
    cluster.fabric.isolate("server")
    cluster.fabric.isolate("a")
    cluster.fabric.heal(["a"])

    async def body() -> StatusCode:
        return await failure(cluster.call("a")(b"", timeout=1))

    assert cluster.run(body) is StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("pair", [("a", "server"), ("server", "a")])
def test_a_reset_reaches_both_ends_at_once(cluster: Cluster, pair: tuple[str, str]) -> None:
    async def body() -> tuple[StatusCode, int]:
        call = cluster.call()(b"slow")
        await asyncio.sleep(0.05)
        cluster.fabric.reset_connections(*pair)
        reset_ns = cluster.world.now_ns
        return await failure(call), cluster.world.now_ns - reset_ns

    assert cluster.run(body) == (StatusCode.UNAVAILABLE, 0)
    assert cluster.ended == ["cancelled"]


def test_an_attempt_to_connect_that_was_given_up_never_becomes_a_connection(cluster: Cluster) -> None:
    async def body() -> tuple[list[str], ChannelConnectivity]:
        start_ns = cluster.world.now_ns
        channel = SimNetwork(cluster.fabric, "a", channel_options=CHANNEL).channel("server:70")
        channel.get_state(try_to_connect=True)
        while not cluster.fabric.sockets(cluster.process).ends:  # until the server has accepted
            await asyncio.sleep(0.0001)
        await channel.close()  # type: ignore[call-arg]  # grpc-stubs lag behind
        await asyncio.sleep(5)
        assert elapsed_s(cluster.world, start_ns) > 5
        return list(map(str, cluster.fabric.sockets(cluster.process).ends)), channel.get_state()

    assert cluster.run(body) == ([], ChannelConnectivity.SHUTDOWN)


def test_a_clog_delays_and_ends_by_itself(cluster: Cluster) -> None:
    async def body() -> float:
        calls = cluster.call()
        await calls(b"")
        start_ns = cluster.world.now_ns
        cluster.fabric.clog("a", "server", 2)
        await calls(b"")
        return elapsed_s(cluster.world, start_ns)

    assert 2 < cluster.run(body) < 2.5


def test_a_link_has_latency_and_bandwidth(cluster: Cluster) -> None:
    cluster.fabric.set_link("a", "server", latency_ms=50, jitter_ms=0, bandwidth_mbps=8)

    async def body() -> tuple[float, float]:
        calls = cluster.call()
        await calls(b"")
        start_ns = cluster.world.now_ns
        await calls(b"")
        small_s = elapsed_s(cluster.world, start_ns)
        await calls(bytes(1_000_000))
        return small_s, elapsed_s(cluster.world, start_ns) - small_s

    small_s, large_s = cluster.run(body)
    assert 0.1 <= small_s < 0.101
    assert 2.1 <= large_s < 2.11  # a megabyte each way at a megabyte a second


def test_loss_delays_but_loses_nothing(cluster: Cluster) -> None:
    cluster.fabric.set_link("a", "server", loss=0.3)

    async def body() -> list[bytes]:
        calls = cluster.call()
        return [await calls(b"%d" % number) for number in range(30)]

    assert cluster.run(body) == [b"%d" % number for number in range(30)]


def test_a_loopback_listener_is_for_its_own_host(cluster: Cluster) -> None:
    cluster.process.kill()
    cluster.listen = "127.0.0.1:70"
    cluster.start()

    async def from_outside() -> StatusCode:
        return await failure(cluster.call("a")(b"", timeout=5))

    async def from_inside() -> bytes:
        channel = SimNetwork(cluster.fabric, "server").channel("localhost:70")
        return bytes(await channel.unary_unary(METHOD)(b"me"))  # type: ignore[call-arg]  # grpc-stubs lag behind

    assert cluster.run(from_outside) is StatusCode.UNAVAILABLE
    assert cluster.run(from_inside, "server") == b"me"


def test_a_deadline_follows_the_callers_clock(cluster: Cluster) -> None:
    cluster.a.set_drift(100_000)  # its clock runs a tenth fast

    async def body() -> float:
        calls = cluster.call()
        await calls(b"")
        start_ns = cluster.world.now_ns
        cluster.fabric.isolate("server")
        await failure(calls(b"", timeout=11))
        return elapsed_s(cluster.world, start_ns)

    assert cluster.run(body) == pytest.approx(10, abs=0.001)


def test_a_network_is_used_by_its_own_host_only(cluster: Cluster) -> None:
    async def body() -> None:
        with pytest.raises(HostStateError, match="own host"):
            cluster.call("b")

    cluster.run(body, "a")


def digest(*, seed: int = 1, request: bytes = b"request", latency_ms: float = 0.5) -> str:
    cluster = Cluster(seed, Link(latency_ms=latency_ms, jitter_ms=0))
    with cluster.world:

        async def body() -> None:
            calls = cluster.call()
            await asyncio.gather(*(calls(request) for _ in range(5)))
            cluster.fabric.clog("a", "server", 0.5)
            await calls(request)

        cluster.run(body)
        return cluster.world.trace.digest()


def test_the_same_run_has_the_same_digest() -> None:
    assert digest() == digest()


def test_the_digest_does_not_depend_on_pythons_hash_seed() -> None:
    program = f"from {__name__} import digest; print(digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {digest()}


def test_one_changed_byte_changes_the_digest() -> None:
    assert digest(request=b"request") != digest(request=b"requess")


def test_one_changed_latency_changes_the_digest() -> None:
    assert digest(latency_ms=0.5) != digest(latency_ms=0.500001)
