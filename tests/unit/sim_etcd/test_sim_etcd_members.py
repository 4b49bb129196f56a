"""Three members of a simulated etcd that are killed, cut off and unplugged: what is acknowledged stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from grpc import StatusCode, aio

from rube.api.errors import UnavailableError
from rube.group import Member as GroupMember
from rube.sim.etcd.config import Timing
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.member import Member
from rube.sim.world.kernel import World
from rube.sim.world.kernel.host import SimClock
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import KVStub
from tests.unit.sim_etcd.etcd_worlds import MEMBERS, EtcdWorld

TIMED_OUT = "etcdserver: request timed out"
NO_LEADER = "etcdserver: no leader"


@pytest.fixture
def world() -> Iterator[EtcdWorld]:
    with World(seed=3) as world:
        yield EtcdWorld(world)


def others(member: str) -> list[str]:
    return [name for name in MEMBERS if name != member]


def test_what_one_member_takes_all_have(world: EtcdWorld) -> None:
    for number, member in enumerate(MEMBERS):
        assert world.put(member, b"k%d" % number, b"v") == 2 + number
    for member in MEMBERS:
        assert [world.get(member, b"k%d" % number) for number in range(3)] == [b"v"] * 3


def test_a_lost_leader_is_followed_by_another_that_has_all(world: EtcdWorld) -> None:
    leader = world.leader()
    for number in range(5):
        world.put(leader, b"k%d" % number, b"v")
    world.faults.kill(leader)
    start_ns = world.world.now_ns
    assert world.put_again(others(leader)[0], b"after") == 7
    pause_s = (world.world.now_ns - start_ns) / 1e9
    assert 0.5 < pause_s < 4  # about an election's timeout
    assert world.leader() in others(leader)
    assert world.get(others(leader)[1], b"k4") == b"v"
    world.faults.restart(leader)
    world.world.run_for(2)
    assert world.get(leader, b"after", serializable=True) == b""


def test_a_member_without_a_majority_says_so_or_lets_wait(world: EtcdWorld) -> None:
    world.put("etcd-1", b"k", b"old")
    for member in MEMBERS[1:]:
        world.faults.kill(member)
    world.world.run_for(3)
    assert world.put("etcd-1", b"k", b"new", hasleader="true") == NO_LEADER
    start_ns = world.world.now_ns
    assert world.put("etcd-1", b"k", b"new") == TIMED_OUT
    assert 6.9 < (world.world.now_ns - start_ns) / 1e9 < 8
    assert world.get("etcd-1", b"k") == TIMED_OUT
    assert world.get("etcd-1", b"k", serializable=True) == b"old"


def test_a_leader_that_is_cut_off_answers_no_read_that_may_be_stale(world: EtcdWorld) -> None:
    leader = world.leader()
    world.put(leader, b"k", b"old")
    for other in others(leader):
        world.faults.partition([leader], [other])  # its clients still reach it
    assert world.get(leader, b"k") in ("etcdserver: leader changed", TIMED_OUT)
    assert world.put_again(others(leader)[0], b"k", b"new") == 3
    assert world.get(leader, b"k", serializable=True) == b"old"
    assert isinstance(world.put(leader, b"k", b"never"), str)
    world.faults.heal_all()
    world.world.run_for(3)
    assert world.get(leader, b"k") == b"new"


def test_what_only_a_minority_wrote_is_gone_once_another_leads(world: EtcdWorld) -> None:
    leader = world.leader()
    for other in others(leader):
        world.faults.partition([leader], [other])
    assert isinstance(world.put(leader, b"lost", b"x"), str)  # on its own disk, and on no other
    assert world.put_again(others(leader)[0], b"kept", b"y") == 2
    world.faults.kill(leader)
    world.faults.heal_all()
    world.faults.restart(leader)
    world.world.run_for(3)
    for member in MEMBERS:
        assert (world.get(member, b"lost"), world.get(member, b"kept")) == (None, b"y")


def test_acknowledged_writes_survive_a_loss_of_power_of_all(world: EtcdWorld) -> None:
    for life in range(3):
        for number in range(5):
            assert isinstance(world.put(MEMBERS[number % 3], b"%d/%d" % (life, number), b"v"), int)
        for member in MEMBERS:
            world.faults.power_off(member)
        world.world.run_for(1)
        for member in MEMBERS:
            world.faults.power_on(member)
        world.world.run_for(4)
        for earlier in range(life + 1):
            assert [world.get("etcd-2", b"%d/%d" % (earlier, number)) for number in range(5)] == [b"v"] * 5
    assert world.put("etcd-1", b"next") == 2 + 15


def test_a_member_whose_disk_is_full_ends_and_comes_back_with_all(
    world: EtcdWorld, caplog: pytest.LogCaptureFixture
) -> None:
    member = others(world.leader())[0]
    world.faults.disk(member).fill()
    for number in range(3):
        world.put(world.leader(), b"k%d" % number, b"v")
    assert world.get(member, b"k2", serializable=True) != b"v"
    assert any(record.getMessage().startswith(f"{member} ends: the disk") for record in caplog.records)
    world.faults.disk(member).free()
    world.world.run_for(10)
    assert world.get(member, b"k2", serializable=True) == b"v"


def test_a_watch_that_needs_a_leader_ends_without_one(world: EtcdWorld) -> None:
    async def main() -> tuple[StatusCode, str]:
        needing = world.watches("etcd-1").Watch(metadata=(("hasleader", "true"),))
        patient = world.watches("etcd-1").Watch()
        for call in (needing, patient):
            await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k")))
            await call.read()
        for member in MEMBERS[1:]:
            world.faults.kill(member)
        try:
            await needing.read()
        except aio.AioRpcError as error:
            assert not patient.done()
            return error.code(), error.details() or ""
        raise AssertionError("it goes on")

    assert world.run(main) == (StatusCode.UNAVAILABLE, NO_LEADER)


def test_a_watch_on_any_member_is_told_what_another_took(world: EtcdWorld) -> None:
    async def main() -> list[int]:
        call = world.watches("etcd-3").Watch()
        await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k")))
        await call.read()
        writing = asyncio.create_task(_put_three(world))
        revisions: list[int] = []
        while len(revisions) < 3:
            revisions += [event.kv.mod_revision for event in (await call.read()).events]
        await writing
        return revisions

    assert world.run(main) == [2, 3, 4]


async def _put_three(world: EtcdWorld) -> None:
    for member in MEMBERS:
        await KVStub(world.host.network.channel(f"{member}:2379")).Put(etcd.PutRequest(key=b"k"))


@pytest.mark.parametrize("call", ["propose", "read_barrier"])
def test_what_the_group_refuses_is_never_answered_even_where_no_time_passes(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: GroupMember, *arguments: object, **options: object) -> None:
        raise UnavailableError("lost")

    sleep_before = SimClock.sleep

    async def sleep(self: SimClock, seconds: float) -> None:
        """Ends before a request's time is over."""
        if seconds != Timing().request_timeout_s:
            await sleep_before(self, seconds)

    with World(seed=3) as world:
        site = EtcdWorld(world)
        site.put("etcd-1", b"k", b"v")
        monkeypatch.setattr(GroupMember, call, refuse)
        monkeypatch.setattr(SimClock, "sleep", sleep)
        answer = site.put("etcd-1", b"k", b"new") if call == "propose" else site.get("etcd-1", b"k")
        assert answer == TIMED_OUT


def test_a_member_that_cannot_follow_the_leader_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: GroupMember) -> None:
        raise ZeroDivisionError("a mistake in the group")

    monkeypatch.setattr(GroupMember, "led", fail)
    with World(seed=3) as world, pytest.raises(ExceptionGroup) as failures:
        EtcdWorld(world)
    assert failures.group_contains(ZeroDivisionError)


def test_no_task_outlives_a_read_that_another_leader_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    async def read(self: Member) -> None:
        self._led.set_result(None)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main() -> None:
        member = Member.__new__(Member)
        member._led = asyncio.get_running_loop().create_future()
        with pytest.raises(EtcdError, match="leader changed"):
            await member.catch_up()
        assert ended == [True]

    monkeypatch.setattr(Member, "_read_barrier", read)
    asyncio.run(main())
