"""The paper's rules, section by section: what a server does, told by the messages it gets and gives."""

from __future__ import annotations

from typing import Any

import pytest

from rube.raft import ProposalDroppedError, Role
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_VOTE,
    MSG_VOTE_RESP,
    Entry,
    HardState,
    Message,
)
from tests.unit.raft.members import Member, Net, accept, cluster, ids, log

# Section 5.1: terms


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_5_1_a_later_term_makes_anyone_a_follower_of_it(role: Role) -> None:
    member = Member()
    if role is Role.LEADER:
        member.lead()
    elif role is Role.CANDIDATE:
        member.campaign()
    assert member.role is role
    member.step(MSG_APP, term=member.raft.term + 1)
    assert (member.role, member.raft.leader, member.raft.vote) == (Role.FOLLOWER, 2, 0)


def test_5_1_a_message_of_an_earlier_term_is_ignored() -> None:
    member = Member(hard_state=HardState(term=2))
    member.step(MSG_APP, term=1, entries=log(1))
    assert member.drain() == []
    assert member.raft.log.last_index() == 0
    assert member.raft.leader == 0


# Section 5.2: elections


def test_5_2_servers_start_as_followers() -> None:
    assert Member().role is Role.FOLLOWER


def test_5_2_a_leader_sends_empty_heartbeats() -> None:
    member = Member(heartbeat_ticks=2)
    member.lead()
    member.tick()
    assert member.drain() == []
    member.tick()
    assert member.drain() == [Message(type=MSG_HEARTBEAT, sender=1, to=to, term=1, commit=1) for to in (2, 3)]


@pytest.mark.parametrize("candidate", [False, True])
def test_5_2_without_a_leader_it_calls_an_election(candidate: bool) -> None:
    member = Member(hard_state=HardState(term=1))
    if candidate:
        member.campaign()
    term = member.raft.term
    member.tick(19)
    requests = member.drain()
    assert (member.role, member.raft.term, member.raft.vote) == (Role.CANDIDATE, term + 1, 1)
    assert requests == [Message(type=MSG_VOTE, sender=1, to=to, term=term + 1) for to in (2, 3)]


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
    ],
)
def test_5_2_a_majority_of_the_votes_decides(size: int, votes: dict[int, bool], role: Role) -> None:
    member = Member(voters=range(1, size + 1))
    member.campaign()
    for voter, granted in votes.items():
        member.step(MSG_VOTE_RESP, voter, term=1, reject=not granted)
    assert (member.role, member.raft.term) == (role, 1)


def test_5_2_votes_that_are_repeated_count_once() -> None:
    member = Member(voters=range(1, 6))
    member.campaign()
    for _ in range(3):
        member.step(MSG_VOTE_RESP, 2)
    assert member.role is Role.CANDIDATE


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"),
    [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)],
)
def test_5_2_one_vote_a_term_first_come_first_served(vote: int, candidate: int, granted: bool) -> None:
    member = Member(hard_state=HardState(term=1, vote=vote))
    member.step(MSG_VOTE, candidate)
    assert member.drain() == [Message(type=MSG_VOTE_RESP, sender=1, to=candidate, term=1, reject=not granted)]


@pytest.mark.parametrize(("vote", "role"), [(0, Role.FOLLOWER), (3, Role.CANDIDATE)])
def test_5_2_who_gives_a_vote_waits_for_another_election_timeout(vote: int, role: Role) -> None:
    """A voter that refuses does not."""
    member = Member(hard_state=HardState(term=1, vote=vote))
    member.tick(member.raft.randomized_election_timeout - 1)
    member.step(MSG_VOTE, 2)
    member.tick()
    assert member.role is role


def test_5_2_a_vote_outlives_a_crash() -> None:
    member = Member()
    member.step(MSG_VOTE, 2, term=1)
    member.drain()
    member.start()
    member.step(MSG_VOTE, 3, term=1)
    assert [message.reject for message in member.drain()] == [True]


@pytest.mark.parametrize("later", [0, 1])
def test_5_2_a_candidate_yields_to_a_leader_of_its_term_or_a_later_one(later: int) -> None:
    member = Member()
    member.campaign()
    member.step(MSG_APP, term=1 + later)
    assert (member.role, member.raft.term, member.raft.leader) == (Role.FOLLOWER, 1 + later, 2)


def test_5_2_election_timeouts_are_spread_over_the_whole_range() -> None:
    member = Member()
    timeouts = set()
    for _ in range(500):
        member.raft.become_follower(member.raft.term + 1, 2)
        ticks = 0
        while member.role is Role.FOLLOWER:
            member.tick()
            ticks += 1
        timeouts.add(ticks)
        member.drain()
    assert timeouts == set(range(10, 20))


def test_5_2_split_votes_are_rare() -> None:
    members = [Member(id, range(1, 6)) for id in range(1, 6)]
    conflicts = 0
    for _ in range(300):
        for member in members:
            member.raft.become_follower(member.raft.term + 1, 0)
        while all(member.role is Role.FOLLOWER for member in members):
            for member in members:
                member.tick()
        conflicts += sum(member.role is Role.CANDIDATE for member in members) > 1
    assert conflicts / 300 <= 0.3


# Section 5.3: log replication


def test_5_3_a_proposal_is_appended_and_sent_to_everyone_at_once() -> None:
    member = Member()
    member.lead()
    member.node.propose(b"a")
    entry = Entry(term=1, index=2, data=b"a")
    ready = member.node.ready()
    assert ready.entries == [entry]
    assert ready.committed_entries == []
    assert ready.messages == [
        Message(type=MSG_APP, sender=1, to=to, term=1, index=1, log_term=1, entries=[entry], commit=1) for to in (2, 3)
    ]


def test_5_3_a_leader_applies_what_is_replicated_and_tells_the_commit_index() -> None:
    member = Member()
    member.lead()
    member.node.propose(b"a")
    for message in member.drain():
        member.node.step(accept(message))
    ready = member.handle()
    assert [entry.data for entry in ready.committed_entries] == [b"a"]
    assert [(message.to, message.commit) for message in ready.messages] == [(2, 2), (3, 2)]


@pytest.mark.parametrize(
    ("size", "takers", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (), False),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4, 5), True),
    ],
)
def test_5_3_an_entry_is_committed_once_a_majority_has_it(size: int, takers: tuple[int, ...], committed: bool) -> None:
    member = Member(voters=range(1, size + 1))
    member.lead()
    before = member.raft.log.committed
    member.node.propose(b"a")
    for message in member.drain():
        if message.to in takers:
            member.node.step(accept(message))
    assert (member.raft.log.committed == before + 1) is committed


@pytest.mark.parametrize("terms", [(), (2,), (1, 2), (1,)])
def test_5_3_a_committed_entry_commits_all_before_it(terms: tuple[int, ...]) -> None:
    member = Member(terms=terms, hard_state=HardState(term=2))
    member.lead()
    last = len(terms)
    assert ids(member.applied) == [*ids(log(*terms)), (3, last + 1)]


@pytest.mark.parametrize("commit", [1, 2])
def test_5_3_a_follower_applies_what_it_learns_is_committed_in_order(commit: int) -> None:
    member = Member(hard_state=HardState(term=1))
    member.step(MSG_APP, entries=log(1, 1), commit=commit)
    member.drain()
    assert ids(member.applied) == [(1, 1), (1, 2)][:commit]


@pytest.mark.parametrize(
    ("log_term", "index", "answer"),
    [
        (0, 0, {"index": 1}),
        (1, 1, {"index": 1}),
        (2, 2, {"index": 2}),
        (1, 2, {"index": 2, "reject": True, "reject_hint": 1, "log_term": 1}),
        (3, 3, {"index": 3, "reject": True, "reject_hint": 2, "log_term": 2}),
    ],
)
def test_5_3_a_follower_refuses_what_does_not_follow_its_log(log_term: int, index: int, answer: dict[str, Any]) -> None:
    member = Member(terms=(1, 2), hard_state=HardState(term=2, commit=1))
    member.step(MSG_APP, log_term=log_term, index=index)
    assert member.drain() == [Message(type=MSG_APP_RESP, sender=1, to=2, term=2, **answer)]


@pytest.mark.parametrize(
    ("index", "entries", "terms", "written"),
    [
        (2, log(3, first=3), [1, 2, 3], [3]),
        (1, log(3, 4, first=2), [1, 3, 4], [3, 4]),
        (0, log(1), [1, 2], []),
        (0, log(3), [3], [3]),
    ],
)
def test_5_3_conflicting_entries_give_way_and_equal_ones_stay(
    index: int, entries: list[Entry], terms: list[int], written: list[int]
) -> None:
    member = Member(terms=(1, 2), hard_state=HardState(term=4))
    member.step(MSG_APP, log_term=index, index=index, entries=entries)
    ready = member.handle()
    assert [entry.term for entry in ready.entries] == written
    assert member.log_terms() == terms
    assert member.storage.last_index() == len(terms)


@pytest.mark.parametrize(
    "terms",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    ],
    ids=list("abcdef"),
)
def test_5_3_figure_7_a_leader_brings_every_log_into_line(terms: tuple[int, ...]) -> None:
    leader = Member(1, terms=(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), hard_state=HardState(term=8))
    follower = Member(2, terms=terms, hard_state=HardState(term=7))
    net = Net(leader, follower)
    leader.node.campaign()
    leader.drain()
    leader.step(MSG_VOTE_RESP, 3)  # the other one may have the longer log, and vote against it
    net.run()
    assert leader.log_terms() == follower.log_terms() == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 9]


def test_5_3_a_probe_passes_over_a_whole_term() -> None:
    leader = Member(1, terms=(1, *[2] * 50), hard_state=HardState(term=2))
    follower = Member(2, terms=(1, *[1] * 40), hard_state=HardState(term=2))
    net, probes = Net(leader, follower), []
    leader.node.campaign()
    leader.drain()
    leader.step(MSG_VOTE_RESP, 3)

    def seen(message: Message) -> bool:
        if message.type == MSG_APP_RESP and message.reject:
            probes.append(message)
        return False

    net.loses = seen
    net.run()
    assert len(probes) == 1
    assert leader.log_terms() == follower.log_terms()


# Section 5.4: safety


@pytest.mark.parametrize("terms", [(1,), (1, 2)])
def test_5_4_1_a_request_for_votes_names_the_last_entry(terms: tuple[int, ...]) -> None:
    member = Member(terms=terms, hard_state=HardState(term=terms[-1]))
    last, term = len(terms), terms[-1]
    assert member.campaign() == [
        Message(type=MSG_VOTE, sender=1, to=to, term=term + 1, index=last, log_term=term) for to in (2, 3)
    ]


@pytest.mark.parametrize(
    ("terms", "log_term", "index", "granted"),
    [
        ((1,), 1, 1, True),
        ((1,), 1, 2, True),
        ((1, 1), 1, 1, False),
        ((1,), 2, 1, True),
        ((1,), 2, 2, True),
        ((1, 1), 2, 1, True),
        ((2,), 1, 1, False),
        ((2,), 1, 2, False),
        ((2, 2), 1, 1, False),
    ],
)
def test_5_4_1_no_vote_for_a_log_that_is_less_up_to_date(
    terms: tuple[int, ...], log_term: int, index: int, granted: bool
) -> None:
    member = Member(terms=terms)
    member.step(MSG_VOTE, term=3, log_term=log_term, index=index)
    (answer,) = member.drain()
    assert (answer.type, answer.reject) == (MSG_VOTE_RESP, not granted)


@pytest.mark.parametrize(("acknowledged", "committed"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_own_term_are_committed_by_counting(acknowledged: int, committed: int) -> None:
    member = Member(voters=(1, 2), terms=(1, 2), hard_state=HardState(term=2))
    member.campaign()
    member.step(MSG_VOTE_RESP)
    member.drain()
    member.step(MSG_APP_RESP, index=acknowledged)
    assert member.raft.log.committed == committed


def test_5_4_3_a_leader_has_every_committed_entry() -> None:
    net = cluster(5)
    net.elect(1)
    net.isolate(4, 5)
    net[1].node.propose(b"a")
    net.run()
    net.heal()
    net.isolate(1)
    net.elect(4)
    assert net.leaders() == [1], "its log is too short"
    net.elect(2)
    assert 2 in net.leaders()
    assert [entry.data for entry in net[5].applied] == [b"", b"a", b""]


def test_5_5_messages_that_come_twice_or_late_do_no_harm() -> None:
    leader, follower = Member(1), Member(2)
    leader.lead()
    leader.node.propose(b"a")
    leader.node.propose(b"b")
    appends = [message for message in leader.drain() if message.to == 2]
    follower.raft.become_follower(1, 1)
    follower.step(MSG_APP, 1, entries=leader.storage.entries(1, 2, 100))
    for message in (*reversed(appends), *appends, *appends):
        follower.node.step(Message.FromString(message.SerializeToString()))
    follower.drain()
    assert follower.log_terms() == [1, 1, 1]


def test_8_no_leader_no_proposals() -> None:
    member = Member()
    with pytest.raises(ProposalDroppedError, match="knows no leader in term 0"):
        member.node.propose(b"a")
    member.campaign()
    with pytest.raises(ProposalDroppedError, match="knows no leader in term 1"):
        member.node.propose(b"a")


def test_8_a_follower_passes_proposals_on() -> None:
    net = cluster()
    net.elect(1)
    net[2].node.propose(b"a", b"b")
    net.run()
    assert [entry.data for entry in net[3].applied] == [b"", b"a", b"b"]
