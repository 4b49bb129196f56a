"""A simulated etcd as a Raft group: elections, requests that are lost with a leader, snapshots, who is who."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from grpc import StatusCode, aio

from rube.sim.world.kernel import World
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import KVStub, MaintenanceStub
from tests.unit.sim_etcd.etcd_worlds import MEMBERS, EtcdWorld

LEADER_FAILED = "etcdserver: request timed out, possibly due to previous leader failure"
LEADER_CHANGED = "etcdserver: leader changed"
LOG_ENTRIES_KEPT = 5


@pytest.fixture
def world() -> Iterator[EtcdWorld]:
    with World(seed=3) as world:
        yield EtcdWorld(world, log_entries_kept=LOG_ENTRIES_KEPT)


def followers(world: EtcdWorld) -> list[str]:
    return [name for name in MEMBERS if name != world.leader()]


def kv(world: EtcdWorld, member: str) -> KVStub:
    return KVStub(world.host.network.channel(f"{member}:2379"))


def put_some(world: EtcdWorld, member: str, count: int = 4 * LOG_ENTRIES_KEPT) -> None:
    for number in range(count):
        assert isinstance(world.put(member, b"k%d" % number, b"v%d" % number), int)


def test_headers_name_the_cluster_the_member_and_the_term(world: EtcdWorld) -> None:
    told = [world.status(member) for member in MEMBERS]
    headers = [status.header for status in told if status is not None]
    assert len(headers) == len({header.member_id for header in headers}) == len(MEMBERS)
    assert len({header.cluster_id for header in headers}) == 1
    assert {status.leader for status in told if status is not None} <= {header.member_id for header in headers}
    assert {header.raft_term for header in headers} == {world.cluster.history.etcd.leaderships[-1].term}
    world.faults.restart(MEMBERS[1])
    world.world.run_for(2)
    again = world.status(MEMBERS[1])
    assert again is not None
    assert again.header.member_id == headers[1].member_id


def test_what_a_follower_has_handed_to_a_leader_that_dies_is_lost(world: EtcdWorld) -> None:
    leader, (follower, _) = world.leader(), followers(world)

    async def main() -> tuple[str | None, float]:
        begun_ns = world.world.now_ns
        call = kv(world, follower).Put(etcd.PutRequest(key=b"k"), timeout=20)
        await world.host.clock.sleep(0.001)
        world.faults.kill(leader)
        with pytest.raises(aio.AioRpcError) as error:
            await call  # type: ignore[misc]  # grpc-stubs lag behind
        assert error.value.code() is StatusCode.UNAVAILABLE
        return error.value.details(), (world.world.now_ns - begun_ns) / 1e9

    text, seconds = world.run(main)
    assert text == LEADER_FAILED
    assert 6.9 < seconds < 7.1
    assert world.leader() not in ("", leader)
    assert world.get(follower, b"k") is None


def test_a_read_that_waits_while_another_leader_is_elected_is_told_so(world: EtcdWorld) -> None:
    leader, (follower, _) = world.leader(), followers(world)
    world.put(leader, b"k", b"v")
    world.faults.kill(leader)
    assert world.get(follower, b"k") == LEADER_CHANGED
    assert world.get(follower, b"k") == b"v"


def test_a_member_that_has_missed_more_than_the_log_keeps_gets_a_snapshot(
    world: EtcdWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="rube.group")
    behind = followers(world)[0]
    world.put(behind, b"before", b"v")
    world.faults.kill(behind)
    put_some(world, world.leader())
    world.ask(world.leader(), lambda kv: kv.Compact(etcd.CompactionRequest(revision=10)))
    world.ask(world.leader(), lambda kv: kv.DeleteRange(etcd.DeleteRangeRequest(key=b"k0")))
    world.faults.restart(behind)
    world.world.run_for(4)
    assert snapshots(caplog) == 1
    assert world.get(behind, b"before", serializable=True) == b"v"
    assert world.get(behind, b"k0", serializable=True) is None
    assert world.get(behind, b"k9", serializable=True) == b"v9"
    old = etcd.RangeRequest(key=b"k9", revision=9)
    assert world.ask(behind, lambda kv: kv.Range(old)) == "etcdserver: mvcc: required revision has been compacted"
    assert len({hash_of(world, member) for member in MEMBERS}) == 1
    assert world.put(behind, b"after", b"v") == 2 + 20 + 2


@pytest.mark.parametrize("compacted", [False, True])
def test_a_watch_goes_on_after_a_snapshot_or_is_told_what_was_compacted(
    world: EtcdWorld, compacted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="rube.group")
    leader, behind = world.leader(), followers(world)[0]

    async def main() -> list[int]:
        call = world.watches(behind).Watch()
        await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k", range_end=b"l")))
        await call.read()
        for other in MEMBERS:
            if other != behind:
                world.faults.partition([behind], [other])
        stub = kv(world, leader)
        for number in range(20):
            await stub.Put(etcd.PutRequest(key=b"k%d" % number))  # type: ignore[misc]  # grpc-stubs lag behind
        if compacted:
            await stub.Compact(etcd.CompactionRequest(revision=15))  # type: ignore[misc]  # grpc-stubs lag behind
        await asyncio.sleep(20)  # the connections have ended: what was on its way is lost
        world.faults.heal_all()
        answer = await call.read()
        return [answer.compact_revision] if answer.canceled else [event.kv.mod_revision for event in answer.events]

    assert world.run(main) == ([15] if compacted else list(range(2, 22)))
    assert snapshots(caplog) == 1


def snapshots(caplog: pytest.LogCaptureFixture) -> int:
    """The number that were sent since the test began to listen."""
    return sum("sends its state" in record.getMessage() for record in caplog.records)


def hash_of(world: EtcdWorld, member: str) -> int:
    async def main() -> int:
        channel = world.host.network.channel(f"{member}:2379")
        answer = await MaintenanceStub(channel).HashKV(etcd.HashKVRequest(), timeout=1)
        return int(answer.hash)

    return world.run(main)
