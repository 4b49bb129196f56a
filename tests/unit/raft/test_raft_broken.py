"""The checks can fail: for each invariant a core that breaks it, and a random adversary that makes it show."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest

from rube.raft import election, machine, membership, reading, replication
from rube.raft.entries import EntryId
from rube.raft.invariants import Invariant, InvariantError
from rube.raft.log import RaftLog
from rube.raft.quorum import AckedIndex, MajorityConfig, VoteResult
from rube.raft.raft_pb2 import MSG_APP_RESP, MSG_HEARTBEAT, MSG_VOTE_RESP, ConfChangeType, Entry, Message
from rube.raft.state import Raft
from rube.raft.tracker import ProgressTracker
from tests.unit.raft.raft_world import OPTIONS, World, disturb

Patch = pytest.MonkeyPatch
RUNS_MAX = 60


def one_vote_wins(patch: Patch) -> None:
    patch.setattr(ProgressTracker, "tally_votes", lambda self: (1, 0, VoteResult.WON))


def leaders_rewrite(patch: Patch) -> None:
    append = replication.append_own

    def append_over(raft: Raft, proposed: list[Entry]) -> bool:
        log = raft.log
        if log.last_index() > log.committed + 1 and log.term(log.last_index()) == raft.term:
            log.append([Entry(term=raft.term, index=log.last_index(), data=b"changed")])
        return append(raft, proposed)

    patch.setattr(replication, "append_own", append_over)


def followers_append_anywhere(patch: Patch) -> None:
    def append(self: RaftLog, previous: EntryId, entries: list[Entry], committed: int) -> int | None:
        if previous.index > self.last_index() or previous.index < self.committed:
            return None
        fresh = [entry for entry in entries if entry.index > self.last_index()]
        self.append(fresh)
        return previous.index + len(entries)

    patch.setattr(RaftLog, "maybe_append", append)


def voters_ignore_logs(patch: Patch) -> None:
    grant = election.on_vote_request

    def grant_all(raft: Raft, message: Message) -> None:
        message.log_term += 100
        grant(raft, message)

    for handlers in machine.HANDLERS.values():
        for kind, handler in list(handlers.items()):
            if handler is grant:
                patch.setitem(handlers, kind, grant_all)


def heartbeats_commit_too_much(patch: Patch) -> None:
    commit_to = RaftLog.commit_to

    def send(raft: Raft) -> None:
        for member, _ in raft.tracker:
            if member != raft.id:
                raft.send(Message(type=MSG_HEARTBEAT, to=member, commit=raft.log.committed))

    patch.setattr(replication, "broadcast_heartbeat", send)
    patch.setattr(RaftLog, "commit_to", lambda self, index: commit_to(self, min(index, self.last_index())))


def one_copy_commits(patch: Patch) -> None:
    patch.setattr(ProgressTracker, "committed", lambda self: max(progress.match for _, progress in self))


def earlier_terms_are_counted(patch: Patch) -> None:
    """Figure 8: entries of an earlier term are committed by counting copies."""

    def commit(self: RaftLog, entry: EntryId) -> bool:
        if entry.index <= self.committed or self.term(entry.index) is None:
            return False
        self.commit_to(entry.index)
        return True

    patch.setattr(RaftLog, "maybe_commit", commit)


def votes_are_forgotten(patch: Patch) -> None:
    grant = election.on_vote_request

    def grant_again(raft: Raft, message: Message) -> None:
        raft.vote = 0
        raft.leader = 0
        grant(raft, message)

    for handlers in machine.HANDLERS.values():
        for kind, handler in list(handlers.items()):
            if handler is grant:
                patch.setitem(handlers, kind, grant_again)


def answers_do_not_wait(patch: Patch) -> None:
    send = Raft.send

    def send_at_once(self: Raft, message: Message) -> None:
        send(self, message)
        if message.type in (MSG_APP_RESP, MSG_VOTE_RESP) and message.to != self.id:
            self.messages.append(self.messages_after_append.pop())

    patch.setattr(Raft, "send", send_at_once)


def commit_falls_back(patch: Patch) -> None:
    def commit_to(self: RaftLog, index: int) -> None:
        self.committed = max(min(index, self.last_index()), self.applying)

    patch.setattr(RaftLog, "commit_to", commit_to)


def leaders_answer_reads_alone(patch: Patch) -> None:
    for handlers in machine.HANDLERS.values():
        for kind, handler in list(handlers.items()):
            if handler is reading.on_read_index:
                patch.setitem(handlers, kind, lambda raft, message: reading._answer(raft, message, raft.log.committed))


def half_elects(patch: Patch) -> None:
    """A mistake that shows only where the voters are even in number."""
    result = MajorityConfig.vote_result

    def vote_result(self: MajorityConfig, votes: Mapping[int, bool]) -> VoteResult:
        granted = sum(votes.get(voter, False) for voter in self)
        return VoteResult.WON if 2 * granted >= len(self) else result(self, votes)

    patch.setattr(MajorityConfig, "vote_result", vote_result)


def half_commits(patch: Patch) -> None:
    def committed_index(self: MajorityConfig, acked: AckedIndex) -> int:
        return sorted(acked(voter) or 0 for voter in self)[len(self) // 2] if self else 2**64 - 1

    patch.setattr(MajorityConfig, "committed_index", committed_index)


BROKEN: list[tuple[Callable[[Patch], None], set[Invariant], int]] = [
    (one_vote_wins, {Invariant.ELECTION_SAFETY, Invariant.ELECTED_BY_QUORUM}, 0),
    (leaders_rewrite, {Invariant.LEADER_APPEND_ONLY}, 0),
    (followers_append_anywhere, {Invariant.LOG_MATCHING}, 27),
    (voters_ignore_logs, {Invariant.UP_TO_DATE_VOTE}, 6),
    (heartbeats_commit_too_much, {Invariant.STATE_MACHINE_SAFETY}, 27),
    (one_copy_commits, {Invariant.COMMIT_ON_QUORUM}, 0),
    (earlier_terms_are_counted, {Invariant.COMMIT_ON_QUORUM}, 5),
    (votes_are_forgotten, {Invariant.ONE_VOTE, Invariant.MONOTONIC}, 0),
    (answers_do_not_wait, {Invariant.DURABLE_ACKNOWLEDGEMENT}, 0),
    (commit_falls_back, {Invariant.MONOTONIC}, 0),
    (leaders_answer_reads_alone, {Invariant.LINEARIZABLE_READ}, 14),
]
"""With the run at which to begin, near to one that shows it."""


def run(seed: int, members: int = 3) -> None:
    draw = random.Random(seed)
    options = {**OPTIONS, "async_storage_writes": seed % 2 == 0, "pre_vote": False, "check_quorum": seed % 3 == 0}
    world = World(members, 0, options, spares=1)
    world.operate(1, "campaign", 0)
    disturb(world, draw, 60)


@pytest.mark.parametrize(("break_core", "invariants", "first"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_broken_core_is_found_out(
    break_core: Callable[[Patch], None], invariants: set[Invariant], first: int, monkeypatch: Patch
) -> None:
    break_core(monkeypatch)
    others: list[str] = []
    for seed in range(first, first + RUNS_MAX):
        try:
            run(seed)
        except InvariantError as error:
            if error.invariant in invariants:
                return
            others.append(str(error))
        except AssertionError as error:  # the core's own assertions may be first
            others.append(str(error))
    raise AssertionError(f"not found in {RUNS_MAX} runs; found {others[:5]}")


@pytest.mark.parametrize(
    ("break_core", "invariant"),
    [(half_elects, Invariant.ELECTED_BY_QUORUM), (half_commits, Invariant.COMMIT_ON_QUORUM)],
)
def test_half_of_the_voters_is_no_quorum(
    break_core: Callable[[Patch], None], invariant: Invariant, monkeypatch: Patch
) -> None:
    break_core(monkeypatch)
    found = set[Invariant]()
    for seed in range(10):
        try:
            run(seed, members=4)
        except InvariantError as error:
            found.add(error.invariant)
    assert invariant in found


def test_a_candidate_knows_its_configuration(monkeypatch: Patch) -> None:
    """Its disk is slow: a change is committed and not applied when it stands for election."""

    def stand() -> None:
        world = World(3, 0, {**OPTIONS, "async_storage_writes": True, "pre_vote": False}, spares=1)
        world.operate(1, "campaign", 0)
        for _ in range(9):
            for number in (1, 2, 3):
                world.settle(number)
        world.change(1, [(ConfChangeType.CONF_CHANGE_ADD_NODE, 4)], 0)
        for _ in range(9):
            world.settle(1)
            world.deliver_all(2)
            for _ in range(4):
                world.process(2)
                world.append_thread(2)  # and nothing is applied
        world.operate(2, "campaign", 0)

    stand()
    monkeypatch.setattr(membership, "unapplied_change", lambda raft: False)
    with pytest.raises(InvariantError, match="KNOWN_CONFIGURATION: 2 campaigns in term 3 without"):
        stand()


@pytest.mark.parametrize("members", [3, 4])
def test_a_sound_core_is_not(members: int) -> None:
    for seed in range(5):
        run(seed, members)
