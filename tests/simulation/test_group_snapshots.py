"""Snapshots among members, when something comes in between: other leaders, removals, full disks, deaths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError, UnavailableError
from rube.group import Member
from rube.group.group_pb2 import ChangeRequest, Pair, Peer, Piece
from rube.group.records import INDEX_MAX, INSTALLING_KEY, entry_key, staged_key
from rube.group.snapshots import Staging
from rube.host import Engine, Write
from rube.raft.raft_pb2 import MSG_SNAP, Message, Snapshot, SnapshotMetadata
from rube.sim.cluster.machines import Machine, make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric
from rube.store import Op, Store, StoreConfig, Txn
from rube.store.backends import Checked
from rube.store.embedded.backend import ENGINE
from rube.store.replicated.backend import member_config
from rube.store.replicated.store import ReplicatedStore
from rube.store.urls import parse_store_url
from tests.simulation.group_world import GroupMember, GroupWorld

KEYS = 300
_MANY_PIECES = [((1, 5), seed) for seed in range(12)] + [((20, 60), seed) for seed in range(3)]


@pytest.mark.parametrize(("disk_ms", "seed"), _MANY_PIECES)
def test_a_leader_that_is_no_leader_any_more_sends_no_snapshot(disk_ms: tuple[int, int], seed: int) -> None:
    """Or its pieces would come between those of the next one, and neither snapshot, or a mixture, would arrive."""
    with World(seed=seed) as world:
        group = GroupWorld(world, log_entries_kept=10, piece_bytes_max=3000)
        group.start_all()
        old = group.leader()
        follower, heir = (one for one in group.replicas.values() if one is not old)
        _fall_behind(group, follower)
        follower.machine.disk.latency_ms(*disk_ms)
        group.start(follower.name)
        world.run_until(lambda: _takes_snapshot(old, follower.name))
        world.run_for(0.02 * (seed % 7))
        assert not isinstance(_change(group, old, transfer_leader=heir.name), RubeError)
        world.run_until(lambda: follower.failure is not None or _has_all(follower), timeout_s=20)
        assert follower.failure is None
        assert group.equal()


@pytest.mark.parametrize("seed", range(4))
def test_pieces_that_come_at_the_same_time_are_not_mixed_and_none_of_an_earlier_term_is_taken(seed: int) -> None:
    with World(seed=seed) as world:
        group = GroupWorld(world)
        group.start_all()
        follower = next(one for one in group.replicas.values() if not one.leads)

        async def stage(member: Member) -> None:
            calls = (member.stage(_piece(member.term, sender, pairs)) for sender, pairs in ((1, 2), (2, 3)))
            assert await asyncio.gather(*calls) == [2, 3]
            assert await member.stage(_piece(member.term, 2, 0)) == 3
            assert await member.stage(_piece(member.term, 1, 0)) == 0
            await member.stage(_piece(member.term - 1, 1, 2))

        refused = group.ask(follower, stage)
        assert isinstance(refused, UnavailableError)
        assert "a snapshot of term" in refused.message


def test_a_snapshot_of_which_something_is_lost_leaves_a_member_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Staging.take

    async def take_and_lose(self: Staging, piece: Piece) -> int:
        pairs = await take(self, piece)
        if piece.last:
            await self._engine.commit([Write(staged_key(0), None)])
        return pairs

    monkeypatch.setattr(Staging, "take", take_and_lose)
    with World(seed=1) as world:
        group = GroupWorld(world, log_entries_kept=10)
        group.start_all()
        follower = next(one for one in group.replicas.values() if not one.leads)
        group.put(follower, "before", "")
        world.run_for(1)
        _fall_behind(group, follower)
        group.start(follower.name)
        world.run_until(lambda: follower.failure is not None)
        assert isinstance(follower.failure, DataLossError)
        assert "pairs that arrived" in follower.failure.message
        assert "start this member again" in follower.failure.message
        assert list(follower.state.pairs) == [b"before"]
        monkeypatch.undo()
        group.start(follower.name)
        world.run_until(lambda: _has_all(follower), timeout_s=20)
        assert group.equal()


def test_a_member_that_is_removed_during_its_snapshot_keeps_the_leaders_log_no_longer() -> None:
    with World(seed=1) as world:
        group = GroupWorld(world, log_entries_kept=10, piece_bytes_max=300)
        group.start_all()
        leader = group.leader()
        _put_all(group, leader)
        _change(group, leader, add=Peer(name="d", address=group.address("d"), promote=True))
        removed = group.start("d", join=(group.address("a"),))
        removed.machine.disk.latency_ms(20, 40)
        world.run_until(lambda: _takes_snapshot(leader, "d"))
        world.run_for(0.2)
        assert not isinstance(_change(group, leader, remove="d"), RubeError)
        world.run_until(lambda: not removed.process.alive, timeout_s=10)
        assert "was removed" in str(removed.failure)
        _put_all(group, leader)
        world.run_for(1)
        assert _entries_kept(leader) < 50


@pytest.mark.parametrize("seed", range(4))
def test_a_member_that_lags_when_it_is_removed_is_told_so(seed: int) -> None:
    """The end of its log never says so."""
    with World(seed=seed) as world:
        group = GroupWorld(world)
        group.start_all()
        leader = group.leader()
        removed = next(one for one in group.replicas.values() if one is not leader)
        removed.machine.disk.stall()
        for number in range(400):
            group.put(leader, f"k{number}", "")
        _change(group, leader, remove=removed.name)
        removed.machine.disk.unstall()
        world.run_until(lambda: removed.failure is not None, timeout_s=10)
        assert "was removed" in str(removed.failure)


def test_a_leader_that_hears_of_its_removal_from_the_others_says_that_it_is_done() -> None:
    """They have it on their disks before the leader has; what else it was asked for may be done, too."""
    with World(seed=1) as world:
        group = GroupWorld(world)
        group.start_all()
        leader = group.leader()
        leader.machine.disk.stall()
        write = leader.process.create_task(leader.member.propose(b"k=1"))
        assert not isinstance(_change(group, leader, remove=leader.name), RubeError)
        assert "was removed" in str(leader.failure)
        assert isinstance(write.exception(), UnavailableError)
        assert write.exception().metadata == {"unknown": "true"}


def test_a_disk_that_is_full_while_a_snapshot_is_put_into_place_is_waited_for() -> None:
    with World(seed=1) as world:
        group = GroupWorld(world, log_entries_kept=10)
        group.start_all()
        follower = next(one for one in group.replicas.values() if not one.leads)
        _fall_behind(group, follower)
        follower.machine.disk.latency_ms(5)
        group.start(follower.name)
        world.run_until(lambda: _installs(follower))
        follower.machine.disk.fill()
        world.run_for(5)
        assert follower.failure is None
        assert _installs(follower)
        follower.machine.disk.free()
        world.run_until(lambda: _has_all(follower), timeout_s=20)
        assert group.equal()


def test_a_member_that_was_killed_while_it_took_up_a_snapshot_is_no_store_until_it_has_finished() -> None:
    with World(seed=1) as world:
        stores = Stores(world)
        leader = next(name for name in "abc" if stores.running[name].member.leads)
        victim = next(name for name in "abc" if name != leader)
        stores.commit(leader, "old", 1000)
        stores.kill(victim)
        stores.commit(leader, "new", 2000)
        stores.machines[victim].disk.latency_ms(20)
        stores.start(victim)
        world.run_until(lambda: stores.installs(victim))
        stores.kill(victim)
        for refused in stores.look(victim):
            assert isinstance(refused, FailedPreconditionError)
            assert "only a part of the state is here: let the member run until it has finished" in refused.message
        stores.start(victim)
        world.run_until(lambda: victim in stores.running)
        world.run_for(5)
        stat, reader, checked = stores.look(victim)
        assert stat.keys == reader.keys == 3000
        assert checked.damage is None


class Stores:
    """Members of a replicated store, without an apiserver."""

    def __init__(self, world: World) -> None:
        self._world = world
        fabric = SimFabric(world)
        self.machines: dict[str, Machine] = {name: make_machine(world, fabric, world.host(name)) for name in "abc"}
        self.running: dict[str, Any] = {}
        self._engines: dict[str, Engine] = {}
        self._processes: dict[str, Any] = {}
        for name in "abc":
            self.start(name)
        world.run_until(lambda: len(self.running) == 3)
        world.run_for(2)

    def start(self, name: str) -> None:
        async def serve() -> None:
            members = ",".join(f"{one}={one}:7900" for one in "abc")
            url = parse_store_url(
                f"raft+sqlite:///{name}.db?name={name}&listen=0.0.0.0:7900&members={members}&log_entries_kept=10"
            )
            host = self.machines[name].ports
            engine = self._engines[name] = await host.storage.open(url.engine_url)
            self.running[name] = await ReplicatedStore.open(host, engine, member_config(url), StoreConfig())
            await self.running[name].failed()

        self._processes[name] = self.machines[name].host.spawn("member", serve)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self.running.pop(name, None)
        del self._engines[name]

    def installs(self, name: str) -> bool:
        return name in self._engines and self._engines[name].get(INSTALLING_KEY) is not None

    def commit(self, name: str, prefix: str, keys: int) -> None:
        store: Store = self.running[name]
        done: list[int] = []

        async def write() -> None:
            for first in range(0, keys, 100):
                ops = tuple(Op(b"%s-%d" % (prefix.encode(), number), b"x") for number in range(first, first + 100))
                await store.commit(Txn(ops))
            done.append(keys)

        self._processes[name].create_task(write())
        self._world.run_until(lambda: bool(done))
        self._world.run_for(1)

    def look(self, name: str) -> list[Any]:
        """The answers of its disk to a stat, a backup and a verification, or the error with which it refuses each."""
        host, url = self.machines[name].ports, parse_store_url(f"sqlite:///{name}.db")
        found: list[Any] = []

        async def ask() -> None:
            for call in (ENGINE.stat(host, url), ENGINE.open_reader(host, url), _last(ENGINE.verify(host, url))):
                try:
                    found.append(await call)
                except RubeError as error:
                    found.append(error)

        self._world.run(ask, host=self.machines[name].host)
        return found


async def _last(findings: AsyncIterator[Checked]) -> Checked:
    return [checked async for checked in findings][-1]


def _piece(term: int, sender: int, pairs: int) -> Piece:
    """The beginning of a snapshot; one of no pairs asks how much of it is there."""
    metadata = SnapshotMetadata(index=1000, term=term)
    return Piece(
        sender=sender,
        message=Message(type=MSG_SNAP, sender=sender, term=term, snapshot=Snapshot(metadata=metadata)),
        pairs=[Pair(key=b"kv/%d" % number, value=b"%d" % sender) for number in range(pairs)],
    )


def _change(group: GroupWorld, replica: GroupMember, **what: Any) -> Any:
    return group.ask(replica, lambda member: member.change(ChangeRequest(**what)))


def _put_all(group: GroupWorld, leader: GroupMember) -> None:
    for number in range(KEYS):
        group.put(leader, f"k{number}", "x" * 100)


def _fall_behind(group: GroupWorld, follower: GroupMember) -> None:
    """Lets it fall so far behind that the log does not reach back to it."""
    follower.kill()
    _put_all(group, group.leader())
    group.world.run_for(1)


def _takes_snapshot(leader: GroupMember, name: str) -> bool:
    described = leader.member.describe()
    member = {peer.name: peer.id for peer in described.peers}.get(name)
    return "StateSnapshot" in [one.state for one in described.progress if one.id == member]


def _installs(replica: GroupMember) -> bool:
    return replica.state is not None and replica.state.engine.get(INSTALLING_KEY) is not None


def _has_all(replica: GroupMember) -> bool:
    return replica.member is not None and replica.state.count >= KEYS


def _entries_kept(replica: GroupMember) -> int:
    return len(list(replica.state.engine.scan(entry_key(0), entry_key(INDEX_MAX))))
