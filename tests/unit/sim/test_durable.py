"""Durability on a simulated disk, and a member's word on it."""

from __future__ import annotations

import pytest

from rube.group.records import HARD_STATE_KEY, entry_key, seal
from rube.host import Write
from rube.raft.invariants import InvariantError
from rube.raft.raft_pb2 import Entry, HardState, Message, MessageType
from rube.sim.cluster.durability import DurablePairs, check_acknowledgement
from rube.sim.cluster.interrupts import Interrupt
from rube.sim.cluster.machines import make_machine
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric

URL, PATH = "sqlite:///d.db", "d.db"
VOTE = Message(type=MessageType.MSG_VOTE_RESP, to=7, term=3)
APPENDED = Message(type=MessageType.MSG_APP_RESP, to=7, term=3, index=2)


def _durable_after(*batches: list[Write], stalled: bool = False) -> DurablePairs:
    """The disk after those commits; the last one may not be durable yet."""
    with World(seed=1) as world:
        host = world.host("a")
        disk = SimDisk(host)
        view = DurablePairs(disk, PATH)

        async def main() -> None:
            engine = await SimStorage(disk).open(URL)
            for number, batch in enumerate(batches, start=1):
                view.pairs()
                if stalled and number == len(batches):
                    disk.stall()
                await engine.commit(batch)

        host.spawn("main", main)
        world.run_for(1)
        view.pairs()
        return view


def _state(term: int, vote: int) -> Write:
    return seal(HARD_STATE_KEY, HardState(term=term, vote=vote))


def test_what_is_synced_is_durable_and_nothing_else() -> None:
    assert _durable_after([Write(b"a", b"1")], [Write(b"a", None), Write(b"b", b"2")]).pairs() == {b"b": b"2"}
    assert _durable_after([Write(b"a", b"1")], [Write(b"b", b"2")], stalled=True).pairs() == {b"a": b"1"}


@pytest.mark.parametrize(
    ("batches", "stalled", "message", "says"),
    [
        ([[_state(3, 7)]], False, VOTE, ""),
        ([[_state(4, 0)]], False, VOTE, ""),
        ([[_state(3, 0)], [_state(3, 7)]], True, VOTE, "its disk has the vote none"),
        ([[_state(2, 0)], [_state(3, 7)]], True, VOTE, "a answers in term 3, its disk has term 2"),
        ([[_state(3, 0), seal(entry_key(2), Entry(index=2, term=3))]], False, APPENDED, ""),
        ([[_state(3, 0)], [seal(entry_key(2), Entry(index=2, term=3))]], True, APPENDED, "acknowledges entry 2"),
    ],
)
def test_what_a_member_says_must_be_durable(
    batches: list[list[Write]], stalled: bool, message: Message, says: str
) -> None:
    view = _durable_after(*batches, stalled=stalled)
    if not says:
        check_acknowledgement(message, view, "a")
        return
    with pytest.raises(InvariantError, match=says):
        check_acknowledgement(message, view, "a")


@pytest.mark.parametrize(("writes", "found"), [(1, b"1"), (5, b"1"), (6, b"2")])
def test_a_commit_of_sqlite_is_durable_with_its_sync_and_not_where_it_was_cut_before(writes: int, found: bytes) -> None:
    """Its steps: two writes for each of two frames, the sync, and the acknowledged mark."""
    with World(seed=1) as world:
        machine = make_machine(world, SimFabric(world), world.host("a"), sqlite=True)
        machine.disk.tear(False)
        view = machine.durable_view(PATH)
        seen: list[bytes | None] = []

        async def main() -> None:
            engine = await machine.ports.storage.open(URL)
            await engine.commit([Write(b"a", b"1")])
            seen.append(view.get(b"a"))
            Interrupt(machine, machine.host.power_off, writes=writes, after_ns=0)
            await engine.commit([Write(b"a", b"2")])

        machine.host.spawn("main", main)
        world.run_for(1)
        assert seen == [b"1"]
        assert not machine.host.powered
        assert view.get(b"a") == found
        assert view.get(b"b") is None


def test_before_there_is_a_database_nothing_is_durable() -> None:
    with World(seed=1) as world:
        assert make_machine(world, SimFabric(world), world.host("a"), sqlite=True).durable_view(PATH).get(b"a") is None
