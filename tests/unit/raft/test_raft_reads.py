"""Linearizable reads without a log entry (dissertation section 6.4)."""

from __future__ import annotations

from rube.raft import ReadMode, Role
from rube.raft.quorum import JointConfig, MajorityConfig
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_READ_INDEX_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    HardState,
    Message,
)
from rube.raft.reads import Reads
from tests.unit.raft.members import Member, cluster


def elected() -> Member:
    """A leader, with entry 1 committed."""
    member = Member()
    member.lead()
    return member


def test_a_read_waits_for_a_quorum_that_confirms_the_leader() -> None:
    member = elected()
    member.node.read_index(b"r")
    heartbeats = member.drain()
    assert [(message.type, message.to) for message in heartbeats] == [(MSG_HEARTBEAT, 2), (MSG_HEARTBEAT, 3)]
    assert member.reads == []
    member.step(MSG_HEARTBEAT_RESP, 2, context=heartbeats[0].context)
    member.drain()
    assert member.reads == [(1, b"r")]


def test_answers_to_earlier_heartbeats_confirm_nothing() -> None:
    member = elected()
    member.node.read_index(b"a")
    early = member.drain()[0].context
    member.node.read_index(b"b")
    member.drain()
    member.step(MSG_HEARTBEAT_RESP, 2, context=b"")
    member.drain()
    assert member.reads == []
    member.step(MSG_HEARTBEAT_RESP, 2, context=early)
    member.drain()
    assert member.reads == [(1, b"a")]


def test_one_answer_confirms_every_read_before_it() -> None:
    member = elected()
    for context in (b"a", b"b", b"c"):
        member.node.read_index(context)
    last = member.drain()[-1].context
    member.step(MSG_HEARTBEAT_RESP, 3, context=last)
    member.drain()
    assert member.reads == [(1, b"a"), (1, b"b"), (1, b"c")]


def test_a_beat_confirms_the_reads_that_wait_again() -> None:
    member = elected()
    member.node.read_index(b"a")
    member.drain()
    member.tick()
    member.step(MSG_HEARTBEAT_RESP, 2, context=member.drain()[0].context)
    member.drain()
    assert member.reads == [(1, b"a")]


def test_a_deposed_leader_answers_no_read() -> None:
    net = cluster()
    net.elect(1)
    net.isolate(1)
    net[2].node.campaign()
    net.run()
    net[2].node.propose(b"new")
    net.run()
    net[1].node.read_index(b"stale")
    net.run()
    assert net[1].role is Role.LEADER
    assert net[1].reads == []
    net.heal()
    net[1].tick()
    net[2].tick()
    net.run()
    assert net[1].reads == []


def test_a_new_leader_answers_only_when_it_has_committed_in_its_term() -> None:
    member = Member(terms=(1,))
    member.campaign()
    member.step(MSG_VOTE_RESP)
    member.drain()
    member.node.read_index(b"r")
    assert member.drain() == []
    member.step(MSG_APP_RESP, 2, index=2)
    heartbeat = next(message for message in member.drain() if message.type == MSG_HEARTBEAT)
    member.step(MSG_HEARTBEAT_RESP, 2, context=heartbeat.context)
    member.drain()
    assert member.reads == [(2, b"r")]


def test_a_follower_asks_the_leader() -> None:
    net = cluster()
    net.elect(1)
    net[1].node.propose(b"a")
    net.run()
    net[3].node.read_index(b"r")
    net.run()
    assert net[3].reads == [(2, b"r")]
    assert net[1].reads == []


def test_a_learner_asks_the_leader_and_confirms_nothing() -> None:
    leader = Member(1, voters=(1, 2, 3), learners=(4,))
    leader.lead()
    leader.node.read_index(b"r")
    context = leader.drain()[0].context
    leader.step(MSG_HEARTBEAT_RESP, 4, context=context)
    leader.drain()
    assert leader.reads == []
    leader.step(MSG_HEARTBEAT_RESP, 3, context=context)
    leader.drain()
    assert leader.reads == [(1, b"r")]


def test_without_a_leader_a_read_is_lost() -> None:
    member = Member()
    member.node.read_index(b"r")
    assert member.drain() == []
    member.campaign()
    member.node.read_index(b"r")
    assert (member.drain(), member.reads) == ([], [])


def test_a_single_voter_answers_at_once() -> None:
    member = Member(voters=(1,))
    member.lead()
    member.node.read_index(b"r")
    member.drain()
    assert member.reads == [(1, b"r")]


def leased() -> Member:
    """A leader whose lease is new."""
    member = Member(check_quorum=True, read_mode=ReadMode.LEASE_BASED)
    member.lead()
    member.tick()
    member.step(MSG_HEARTBEAT_RESP, 2, context=member.drain()[0].context)
    member.drain()
    return member


def test_a_leader_with_a_lease_answers_at_once() -> None:
    member = leased()
    member.node.read_index(b"r")
    assert member.drain() == []
    assert member.reads == [(1, b"r")]


def test_a_lease_ends_a_tick_before_a_follower_may_vote_again_and_then_a_round_confirms() -> None:
    member = leased()
    member.tick(8)
    member.drain()
    member.node.read_index(b"a")
    assert (member.drain(), member.reads) == ([], [(1, b"a")])
    member.tick()
    member.drain()
    member.node.read_index(b"b")
    heartbeats = member.drain()
    assert member.reads == [(1, b"a")]
    member.step(MSG_HEARTBEAT_RESP, 2, context=heartbeats[0].context)
    member.drain()
    assert member.reads == [(1, b"a"), (1, b"b")]


def test_a_late_answer_renews_the_lease_only_from_when_it_was_asked() -> None:
    member = leased()
    member.tick(2)
    early = member.drain()[0].context
    member.tick(8)
    member.drain()
    member.step(MSG_HEARTBEAT_RESP, 2, context=early)
    member.drain()
    member.tick(1)
    member.drain()
    member.node.read_index(b"r")
    member.drain()
    assert member.reads == []


def test_a_leader_that_was_deposed_before_it_could_notice_has_no_lease_left() -> None:
    net = cluster(3, check_quorum=True, read_mode=ReadMode.LEASE_BASED)
    net.elect(1)
    net[1].tick()
    net.run()
    net.isolate(1)
    for other in (2, 3):
        net[other].raft.randomized_election_timeout = 20
        net[other].tick(10)
    net.elect(2)
    net[2].node.propose(b"new")
    net.run()
    net[1].tick(10)
    assert net[1].role is Role.LEADER, "its last check of the quorum still saw the others"
    assert net[2].applied[-1].data == b"new"
    net[1].node.read_index(b"stale")
    net.run()
    assert net[1].reads == []


def test_answers_to_appends_renew_no_lease() -> None:
    member = Member(check_quorum=True, read_mode=ReadMode.LEASE_BASED)
    member.lead()
    member.node.read_index(b"r")
    member.drain()
    assert member.reads == []


def test_who_was_told_to_campaign_ends_the_leases_of_the_term() -> None:
    member = leased()
    member.node.transfer_leader(2)
    member.drain()
    member.node.read_index(b"r")
    member.drain()
    assert member.reads == []


def test_with_leases_a_follower_does_not_campaign_while_it_is_bound() -> None:
    member = Member(check_quorum=True, read_mode=ReadMode.LEASE_BASED)
    member.step(MSG_HEARTBEAT, term=1)
    member.drain()
    member.raft.randomized_election_timeout = 20
    assert (member.campaign(), member.role) == ([], Role.FOLLOWER)
    member.tick(10)
    member.campaign()
    assert member.role is Role.CANDIDATE


def test_with_leases_a_restarted_member_gives_no_vote_for_an_election_timeout() -> None:
    stored = HardState(term=1)
    member = Member(check_quorum=True, read_mode=ReadMode.LEASE_BASED, hard_state=stored)
    member.raft.randomized_election_timeout = 20
    member.tick(9)
    member.step(MSG_VOTE, 3, term=2)
    assert (member.drain(), member.raft.term) == ([], 1)
    member.tick()
    member.step(MSG_VOTE, 3, term=2)
    assert [(answer.type, answer.reject) for answer in member.drain()] == [(MSG_VOTE_RESP, False)]


def test_reads_past_the_bound_are_lost_and_the_others_answered() -> None:
    member = Member(reads_pending_max=2)
    member.lead()
    for context in (b"a", b"b", b"c"):
        member.node.read_index(context)
    member.step(MSG_HEARTBEAT_RESP, 2, context=member.drain()[-1].context)
    member.drain()
    assert member.reads == [(1, b"a"), (1, b"b")]


def test_reads_of_a_term_end_with_it() -> None:
    member = elected()
    member.node.read_index(b"r")
    context = member.drain()[0].context
    member.step(MSG_APP, 2, term=2)
    member.step(MSG_HEARTBEAT_RESP, 3, term=2, context=context)
    member.drain()
    assert member.reads == []


def test_a_malformed_answer_is_ignored() -> None:
    member = Member()
    member.step(MSG_APP, term=1)
    member.step(MSG_READ_INDEX_RESP, index=5)
    member.drain()
    assert member.reads == []


def test_a_joint_quorum_confirms_only_with_both_halves() -> None:
    reads = Reads(10)
    reads.add(Message(), 7)
    voters = JointConfig(MajorityConfig({1, 2, 3}), MajorityConfig({1, 4, 5}))
    context = reads.begin_round(1, tick=0)
    reads.acknowledge(2, context)
    assert reads.confirmed_by(voters) == []
    reads.acknowledge(4, context)
    assert [read.index for read in reads.confirmed_by(voters)] == [7]
    assert reads.begin_round(1, tick=0) == b""


def test_an_answer_that_comes_late_takes_nothing_back() -> None:
    reads = Reads(2)
    rounds = []
    for index in (5, 6):
        reads.add(Message(), index)
        rounds.append(reads.begin_round(1, 0))
    for context in reversed(rounds):
        reads.acknowledge(2, context)
    assert [read.index for read in reads.confirmed_by(JointConfig(MajorityConfig({1, 2, 3})))] == [5, 6]
