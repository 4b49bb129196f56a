"""Members that come back at another address, and disks that were copied."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest

from rube.api.errors import AlreadyExistsError, UnavailableError
from rube.group import MemberConfig
from rube.group.group_pb2 import Peer
from rube.group.incarnations import RETURNS_MAX, DoubledError, Incarnations
from rube.host import Write
from rube.sim.world.kernel import World
from tests.simulation.group_load import change
from tests.simulation.group_world import URL, GroupMember, GroupWorld

NEW_PORT = 9999


@pytest.fixture(params=range(4))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(seed=request.param) as world:
        yield world


def started(world: World, names: str = "abc") -> GroupWorld:
    group = GroupWorld(world, names)
    group.start_all()
    return group


def addresses(replica: GroupMember) -> dict[str, str]:
    if replica.member is None:
        return {}
    return {peer.name: peer.address for peer in replica.member.describe().peers}


def start_at(replica: GroupMember, host: str, members: Sequence[tuple[str, str]] = ()) -> str:
    """Starts it on another port; its new address."""
    address = f"{host}:{NEW_PORT}"
    config = MemberConfig(
        name=replica.name, listen=f"0.0.0.0:{NEW_PORT}", address=address, members=tuple(members), tick_s=0.05
    )
    replica.start(config)
    return address


def follower(group: GroupWorld) -> GroupMember:
    return next(one for one in group.replicas.values() if one is not group.leading())


@pytest.mark.parametrize("leads", [False, True])
def test_a_member_that_comes_back_elsewhere_is_found_and_noted(
    world: World, leads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    group = started(world)
    leader = group.leader()
    assert leader is not None
    mover = leader if leads else follower(group)
    mover.kill()
    new = start_at(mover, mover.name)
    others = [one for one in group.replicas.values() if one is not mover]
    world.run_until(lambda: all(addresses(one)[mover.name] == new for one in others), timeout_s=30)
    world.run_until(lambda: mover.member is not None and group.leading() is not None, timeout_s=30)
    assert group.put(mover, "k", "1") == (1, None)
    world.run_until(group.equal, timeout_s=30)
    assert f"member {mover.name} is at {new}, but its group knows it at {group.address(mover.name)}" in caplog.text
    # And once more with that address, as if nothing had been.
    mover.kill()
    start_at(mover, mover.name)
    world.run_until(lambda: mover.member is not None, timeout_s=30)
    assert group.put(mover, "k", "2") == (2, b"1")


def test_a_group_whose_members_have_all_moved_finds_together_by_their_store_urls(world: World) -> None:
    group = started(world)
    for replica in group.replicas.values():
        replica.kill()
    everywhere = {name: f"{name}:{NEW_PORT}" for name in "abc"}
    for name, replica in group.replicas.items():
        start_at(replica, name, tuple(everywhere.items()))
    world.run_until(lambda: all(addresses(one) == everywhere for one in group.replicas.values()), timeout_s=60)
    assert group.put(group.replicas["a"], "k", "1") == (1, None)
    world.run_until(group.equal, timeout_s=30)


def test_an_address_can_be_updated_by_hand_unless_the_member_answers(world: World) -> None:
    group = started(world)
    leader, other = group.leader(), follower(group)
    assert leader is not None
    new = f"{other.name}:{NEW_PORT}"
    request = Peer(name=other.name, address=new)
    refused = change(group, leader, update=request)
    assert isinstance(refused, UnavailableError)
    assert f"member '{other.name}' answers at {group.address(other.name)}" in refused.message
    other.kill()
    world.run_for(3)
    taken = change(group, leader, update=Peer(name=other.name, address=group.address(leader.name)))
    assert isinstance(taken, AlreadyExistsError)
    change(group, leader, update=request)
    assert addresses(leader)[other.name] == new


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_copied_disk_is_told_and_ends_and_the_group_goes_on(world: World, elsewhere: bool) -> None:
    """The copy may even say that it is at the member's address."""
    group = started(world)
    original = follower(group)
    copy = GroupMember(group, "copy")
    copy.name = original.name
    pairs: list[tuple[bytes, bytes]] = []

    async def read() -> None:
        engine = await original.machine.ports.storage.open(URL, read_only=True)
        pairs.extend(engine.scan(b"", b"\xff" * 40))
        await engine.close()

    async def write() -> None:
        engine = await copy.machine.ports.storage.open(URL)
        await engine.commit([Write(key, value) for key, value in pairs])
        await engine.close()

    world.run(read, host=original.machine.host)
    world.run(write, host=copy.machine.host)
    if elsewhere:
        start_at(copy, "copy", [(name, group.address(name)) for name in "abc"])
    else:
        config = MemberConfig(name=original.name, listen="0.0.0.0:1", address=group.address(original.name), tick_s=0.05)
        copy.start(config)
    world.run_until(lambda: copy.failure is not None, timeout_s=60)
    assert isinstance(copy.failure, DoubledError), copy.failure
    assert "this disk looks like a copy" in copy.failure.message
    assert addresses(original)[original.name] == group.address(original.name)
    world.run_for(2)
    assert original.failure is None
    assert group.put(original, "k", "1") == (1, None)
    world.run_until(group.equal, timeout_s=30)


def test_a_member_that_cannot_be_reached_is_told_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    group = started(world)
    gone = follower(group)
    gone.kill()
    world.run_for(100)
    lines = [record.message for record in caplog.records if f"has not reached member {gone.name}" in record.message]
    assert 2 <= len(lines) <= 6, "each of two members says so once a minute at most"
    assert f"rube cluster update {gone.name} HOST:PORT" in lines[0]
    group.start(gone.name)
    world.run_for(5)
    assert f"reaches member {gone.name} at" in caplog.text


def test_of_two_processes_that_take_turns_the_newer_is_refused() -> None:
    incarnations = Incarnations()
    incarnations.check(1, 10)
    incarnations.check(1, 20)
    for _ in range(RETURNS_MAX // 2 - 1):
        incarnations.check(1, 10)
        incarnations.check(1, 20)
    incarnations.check(1, 10)
    with pytest.raises(DoubledError, match="another process acts as member 1"):
        incarnations.check(1, 20)
    incarnations.check(1, 10)
    with pytest.raises(DoubledError):
        incarnations.check(1, 20)


def test_a_member_that_is_started_anew_is_no_double_though_a_late_call_of_the_old_one_comes() -> None:
    incarnations = Incarnations()
    for incarnation in range(1, 50):
        incarnations.check(7, incarnation)
        if incarnation > 1:
            incarnations.check(7, incarnation - 1)  # late
        incarnations.check(7, incarnation)
