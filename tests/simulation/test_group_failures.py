"""The behaviour of a member of a replicated group when its disk, its connections, its state or its own code fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rube.api.errors import DataLossError, NotDoneError, RubeError, UnavailableError
from rube.group.core import Core
from rube.group.digests import EVERY_ENTRIES
from rube.group.member import FLUSH_S, LEAVE_S
from rube.raft.config import APPEND_THREAD, APPLY_THREAD
from rube.raft.raft_pb2 import MSG_APP_RESP
from rube.sim.world.kernel import World
from tests.simulation.group_load import ignore
from tests.simulation.group_world import GroupMember, GroupWorld


@pytest.fixture
def group() -> Iterator[GroupWorld]:
    with World(seed=1) as world:
        group = GroupWorld(world)
        group.start_all()
        world.run_for(1)
        yield group


def a_follower(group: GroupWorld) -> GroupMember:
    return next(one for one in group.replicas.values() if not one.leads)


@pytest.mark.parametrize("what", ["full", "stalled"])
def test_a_member_whose_disk_takes_nothing_stops_all_the_same_and_starts_again(group: GroupWorld, what: str) -> None:
    """Its state was applied, and not written when the disk failed."""
    member = a_follower(group)
    for number in range(3):
        group.put(group.leader(), f"k{number}", "1")
    group.world.run_until(lambda: member.state.count == 3)
    disk = member.machine.disk
    disk.fill() if what == "full" else disk.stall()
    group.world.run_for(2)
    member.stop()
    group.world.run_until(lambda: not member.process.alive, timeout_s=FLUSH_S + LEAVE_S + 1)
    disk.free() if what == "full" else disk.unstall()
    group.start(member.name)
    group.world.run_until(lambda: member.member is not None and member.state.count == 3)


def test_a_member_whose_disk_is_full_refuses_at_once_and_goes_on_when_there_is_room(group: GroupWorld) -> None:
    member = a_follower(group)
    member.machine.disk.fill()
    group.put(group.leader(), "k", "1")
    group.world.run_for(1)
    for call in (lambda member: member.propose(b"k=2"), lambda member: member.read_barrier()):
        begin_ns = group.world.now_ns
        refused = group.ask(member, call)
        assert "is full" in refused.message
        assert isinstance(refused, NotDoneError)
        assert group.world.now_ns - begin_ns < 10_000_000
    member.machine.disk.free()
    group.world.run_for(1)
    assert group.put(member, "k", "3") == (2, b"1")


def in_a_tick(core: Core) -> None:
    core.node.tick = broken  # type: ignore[method-assign]


def after_a_write(core: Core) -> None:
    step = core.node.step
    core.node.step = (  # type: ignore[method-assign]
        lambda message: broken() if message.sender in (APPEND_THREAD, APPLY_THREAD) else step(message)
    )


def in_the_engine(core: Core) -> None:
    core._storage._engine.commit = broken  # type: ignore[method-assign, assignment]


def in_the_digests(core: Core) -> None:
    core.state.digests.judge = broken  # type: ignore[method-assign, assignment]


def broken(*_: Any) -> Any:
    raise AssertionError("this cannot be")


@pytest.mark.parametrize("breaks", [in_a_tick, after_a_write, in_the_engine, in_the_digests])
def test_a_broken_invariant_ends_the_member_wherever_it_shows(
    group: GroupWorld, breaks: Callable[[Core], None]
) -> None:
    member = a_follower(group)
    breaks(member.member._core)
    for number in range(2 * EVERY_ENTRIES):
        group.put(group.leader(), f"k{number}", "1")
    group.world.run_until(lambda: member.failure is not None)
    assert isinstance(member.failure, DataLossError)
    assert "this cannot be" in member.failure.message
    group.world.run_for(1)
    assert not member.process.alive


def test_proposals_that_are_lost_with_a_connection_are_proposed_again_soon(group: GroupWorld) -> None:
    member, leader = a_follower(group), group.leader()
    ended_s: list[float] = []
    clock = member.machine.ports.clock

    async def propose(number: int) -> None:
        begin_ns = clock.monotonic_ns()
        await member.member.propose(b"k%d=" % number)
        ended_s.append((clock.monotonic_ns() - begin_ns) / 1e9)

    for number in range(100):
        member.process.create_task(propose(number))
    group.world.run_for(0.0003)
    group.fabric.reset_connections(member.name, leader.name)
    group.world.run_until(lambda: len(ended_s) == 100)
    assert group.leader() is leader
    assert leader.state.count == 100
    assert max(ended_s) < 2 * member.member._core.config.election_s


def test_acknowledgements_that_are_lost_are_asked_for_again(group: GroupWorld) -> None:
    """They are lost with the connection that brought them; messages the other way arrive, and no more is proposed."""
    leader = group.leader()
    core = leader.member._core
    step = core.node.step
    core.node.step = (  # type: ignore[method-assign]
        lambda message: None if message.type == MSG_APP_RESP and message.sender != core.identity.id else step(message)
    )
    leader.process.create_task(ignore(leader.member.propose(b"k=1")))
    group.world.run_for(0.01)
    core.node.step = step  # type: ignore[method-assign]
    core.proposals.fail(UnavailableError("its client is gone"))
    assert core.node.raft.log.committed < core.node.raft.log.last_index()
    group.world.run_for(3 * core.config.tick_s)
    assert core.node.raft.log.committed == core.node.raft.log.last_index()
    assert all(one.state.pairs == {b"k": b"1"} for one in group.replicas.values())


@pytest.mark.parametrize("wrong", ["the leader", "a follower"])
def test_a_member_whose_state_is_not_the_majoritys_stops_also_if_it_leads(group: GroupWorld, wrong: str) -> None:
    member = group.leader() if wrong == "the leader" else a_follower(group)
    others = [one for one in group.replicas.values() if one is not member]
    member.state.count += 1
    for number in range(2 * EVERY_ENTRIES):
        outcome = group.put(others[0], f"k{number}", "")
        assert not isinstance(outcome, RubeError) or outcome.metadata.get("unknown")
    group.world.run_until(lambda: member.failure is not None)
    assert "has another state at entry" in member.failure.message
    assert [one.failure for one in others] == [None, None]
    group.world.run_until(lambda: any(one.leads for one in others))
    assert not isinstance(group.put(others[1], "k", ""), RubeError)


def test_a_proposal_larger_than_a_message_is_refused_and_the_group_goes_on(group: GroupWorld) -> None:
    leader = group.leader()
    limit = leader.member._core.config.proposal_bytes_max
    refused = group.ask(leader, lambda member: member.propose(b"k=" + bytes(limit)))
    assert "proposal_bytes_max" in refused.message
    assert not isinstance(refused, UnavailableError)
    assert group.put(leader, "k", "1") == (1, None)
