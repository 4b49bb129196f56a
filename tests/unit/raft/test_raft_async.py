"""Asynchronous storage: what may go out before it is durable, and what may not."""

from __future__ import annotations

from rube.raft import APPEND_THREAD, APPLY_THREAD, Role
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_SNAP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    Entry,
    HardState,
    Message,
)
from tests.unit.raft.members import Member, log, snapshot


class AsyncMember(Member):
    """A core whose two storage threads do a piece of work when told to."""

    def __init__(self, id: int = 1, **config: object) -> None:
        self.appends: list[Message] = []
        self.applies: list[Message] = []
        super().__init__(id, async_storage_writes=True, **config)  # type: ignore[arg-type]  # passed on as they are

    def sent(self) -> list[Message]:
        """Hands the storage its work; what goes out to others at once."""
        out: list[Message] = []
        while self.node.has_ready():
            for message in self.node.ready().messages:
                {APPEND_THREAD: self.appends, APPLY_THREAD: self.applies}.get(message.to, out).append(message)
        return out

    def write(self) -> list[Message]:
        """The append thread does its next piece of work; the answers to others."""
        work = self.appends.pop(0)
        if work.HasField("snapshot"):
            self.storage.apply_snapshot(work.snapshot)
        self.storage.append(list(work.entries))
        if work.term:
            self.storage.set_hard_state(HardState(term=work.term, vote=work.vote, commit=work.commit))
        return self._answer(work)

    def apply(self) -> list[Message]:
        """The apply thread does its next piece of work."""
        work = self.applies.pop(0)
        self.applied += work.entries
        return self._answer(work)

    def _answer(self, work: Message) -> list[Message]:
        for message in work.responses:
            if message.to == self.id:
                self.node.step(message)
        return [message for message in work.responses if message.to != self.id]


def led() -> AsyncMember:
    """A leader of three, whose first entry is everywhere, written and applied."""
    member = AsyncMember()
    member.node.campaign()
    member.sent()
    member.write()
    member.step(MSG_VOTE_RESP)
    member.sent()
    member.write()
    for other in (2, 3):
        member.step(MSG_APP_RESP, other, index=1)
    member.sent()
    while member.appends:
        member.write()
    member.apply()
    assert member.role is Role.LEADER
    return member


def test_a_vote_is_given_only_when_it_is_durable() -> None:
    member = AsyncMember()
    member.step(MSG_VOTE, term=1)
    assert member.sent() == []
    (work,) = member.appends
    assert (work.type, work.term, work.vote) == (MSG_STORAGE_APPEND, 1, 2)
    assert [answer.type for answer in member.write()] == [MSG_VOTE_RESP]


def test_a_candidate_counts_its_own_vote_only_when_it_is_durable() -> None:
    member = AsyncMember()
    member.node.campaign()
    assert [message.type for message in member.sent()] == [MSG_VOTE] * 2
    member.step(MSG_VOTE_RESP)
    assert member.role is Role.CANDIDATE
    member.write()
    assert member.role is Role.LEADER


def test_entries_are_acknowledged_only_when_they_are_durable() -> None:
    member = AsyncMember(hard_state=HardState(term=1))
    member.step(MSG_APP, entries=log(1, 1))
    assert member.sent() == []
    assert [(answer.type, answer.index) for answer in member.write()] == [(MSG_APP_RESP, 2)]


def test_a_leader_sends_entries_before_they_are_durable_here() -> None:
    member = led()
    member.node.propose(b"a")
    assert [message.type for message in member.sent()] == [MSG_APP] * 2
    assert member.storage.last_index() == 1
    for other in (2, 3):
        member.step(MSG_APP_RESP, other, index=2)
    assert member.raft.log.committed == 2, "the others are a quorum"
    member.sent()
    assert member.applies == [], "applied here only when it is written here"
    while member.appends:
        member.write()
    member.sent()
    member.apply()
    assert [entry.data for entry in member.applied] == [b"", b"a"]


def test_writes_are_pipelined_and_handed_out_once() -> None:
    member = led()
    member.node.propose(b"a")
    member.sent()
    member.node.propose(b"b")
    member.sent()
    assert [[entry.data for entry in work.entries] for work in member.appends] == [[b"a"], [b"b"]]


def test_one_write_may_answer_for_many_batches() -> None:
    """Group commit: the storage joins the writes that wait, syncs once, and gives all the answers."""
    member = led()
    for data in (b"a", b"b", b"c"):
        member.node.propose(data)
        member.sent()
    for _ in range(3):
        member.write()
    member.step(MSG_APP_RESP, 2, index=4)
    assert member.raft.log.committed == 4
    assert member.raft.log.unstable.entries == []


def test_committed_entries_are_handed_out_while_earlier_ones_are_applied() -> None:
    member = led()
    for index, data in enumerate((b"a", b"b"), start=2):
        member.node.propose(data)
        member.sent()
        while member.appends:
            member.write()
        member.step(MSG_APP_RESP, 2, index=index)
        member.sent()
    assert [[entry.data for entry in work.entries] for work in member.applies] == [[b"a"], [b"b"]]
    assert member.raft.log.applied == 1
    assert [message.type for message in member.applies] == [MSG_STORAGE_APPLY] * 2
    member.apply()
    member.apply()
    assert member.raft.log.applied == 3


def test_a_write_of_an_earlier_term_makes_nothing_stable() -> None:
    """Overwritten in term 2 and back again in term 3: the first write's answer must not count."""
    member = AsyncMember(hard_state=HardState(term=1))
    member.step(MSG_APP, 2, entries=log(1))
    member.sent()
    member.step(MSG_APP, 3, term=2, entries=log(2))
    member.sent()
    member.step(MSG_APP, 2, term=3, entries=log(1))
    member.sent()
    member.write()
    assert [entry.term for entry in member.raft.log.unstable.entries] == [1]
    member.write()
    assert [entry.term for entry in member.raft.log.unstable.entries] == [1]
    assert member.storage.term(1) == 2, "what is stored then is not the log"
    assert member.raft.log.term(1) == 1
    member.write()
    assert member.raft.log.unstable.entries == []
    assert member.storage.term(1) == 1


def test_a_snapshot_written_in_an_earlier_term_counts() -> None:
    member = AsyncMember(hard_state=HardState(term=1))
    member.step(MSG_SNAP, snapshot=snapshot(5, 1))
    member.sent()
    member.step(MSG_APP, 3, term=2, index=5, log_term=1)
    member.sent()
    member.write()
    assert (member.raft.log.applied, member.raft.log.unstable.snapshot) == (5, None)


def test_the_answer_of_the_last_term_change_makes_all_stable() -> None:
    member = AsyncMember(hard_state=HardState(term=1))
    member.step(MSG_APP, 2, entries=log(1))
    member.sent()
    member.step(MSG_VOTE, 3, term=2, index=9, log_term=9)
    member.sent()
    assert member.raft.term == 2
    member.write()
    assert len(member.raft.log.unstable.entries) == 1
    member.write()
    assert member.raft.log.unstable.entries == []


def test_a_write_without_answers_need_not_be_durable() -> None:
    member = led()
    member.step(MSG_APP_RESP, 3, index=1)
    member.node.propose(b"a")
    member.sent()
    member.write()
    member.step(MSG_APP_RESP, 2, index=2)
    member.sent()
    (work,) = member.appends
    assert (work.commit, list(work.responses), list(work.entries)) == (2, [], [])


def test_what_the_threads_answer_names_them() -> None:
    member = led()
    member.node.propose(b"a")
    member.sent()
    answers = member.appends[0].responses
    assert [(answer.type, answer.sender, answer.to) for answer in answers] == [
        (MSG_APP_RESP, 1, 1),
        (MSG_STORAGE_APPEND_RESP, APPEND_THREAD, 1),
    ]
    member.write()
    member.step(MSG_APP_RESP, 2, index=2)
    member.sent()
    (answer,) = member.applies[0].responses
    assert (answer.type, answer.sender, answer.to) == (MSG_STORAGE_APPLY_RESP, APPLY_THREAD, 1)
    assert list(answer.entries) == [Entry(term=1, index=2, data=b"a")]
