"""A replicated group in the simulated world: it forms, agrees, survives, changes its members."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rube.api.errors import FailedPreconditionError, RubeError, UnavailableError
from rube.group.group_pb2 import Peer
from rube.sim.cluster.group_observer import GroupWatch
from rube.sim.judges import GroupHistory
from rube.sim.world.kernel import TraceRecord, World
from tests.simulation.group_load import Load, change, ignore
from tests.simulation.group_world import GroupMember, GroupWorld
from tests.unit.raft.test_raft_broken import leaders_answer_reads_alone


@pytest.fixture
def group() -> Iterator[GroupWorld]:
    with World(seed=1) as world:
        yield GroupWorld(world)


def test_three_members_form_a_group_and_agree(group: GroupWorld) -> None:
    group.start_all()
    for number, name in enumerate("abcabc", start=1):
        assert group.put(group.replicas[name], f"k{number}", name) == (number, None)
    group.world.run_for(1)
    assert group.equal()
    for replica in group.replicas.values():
        assert replica.state is not None
        assert replica.state.count == 6


def test_a_write_costs_six_messages_and_is_applied_everywhere_before_the_next_heartbeat() -> None:
    """The entries, their acknowledgements, and the commit index; what would acknowledge that one waits."""
    with World(seed=1) as world:
        group = GroupWorld(world, tick_s=1)
        group.start_all()
        leader = group.leader()
        assert leader is not None
        group.world.run_for(1)
        before = len(_messages(world))
        for count in range(1, 11):
            assert group.put(leader, "k", "v")[0] == count
            group.world.run_for(0.01)
        assert len(_messages(world)) == before + 6 * 10
        assert group.equal()


def _messages(world: World) -> list[TraceRecord]:
    return [record for record in world.trace.records if record.kind == "deliver" and "data" in record.fields]


def test_what_was_acknowledged_survives_the_leaders_death_under_load(group: GroupWorld) -> None:
    group.start_all()
    load = Load(group)
    for _ in range(4):
        group.world.run_for(1)
        leader = group.leader()
        assert leader is not None
        leader.kill()
        group.world.run_for(1.5)
        group.start(leader.name)
    group.world.run_for(2)
    load.stop()
    group.world.run_for(1)
    assert group.equal()
    load.check()


def test_writes_that_a_leader_takes_to_its_grave_are_proposed_anew_once_and_at_once(group: GroupWorld) -> None:
    """They need not wait `patience_s`, and none is applied twice, whether the dead leader had passed it on or not."""
    group.start_all()
    written: list[float] = []

    async def write(replica: GroupMember, until_s: float) -> None:
        clock = replica.machine.ports.clock
        while (begin_s := clock.monotonic_ns() / 1e9) < until_s:
            await replica.member.propose(f"{replica.name}{begin_s}=".encode())
            written.append(clock.monotonic_ns() / 1e9 - begin_s)
            await clock.sleep(0.03)

    for _ in range(4):
        leader = group.leader()
        followers = [one for one in group.replicas.values() if one is not leader]
        writers = []
        for one in followers:
            until_s = one.machine.ports.clock.monotonic_ns() / 1e9 + 1.5
            writers += [one.process.create_task(write(one, until_s + number / 1000)) for number in range(5)]
        group.world.run_for(0.3)
        leader.kill()
        group.world.run_until(lambda writers=writers: all(writer.done() for writer in writers))  # type: ignore[misc]
        assert [writer.exception() for writer in writers] == [None] * 10
        group.start(leader.name)
        group.world.run_until(lambda: len(group.voters()) == 3 and group.equal())
        group.world.run_for(1)
    assert group.equal()
    assert group.replicas["a"].state.count == len(written) > 500
    assert max(written) < 1.5


@pytest.mark.parametrize("seed", range(8))
def test_members_that_stop_gracefully_under_load_start_again_with_all_that_they_had(seed: int) -> None:
    with World(seed=seed) as world:
        group = GroupWorld(world)
        group.start_all()
        for replica in group.replicas.values():
            replica.machine.disk.latency_ms(5, 20)  # so that appends wait behind the one that is written
        load = Load(group, clients=20)
        for name in "abcabc":
            world.run_for(0.3)
            replica = group.replicas[name]
            replica.stop()
            world.run_until(lambda replica=replica: not replica.process.alive)  # type: ignore[misc]
            assert replica.failure is None
            group.start(name)
            world.run_until(lambda replica=replica: replica.member is not None)  # type: ignore[misc]
        load.stop()
        world.run_for(1)
        assert group.equal()
        load.check()


def test_a_follower_comes_back_through_a_snapshot_when_the_log_has_gone_on(group: GroupWorld) -> None:
    group.config |= {"log_entries_kept": 10, "piece_bytes_max": 300}
    group.start_all()
    follower = next(one for one in group.replicas.values() if not one.leads)
    follower.kill()
    leader = group.leader()
    assert leader is not None
    for number in range(400):
        group.put(leader, f"k{number % 50}", "x" * 50)
    group.start(follower.name)
    group.world.run_until(lambda: follower.member is not None and group.equal())
    assert follower.state is not None
    assert follower.state.count == 400


def test_a_minority_refuses_and_the_majority_goes_on(group: GroupWorld) -> None:
    group.start_all()
    old = group.leader()
    assert old is not None
    others = [one for one in group.replicas.values() if one is not old]
    group.fabric.isolate(old.name)
    group.world.run_until(lambda: any(one.leads for one in others))
    assert group.put(others[0], "k", "majority") == (1, None)
    refused = group.put(old, "k", "minority")
    assert isinstance(refused, UnavailableError)
    assert isinstance(group.ask(old, lambda member: member.read_barrier()), UnavailableError)
    group.fabric.rejoin(old.name)
    group.world.run_for(2)
    assert group.equal()
    assert old.state is not None
    assert old.state.pairs[b"k"] == b"majority"


def test_a_read_at_any_member_sees_what_was_acknowledged_before(group: GroupWorld) -> None:
    group.start_all()
    replicas = list(group.replicas.values())
    for number in range(30):
        group.put(replicas[number % 3], "k", str(number))
        reader = replicas[(number + 1) % 3]
        assert group.ask(reader, lambda member: member.read_barrier()) is None
        assert reader.state is not None
        assert reader.state.pairs[b"k"] == str(number).encode()


@pytest.mark.parametrize("sabotaged", [False, True])
def test_a_leader_that_was_paused_serves_no_read_that_the_next_one_has_overtaken(
    group: GroupWorld, monkeypatch: pytest.MonkeyPatch, sabotaged: bool
) -> None:
    """It does not know of the next one when it goes on, and has to ask. One that does not ask is found out."""
    history = GroupHistory()
    watch = GroupWatch(history, lambda: group.world.now_ns, group.world.trace, judged=True)
    for name in "abc":
        group.start(name, observer=watch.observer(name))
    group.world.run_until(lambda: group.leading() is not None and len(group.voters()) == 3)
    group.world.run_for(0.5)
    if sabotaged:
        leaders_answer_reads_alone(monkeypatch)
    paused = group.leader()
    others = [one for one in group.replicas.values() if one is not paused]

    async def read() -> None:
        while True:
            await ignore(paused.member.read_barrier())
            await asyncio.sleep(0.01)

    paused.process.create_task(read())
    group.world.run_for(0.1)
    paused.machine.host.pause()
    group.world.run_until(lambda: any(one.leads for one in others))
    assert not isinstance(group.put(others[0], "k", "newer"), RubeError)
    paused.machine.host.resume()
    group.world.run_for(1)
    assert [text.split(":")[0] for _, text in history.broken] == (["LINEARIZABLE_READ"] if sabotaged else [])


def test_a_member_that_lost_its_disk_is_refused_until_it_is_removed_and_added(group: GroupWorld) -> None:
    group.start_all()
    lost = next(one for one in group.replicas.values() if not one.leads)
    lost.kill()
    lost.machine.disk.wipe()
    group.put(group.leader(), "k", "1")
    group.start(lost.name)
    group.world.run_until(lambda: lost.failure is not None)
    assert "rube cluster remove" in str(lost.failure)
    leader = group.leader()
    change(group, leader, remove=lost.name)
    change(group, leader, add=Peer(name=lost.name, address=group.address(lost.name), promote=True))
    group.start(lost.name, join=(group.address(leader.name),))
    group.world.run_until(lambda: len(group.voters()) == 3)
    group.world.run_until(group.equal)


def test_a_first_member_that_lost_its_disk_forms_no_second_group(group: GroupWorld) -> None:
    group.start_all()
    first = group.replicas["a"]
    first.kill()
    first.machine.disk.wipe()
    group.start("a")
    group.world.run_until(lambda: first.failure is not None)
    assert "belongs to group" in str(first.failure)


def test_a_removed_member_stops_and_the_others_go_on(group: GroupWorld) -> None:
    group.start_all()
    removed = next(one for one in group.replicas.values() if not one.leads)
    change(group, group.leader(), remove=removed.name)
    group.world.run_until(lambda: removed.failure is not None)
    assert "was removed" in str(removed.failure)
    assert group.put(group.leader(), "k", "1") == (1, None)
    # With its old disk it hears at once that it is no member.
    removed.member = None
    group.start(removed.name)
    group.world.run_until(lambda: removed.failure is not None)
    assert "was removed" in str(removed.failure)


def test_a_leader_that_is_removed_hands_over(group: GroupWorld) -> None:
    group.start_all()
    old = group.leader()
    change(group, old, remove=old.name)
    group.world.run_until(lambda: old.failure is not None)
    group.world.run_until(lambda: any(one.leads and one is not old for one in group.replicas.values()))
    survivor = next(one for one in group.replicas.values() if one is not old)
    assert group.put(survivor, "k", "1") == (1, None)


def test_what_would_lose_the_quorum_is_refused(group: GroupWorld) -> None:
    group.start_all()
    leader = group.leader()
    down, up = (one for one in group.replicas.values() if one is not leader)
    down.kill()
    group.world.run_for(2)
    refused = change(group, leader, remove=up.name)
    assert isinstance(refused, FailedPreconditionError)
    assert f"not answering: {down.name}" in refused.message
    assert not isinstance(change(group, leader, remove=down.name), RubeError)


def test_the_leadership_is_given_to_whom_is_named_and_on_a_graceful_stop(group: GroupWorld) -> None:
    group.start_all()
    old = group.leader()
    heir = next(one for one in group.replicas.values() if one is not old)
    change(group, old, transfer_leader=heir.name)
    assert group.leader() is heir
    assert group.ask(heir, lambda member: member.close()) is None
    heir.member = None
    assert group.leading() is not None


def test_a_leader_whose_disk_is_full_lets_another_one_lead(group: GroupWorld) -> None:
    group.start_all()
    full = group.leader()
    full.machine.disk.fill()
    others = [one for one in group.replicas.values() if one is not full]
    group.replicas[full.name].process.create_task(ignore(full.member.propose(b"k=1")))
    group.world.run_until(lambda: any(one.leads for one in others), timeout_s=20)
    assert not isinstance(group.put(others[0], "k", "2"), RubeError)
    full.machine.disk.free()
    group.world.run_for(3)
    assert group.equal()


def test_a_new_member_joins_under_load_and_votes(group: GroupWorld) -> None:
    group.config |= {"log_entries_kept": 20}
    group.start_all()
    load = Load(group)
    group.world.run_for(2)
    change(group, group.leader(), add=Peer(name="d", address=group.address("d"), promote=True))
    joined = group.start("d", join=(group.address("a"), group.address("b")))
    group.world.run_until(lambda: joined.member is not None)
    while len(group.voters()) < 4:
        group.world.run_for(0.5)
    load.stop()
    group.world.run_for(1)
    assert group.equal()
    load.check()


def test_who_is_not_expected_is_refused(group: GroupWorld) -> None:
    group.start_all()
    stranger = group.start("x", join=(group.address("a"),))
    group.world.run_until(lambda: stranger.failure is not None)
    assert "run rube cluster add x x:7900" in str(stranger.failure)
