"""The calls to etcd that are tried again, on members that answer by script, over the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    NotDoneError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.host import Host
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.store import parse_store_url
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.client import CALL_TIMEOUT_S, OPEN_TIMEOUT_S, EtcdClient
from rube.store.etcd.rpc_pb2_grpc import (
    KVServicer,
    MaintenanceServicer,
    add_KVServicer_to_server,
    add_MaintenanceServicer_to_server,
)

Step = tuple[StatusCode, str] | None
"""A member's answer to a transaction: nothing (it takes it), a status, or silence."""
SILENCE = (StatusCode.OK, "never")
NO_LEADER = (StatusCode.UNAVAILABLE, "etcdserver: no leader")
TIMED_OUT = (StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure")
HANDING_OVER = (StatusCode.UNKNOWN, "raft proposal dropped")
TXN = rpc.TxnRequest()


class Member(KVServicer, MaintenanceServicer):
    def __init__(self, steps: list[Step], host: Any, version: str) -> None:
        self.steps = steps
        self.calls = 0
        self._host = host
        self._version = version

    async def Txn(self, request: rpc.TxnRequest, context: aio.ServicerContext[Any, Any]) -> rpc.TxnResponse:
        step = self.steps[min(self.calls, len(self.steps) - 1)]
        self.calls += 1
        if step == SILENCE:
            await self._host.clock.sleep(1000)
        if step is not None:
            await context.abort(*step)
        return rpc.TxnResponse(succeeded=True)

    async def Status(self, request: rpc.StatusRequest, context: aio.ServicerContext[Any, Any]) -> rpc.StatusResponse:
        return rpc.StatusResponse(version=self._version)

    async def _refuse(self, *_: object) -> Any:
        raise NotImplementedError

    _none: Any = _refuse

    Range = Put = DeleteRange = Compact = Alarm = Defragment = HashKV = _none


def with_members(
    scripts: list[list[Step]],
    body: Callable[[EtcdClient], Coroutine[Any, Any, None]],
    *,
    version: str = "3.4.23",
    url: str = "",
) -> list[int]:
    """Runs the body with a client of members that answer so; how often each was asked."""
    with World(1) as world:
        fabric = SimFabric(world)
        members = []
        for number, steps in enumerate(scripts):
            host = world.host(f"e{number}")
            member = Member(steps, host, version)
            members.append(member)

            async def serve(member: Member = member, host: Any = host) -> None:
                server = SimNetwork(fabric, host).server()
                add_KVServicer_to_server(member, server)
                add_MaintenanceServicer_to_server(member, server)
                server.add_insecure_port("0.0.0.0:2379")
                await server.start()
                await server.wait_for_termination()

            host.spawn("etcd", serve)
        own = world.host("a")
        servers = ",".join(f"e{number}" for number in range(len(scripts)))
        parsed = parse_store_url(url or f"etcd://{servers}")

        async def main() -> None:
            ports = Host(
                name="a",
                clock=own.clock,
                network=SimNetwork(fabric, own),
                storage=SimStorage(SimDisk(own)),
                random=own.random,
            )
            client = EtcdClient(ports, parsed, "")
            try:
                await body(client)
            finally:
                await client.close()

        world.run(main, host=own)
        return [member.calls for member in members]


async def write(client: EtcdClient) -> None:
    await client.txn(TXN, repeatable=False)


async def write_repeatable(client: EtcdClient) -> None:
    await client.txn(TXN, repeatable=True)


def raises(error: type[RubeError], match: str, body: Any) -> Callable[[EtcdClient], Coroutine[Any, Any, None]]:
    async def checked(client: EtcdClient) -> None:
        with pytest.raises(error, match=match):
            await body(client)

    return checked


def test_a_write_that_was_certainly_not_carried_out_goes_to_the_next_member() -> None:
    assert with_members([[NO_LEADER], [NO_LEADER, None]], write) == [2, 2]


def test_a_leader_that_hands_its_place_over_is_asked_again_since_the_others_would_lose_the_write() -> None:
    assert with_members([[HANDING_OVER, HANDING_OVER, None], [None]], write) == [3, 0]


def test_a_write_that_ends_in_an_error_of_no_known_meaning_says_that_nobody_knows() -> None:
    step = (StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
    assert with_members([[step], [None]], raises(RubeError, "RST_STREAM.*may have been carried out", write)) == [1, 0]


@pytest.mark.parametrize("step", [TIMED_OUT, (StatusCode.UNAVAILABLE, "etcdserver: server stopped")])
def test_a_write_of_which_nobody_knows_is_not_repeated_and_says_so(step: Step) -> None:
    body = raises(UnavailableError, "may have been carried out or not; read before you repeat it", write)
    assert with_members([[step], [None]], body) == [1, 0]


def test_a_write_without_an_answer_ends_in_time_and_is_not_repeated() -> None:
    async def body(client: EtcdClient) -> None:
        began_ns = client.clock.monotonic_ns()
        with pytest.raises(DeadlineExceededError, match="may have been carried out"):
            await write(client)
        assert client.clock.monotonic_ns() - began_ns < (CALL_TIMEOUT_S + 0.1) * 1e9

    assert with_members([[SILENCE], [None]], body) == [1, 0]


@pytest.mark.parametrize("step", [TIMED_OUT, SILENCE, NO_LEADER])
def test_what_may_be_repeated_is(step: Step) -> None:
    assert with_members([[step], [None]], write_repeatable) == [1, 1]


def test_after_a_failure_calls_stay_with_the_member_that_answers() -> None:
    async def body(client: EtcdClient) -> None:
        for _ in range(5):
            await write_repeatable(client)

    assert with_members([[TIMED_OUT], [None]], body) == [1, 5]


def test_while_no_member_has_a_leader_a_call_ends_in_time_with_the_reason() -> None:
    body = raises(UnavailableError, r"no member of etcd answers at e0:2379, e1:2379.*no leader", write)
    calls = with_members([[NO_LEADER], [NO_LEADER]], body)
    assert all(5 < count < 50 for count in calls)  # with pauses


@pytest.mark.parametrize("url", ["etcd://nowhere,e0:1", "etcd://e0:1"])
def test_an_etcd_that_is_not_there_is_named_in_bounded_time(url: str) -> None:
    async def body(client: EtcdClient) -> None:
        began_ns = client.clock.monotonic_ns()
        with pytest.raises(UnavailableError, match=url.removeprefix("etcd://").split(",")[0]):
            await client.connect()
        assert client.clock.monotonic_ns() - began_ns < (OPEN_TIMEOUT_S + 2.5) * 1e9

    with_members([[None]], body, url=url)


@pytest.mark.parametrize(("version", "known"), [("3.3.27", False), ("2.3.8", False), ("3.4.0", True), ("3.10.1", True)])
def test_an_etcd_that_is_too_old_is_refused(version: str, known: bool) -> None:
    async def body(client: EtcdClient) -> None:
        if known:
            await client.connect()
            return
        with pytest.raises(FailedPreconditionError, match=f"version {version}: Rube needs 3.4 or newer"):
            await client.connect()

    with_members([[None]], body, version=version)


@pytest.mark.parametrize(
    ("step", "error", "match"),
    [
        (
            (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
            ResourceExhaustedError,
            "defrag",
        ),
        (
            (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
            ResourceExhaustedError,
            "max-request-bytes",
        ),
        (
            (StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
            ResourceExhaustedError,
            "max-txn-ops",
        ),
        ((StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"), FailedPreconditionError, "grant a role"),
        ((StatusCode.UNIMPLEMENTED, "unknown service"), FailedPreconditionError, "does not speak etcd's API"),
    ],
)
def test_refusals_say_the_remedy_and_are_not_repeated(step: Step, error: type[RubeError], match: str) -> None:
    assert with_members([[step], [None]], raises(error, match, write)) == [1, 0]


def test_an_etcd_without_tls_is_not_written_to_with_it() -> None:
    assert with_members([[None]], raises(UnavailableError, "TLS", write), url="etcd://e0?tls=true") == [0]


@pytest.mark.parametrize("words", ["failed to connect to all addresses; last error: x", "Connection refused"])
def test_a_write_is_not_sent_again_for_a_members_words(words: str) -> None:
    """Such as a proxy's in front of etcd, which lost etcd after the write."""
    seen: list[RubeError] = []

    async def body(client: EtcdClient) -> None:
        with pytest.raises(UnavailableError) as raised:
            await write(client)
        seen.append(raised.value)

    assert with_members([[(StatusCode.UNAVAILABLE, words)], [None]], body) == [1, 0]
    assert not isinstance(seen[0], NotDoneError)


def test_a_write_that_no_member_can_have_seen_is_not_done() -> None:
    async def body(client: EtcdClient) -> None:
        with pytest.raises(
            NotDoneError, match=r"no member of etcd answers at nowhere:2379 .*no host is called nowhere"
        ):
            await write(client)

    with_members([], body, url="etcd://nowhere")


def test_a_repeatable_write_that_may_be_done_is_not_told_as_not_done() -> None:
    """The member dies after it has taken the write; the second attempt finds none."""
    with World(1) as world:
        fabric = SimFabric(world)
        member_host, own = world.host("e0"), world.host("a")
        member = Member([SILENCE], member_host, "3.4.23")

        async def serve() -> None:
            server = SimNetwork(fabric, member_host).server()
            add_KVServicer_to_server(member, server)
            add_MaintenanceServicer_to_server(member, server)
            server.add_insecure_port("0.0.0.0:2379")
            await server.start()
            await server.wait_for_termination()

        process = member_host.spawn("etcd", serve)

        async def main() -> None:
            ports = Host(
                name="a",
                clock=own.clock,
                network=SimNetwork(fabric, own),
                storage=SimStorage(SimDisk(own)),
                random=own.random,
            )
            client = EtcdClient(ports, parse_store_url("etcd://e0"), "")
            world.loop.call_later(1.0, process.kill)
            with pytest.raises(UnavailableError) as raised:
                await write_repeatable(client)
            assert not isinstance(raised.value, NotDoneError)
            assert member.calls == 1
            await client.close()

        world.run(main, host=own)
