"""Changes of a replicated group's members: what is refused, and what happens to two that are asked for at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rube.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    RubeError,
    UnavailableError,
)
from rube.cli.cluster import call_once
from rube.group.group_pb2 import ChangeRequest, JoinRequest, Peer
from rube.group.group_pb2_grpc import MembersStub
from rube.group.membership import NotLeadingError
from rube.sim.world.kernel import World
from tests.simulation.group_load import Load, at_once, change
from tests.simulation.group_world import GroupMember, GroupWorld

SEEDS = range(6)


@pytest.fixture(params=SEEDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(seed=request.param) as world:
        yield world


def test_of_two_removals_at_once_the_one_that_would_lose_the_quorum_is_refused(world: World) -> None:
    group = started(world, "abcd")
    leader = group.leader()
    down, *others = followers(group)
    down.kill()
    world.run_for(2)
    outcomes = at_once(group, leader, *(asks(remove=one.name) for one in others))
    assert isinstance(outcomes[1], FailedPreconditionError)
    assert f"without member {others[1].name!r} the group would have 2 voters, of which 1 answer" in str(outcomes[1])
    assert not isinstance(outcomes[0], RubeError)
    assert group.put(leader, "k", "1") == (1, None)


@pytest.mark.parametrize("first", ["remove", "promote"])
def test_who_is_removed_and_promoted_at_once_is_removed(world: World, first: str) -> None:
    group = started(world, "abc")
    leader = group.leader()
    added = join(group, "d", promote=False)
    world.run_for(1)
    removal, promotion = asks(remove="d"), asks(promote="d")
    calls = (removal, promotion) if first == "remove" else (promotion, removal)
    outcomes = at_once(group, leader, *calls, in_flight=True)
    assert isinstance(outcomes[1], NotFoundError) == (first == "remove")
    assert not isinstance(outcomes[calls.index(removal)], RubeError)
    world.run_until(lambda: added.failure is not None)
    assert group.voters() == ["a", "b", "c"]
    check_ids(group)


def test_who_is_removed_while_the_leader_is_about_to_promote_it_stays_removed() -> None:
    """The kill comes at any moment of its joining."""
    for phase in range(14, 30):
        with World(seed=3) as world:
            group = started(world, "ab")
            for one in group.replicas.values():
                one.machine.disk.latency_ms(15, 25)
            leader = group.leader()
            change(group, leader, add=newcomer(group, "d"))
            group.start("d", join=("a:7900", "b:7900"))
            world.run_until(lambda leader=leader: peer_of(leader, "d").id != 0)  # type: ignore[misc]
            world.run_for(phase * 0.02)
            assert not isinstance(change(group, leader, remove="d"), RubeError)
            world.run_for(2)
            assert [peer.name for peer in leader.member.describe().peers] == ["a", "b"]
            check_ids(group)


def test_of_two_disks_that_join_under_one_name_one_is_taken_in(world: World) -> None:
    group = started(world, "abc")
    leader = group.leader()
    change(group, leader, add=newcomer(group, "d"))
    outcomes = at_once(group, leader, joins(group, "d", 1001), joins(group, "d", 1003))
    assert not isinstance(outcomes[0], RubeError)
    assert isinstance(outcomes[1], FailedPreconditionError)
    assert "is in the group with another disk" in str(outcomes[1])
    assert peer_of(leader, "d").id == 1001
    check_ids(group)


def test_a_join_that_is_asked_for_twice_is_done_once(world: World) -> None:
    group = started(world, "abc")
    leader = group.leader()
    change(group, leader, add=newcomer(group, "d"))
    before = leader.member.describe().committed
    outcomes = at_once(group, leader, joins(group, "d", 1001), joins(group, "d", 1001))
    assert [type(outcome).__name__ for outcome in outcomes] == ["JoinResponse", "JoinResponse"]
    assert leader.member.describe().committed == before + 1


def test_a_volatile_newcomer_that_asks_twice_is_put_in_place_once(world: World) -> None:
    group = started(world, "abc", volatile=True)
    gone = followers(group)[0]
    gone.kill()
    world.run_for(3)
    leader = group.leader()
    before = leader.member.describe().committed
    asked = joins(group, gone.name, 1001)
    outcomes = at_once(group, leader, asked, asked, in_flight=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["JoinResponse", "JoinResponse"]
    assert leader.member.describe().committed == before + 2, "one is removed, one is added"
    assert peer_of(leader, gone.name).id == 1001
    check_ids(group)


def test_a_disk_that_was_removed_never_comes_back(world: World) -> None:
    """A disk that does not know that it had joined does not come back either."""
    group = started(world, "abc")
    leader = group.leader()
    change(group, leader, add=newcomer(group, "d"))
    group.ask(leader, joins(group, "d", 1001))
    change(group, leader, remove="d")
    change(group, leader, add=newcomer(group, "d"))
    refused = group.ask(leader, joins(group, "d", 1001))
    assert isinstance(refused, FailedPreconditionError)
    assert "wipe it" in str(refused)
    assert not isinstance(group.ask(leader, joins(group, "d", 1003)), RubeError)
    check_ids(group)


@pytest.mark.parametrize("first", ["remove", "join"])
def test_who_is_forgotten_and_joins_at_once_is_not_in_the_group(world: World, first: str) -> None:
    group = started(world, "abc")
    leader = group.leader()
    change(group, leader, add=newcomer(group, "d"))
    removal, joining = asks(remove="d"), joins(group, "d", 1001)
    calls = (removal, joining) if first == "remove" else (joining, removal)
    outcomes = at_once(group, leader, *calls, in_flight=True)
    assert not isinstance(outcomes[calls.index(removal)], RubeError)
    assert isinstance(outcomes[calls.index(joining)], FailedPreconditionError) == (first == "remove")
    assert [peer.name for peer in leader.member.describe().peers] == ["a", "b", "c"]
    check_ids(group)


@pytest.mark.parametrize("name", ["d", "e"])
def test_of_two_additions_that_share_a_name_or_an_address_the_second_is_refused(world: World, name: str) -> None:
    group = started(world, "abc")
    second = Peer(name=name, address="d:7901" if name == "d" else group.address("d"))
    outcomes = at_once(group, group.leader(), asks(add=newcomer(group, "d")), asks(add=second))
    assert not isinstance(outcomes[0], RubeError)
    assert isinstance(outcomes[1], AlreadyExistsError)
    assert ("choose another name, or remove it" if name == "d" else "give the new one's own") in str(outcomes[1])
    assert peer_of(group.leader(), "d").address == "d:7900"


def test_a_removal_that_is_asked_for_twice_removes_no_second_disk(world: World) -> None:
    """The other disk has come under the same name meanwhile."""
    group = started(world, "abc")
    leader = group.leader()
    change(group, leader, add=newcomer(group, "d"))
    group.ask(leader, joins(group, "d", 1001))
    again = [asks(remove="d"), asks(add=newcomer(group, "d")), joins(group, "d", 1003)]

    async def anew(member: Any) -> None:
        for call in again:
            await call(member)

    assert not any(isinstance(outcome, RubeError) for outcome in at_once(group, leader, anew, asks(remove="d")))
    assert peer_of(leader, "d").id == 1003
    check_ids(group)


@pytest.mark.parametrize("leads", [True, False])
def test_a_removed_disk_is_not_needed_any_more_whoever_dies_then(world: World, leads: bool) -> None:
    """The last other member has the removal, and as long as it does not know for good that it was committed, it would
    need the removed member's vote."""
    group = started(world, "ab")
    leader = group.leader()
    removed = leader if leads else followers(group)[0]
    other = next(one for one in group.replicas.values() if one is not removed)
    removed.machine.disk.latency_ms(0.1)
    change(group, leader, remove=removed.name)
    if leads:
        world.run_until(lambda: removed.failure is not None)
    other.kill()
    world.run_until(lambda: removed.failure is not None or not leads)
    removed.kill()
    removed.machine.disk.wipe()
    group.start(other.name)
    world.run_until(lambda: other.leads)
    assert group.put(other, "k", "1") == (1, None)


def test_a_leader_that_is_removed_under_load_ends_with_that_word(world: World) -> None:
    """Its disk may say that it has written when it is no member any more, and has not heard of it yet."""
    group = GroupWorld(world)
    group.start_all()
    leader = group.leader()
    leader.machine.disk.latency_ms(1, 2)
    load = Load(group, clients=40)
    world.run_for(0.5)
    change(group, leader, remove=leader.name)
    world.run_until(lambda: leader.failure is not None)
    assert "was removed" in leader.failure.message
    load.stop()
    world.run_for(1)


def test_a_member_that_knows_nobody_of_today_hears_from_the_leader(world: World) -> None:
    """All were replaced while it was away."""
    group = started(world, "abc")
    away = followers(group)[0]
    away.kill()
    for name in "de":
        join(group, name, promote=True)
        world.run_until(lambda name=name: name in group.voters())  # type: ignore[misc]
    for name in "abc":
        if name != away.name:
            assert not isinstance(change(group, group.leader(), remove=name), RubeError)
            world.run_until(lambda name=name: not group.replicas[name].process.alive)  # type: ignore[misc]
            world.run_until(lambda: group.leading() is not None)
    group.start(away.name)
    assert not isinstance(group.put(group.leader(), "k", "1"), RubeError)
    world.run_until(lambda: away.member is not None and group.equal())


def test_a_change_at_who_does_not_lead_any_more_is_refused_at_once(world: World) -> None:
    """It would come to a leader that may not want it: then it would be lost without a word."""
    group = started(world, "abcd")
    old = group.leader()
    heir, victim, _ = followers(group)
    change(group, old, transfer_leader=heir.name)
    begin_ns = world.now_ns
    refused = change(group, old, remove=victim.name)
    assert isinstance(refused, NotLeadingError)
    assert world.now_ns - begin_ns < 100_000_000


def test_a_change_that_loses_its_leader_is_made_by_the_next_one(world: World) -> None:
    group = started(world, "abcd")
    old = group.leader()
    heir, victim, _ = followers(group)
    old.process.create_task(old.member.change(ChangeRequest(transfer_leader=heir.name)))
    outcome = from_desk(group, [old.name], ChangeRequest(remove=victim.name))
    assert not isinstance(outcome, RubeError)
    world.run_for(1)
    assert victim.name not in group.voters()


def test_a_change_of_which_the_answer_is_lost_is_not_asked_for_again(world: World) -> None:
    """The second member would say that there is no such member; the operator hears that it may have been done."""
    group = started(world, "abcd")
    leader = group.leader()
    victim, other, _ = followers(group)
    for one in group.replicas.values():
        one.machine.disk.latency_ms(40)
    outcomes: list[Any] = []
    ask_from_desk(group, [leader.name, other.name], ChangeRequest(remove=victim.name), outcomes)
    raft = leader.member._core.node.raft
    world.run_until(lambda: raft.pending_conf_index > raft.log.applied)
    group.fabric.reset_connections(group.desk.host, leader.name)
    world.run_until(lambda: bool(outcomes))
    assert isinstance(outcomes[0], UnavailableError)
    assert outcomes[0].metadata["unknown"]
    assert "may have been made" in str(outcomes[0])


def test_a_change_that_the_leader_does_not_answer_is_not_known_to_have_failed(world: World) -> None:
    """The member that passed it on has an answer, too."""
    group = started(world, "abcd")
    leader = group.leader()
    victim, other, _ = followers(group)
    for one in group.replicas.values():
        one.machine.disk.latency_ms(40)
    outcomes: list[Any] = []
    ask_from_desk(group, [other.name, leader.name], ChangeRequest(remove=victim.name), outcomes)
    raft = leader.member._core.node.raft
    world.run_until(lambda: raft.pending_conf_index > raft.log.applied)
    leader.kill()
    world.run_until(lambda: bool(outcomes))
    assert isinstance(outcomes[0], UnavailableError)
    assert outcomes[0].metadata["unknown"]


def test_a_change_goes_on_to_the_next_address_where_nobody_answers(world: World) -> None:
    group = started(world, "abcd")
    down, victim, other = followers(group)
    down.kill()
    outcome = from_desk(group, [down.name, other.name], ChangeRequest(remove=victim.name))
    assert not isinstance(outcome, RubeError)


def started(world: World, names: str, **config: Any) -> GroupWorld:
    group = GroupWorld(world, names, **config)
    group.start_all()
    world.run_for(1)
    return group


def followers(group: GroupWorld) -> list[GroupMember]:
    return [one for one in group.replicas.values() if not one.leads]


def newcomer(group: GroupWorld, name: str, *, promote: bool = True) -> Peer:
    return Peer(name=name, address=group.address(name), promote=promote)


def join(group: GroupWorld, name: str, *, promote: bool) -> GroupMember:
    """It has all of the state when this returns."""
    change(group, group.leader(), add=newcomer(group, name, promote=promote))
    joined = group.start(name, join=tuple(group.address(one) for one in group.founders))
    group.world.run_until(lambda: joined.member is not None and group.equal())
    return joined


def asks(**what: Any) -> Any:
    return lambda member: member.change(ChangeRequest(**what))


def joins(group: GroupWorld, name: str, member_id: int) -> Any:
    request = JoinRequest(peer=Peer(id=member_id, name=name, address=group.address(name)))
    return lambda member: member.admit(request)


def peer_of(replica: GroupMember, name: str) -> Peer:
    return next(peer for peer in replica.member.describe().peers if peer.name == name)


def check_ids(group: GroupWorld) -> None:
    """Raft's configuration and the roster name the same members, and none that was removed."""
    group.world.run_for(1)
    for replica in group.replicas.values():
        if replica.member is not None:
            described = replica.member.describe()
            ids = {peer.id for peer in described.peers if peer.id}
            config = replica.member._core.node.raft.tracker.config
            assert ids == {*config.voters.ids(), *config.learners}
            assert not ids & {*replica.member._core.state.roster.removed}


def ask_from_desk(group: GroupWorld, names: list[str], request: ChangeRequest, outcomes: list[Any]) -> None:
    """Sends the request as `rube cluster` does, with these members."""

    async def ask(stub: MembersStub) -> Any:
        return await stub.Change(request, timeout=12)  # type: ignore[misc]  # grpc-stubs lag behind

    async def operate() -> None:
        try:
            outcomes.append(await call_once(group.desk.ports, [group.address(name) for name in names], ask))
        except RubeError as error:
            outcomes.append(error)

    group.desk.host.spawn("operator", operate)


def from_desk(group: GroupWorld, names: list[str], request: ChangeRequest) -> Any:
    outcomes: list[Any] = []
    ask_from_desk(group, names, request, outcomes)
    group.world.run_until(lambda: bool(outcomes), timeout_s=60)
    return outcomes[0]
