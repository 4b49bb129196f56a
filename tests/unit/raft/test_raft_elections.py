"""Elections beyond the paper's core: pre-votes, leases, checks of the quorum, forgotten leaders."""

from __future__ import annotations

import pytest

from rube.raft import ReadMode, Role
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    HardState,
    Message,
)
from tests.unit.raft.members import Member, Net, cluster, log


def test_a_pre_vote_asks_at_the_next_term_and_takes_it_only_when_won() -> None:
    member = Member(pre_vote=True, hard_state=HardState(term=4, vote=3))
    requests = member.campaign()
    assert [(request.type, request.term) for request in requests] == [(MSG_PRE_VOTE, 5)] * 2
    assert (member.role, member.raft.term, member.raft.vote) == (Role.PRE_CANDIDATE, 4, 3)
    member.step(MSG_PRE_VOTE_RESP, term=5)
    assert (member.role, member.raft.term, member.raft.vote) == (Role.CANDIDATE, 5, 1)
    member.drain()
    member.step(MSG_VOTE_RESP)
    assert member.role is Role.LEADER


def test_pre_votes_do_not_count_as_votes() -> None:
    member = Member(voters=range(1, 6), pre_vote=True)
    member.campaign()
    for sender in (2, 3):
        member.step(MSG_PRE_VOTE_RESP, sender, term=1)
    member.drain()
    assert member.role is Role.CANDIDATE
    for sender in (4, 5):
        member.step(MSG_PRE_VOTE_RESP, sender, term=1)
    assert member.role is Role.CANDIDATE


def test_a_lost_pre_vote_changes_nothing_but_the_role() -> None:
    member = Member(pre_vote=True, hard_state=HardState(term=4))
    member.campaign()
    for sender in (2, 3):
        member.step(MSG_PRE_VOTE_RESP, sender, term=4, reject=True)
    assert (member.role, member.raft.term) == (Role.FOLLOWER, 4)


def test_a_rejected_pre_vote_from_a_later_term_takes_over_that_term() -> None:
    member = Member(pre_vote=True)
    member.campaign()
    member.step(MSG_PRE_VOTE_RESP, term=7, reject=True)
    assert (member.role, member.raft.term) == (Role.FOLLOWER, 7)


def test_granting_a_pre_vote_leaves_term_and_vote() -> None:
    member = Member(hard_state=HardState(term=4, vote=1))
    member.step(MSG_PRE_VOTE, 3, term=5)
    (answer,) = member.drain()
    assert (answer.type, answer.term, answer.reject) == (MSG_PRE_VOTE_RESP, 5, False)
    assert (member.raft.term, member.raft.vote) == (4, 1)


def test_who_comes_back_from_a_partition_disturbs_nobody() -> None:
    net = cluster(3, pre_vote=True, check_quorum=True)
    net.elect(1)
    net.isolate(3)
    for _ in range(5):
        net[3].tick(20)
        net.run()
    assert (net[3].role, net[3].raft.term) == (Role.PRE_CANDIDATE, 1)
    net.heal()
    net[1].tick()
    net.run()
    assert net.leaders() == [1]
    assert (net[3].raft.leader, net[1].raft.term) == (1, 1)


def test_without_pre_vote_who_comes_back_forces_a_new_election() -> None:
    net = cluster(3)
    net.elect(1)
    net.isolate(3)
    net[3].node.campaign()
    net.run()
    net.heal()
    net[1].tick()
    net[3].node.campaign()
    net.run()
    assert net[1].raft.term > 1


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_PRE_VOTE])
def test_within_the_lease_of_a_leader_no_vote_is_given_nor_term_taken(kind: int) -> None:
    member = Member(check_quorum=True, hard_state=HardState(term=1))
    member.step(MSG_HEARTBEAT)
    member.drain()
    member.tick(9)
    member.step(kind, 3, term=2)
    assert (member.drain(), member.raft.term) == ([], 1)


def test_after_the_lease_votes_are_given() -> None:
    member = Member(check_quorum=True, hard_state=HardState(term=1))
    member.step(MSG_HEARTBEAT)
    member.drain()
    member.raft.randomized_election_timeout = 15
    member.tick(10)
    member.step(MSG_VOTE, 3, term=2)
    (answer,) = member.drain()
    assert (answer.type, answer.term, answer.reject) == (MSG_VOTE_RESP, 2, False)


def test_a_transfer_breaks_the_lease() -> None:
    member = Member(check_quorum=True, hard_state=HardState(term=1))
    member.step(MSG_HEARTBEAT)
    member.drain()
    member.step(MSG_VOTE, 3, term=2, context=b"CampaignTransfer")
    assert [answer.reject for answer in member.drain()] == [False]


def test_a_leader_without_a_quorum_steps_down_within_two_election_timeouts() -> None:
    member = Member(check_quorum=True)
    member.lead()
    member.tick(10)
    assert member.role is Role.LEADER, "everyone was heard of in the first one"
    member.tick(10)
    assert (member.role, member.raft.term, member.raft.leader) == (Role.FOLLOWER, 1, 0)


def test_a_leader_with_a_quorum_stays() -> None:
    member = Member(check_quorum=True)
    member.lead()
    for _ in range(50):
        member.tick()
        member.step(MSG_HEARTBEAT_RESP)
    assert member.role is Role.LEADER


def test_who_is_stuck_in_a_later_term_is_freed_by_its_answer() -> None:
    net = cluster(3, check_quorum=True)
    net.elect(1)
    net.isolate(3)
    net[3].node.campaign()
    net.run()
    net.heal()
    net[3].node.campaign()
    net.run()
    assert net[1].raft.term == 1, "within the lease its requests are ignored"
    net[1].tick()
    net.run()
    assert net[1].role is Role.FOLLOWER
    assert net[1].raft.term == net[3].raft.term
    net[2].tick(10)
    net[1].node.campaign()
    net.run()
    assert net.leaders() == [1]
    assert net[3].log_terms() == net[1].log_terms()


def test_a_late_heartbeat_is_answered_with_the_later_term() -> None:
    member = Member(check_quorum=True, hard_state=HardState(term=3))
    member.step(MSG_HEARTBEAT, term=2)
    assert member.drain() == [Message(type=MSG_APP_RESP, sender=1, to=2, term=3)]


def test_a_late_pre_vote_is_refused_with_the_later_term() -> None:
    member = Member(pre_vote=True, hard_state=HardState(term=3))
    member.step(MSG_PRE_VOTE, term=2)
    assert member.drain() == [Message(type=MSG_PRE_VOTE_RESP, sender=1, to=2, term=3, reject=True)]


def test_a_split_vote_is_settled_by_the_next_election() -> None:
    net = cluster(3, pre_vote=True)
    net.elect(1)
    net.isolate(1)
    net[2].node.campaign()
    net[3].node.campaign()
    net.run()
    terms = {net[2].raft.term, net[3].raft.term}
    assert terms == {2}
    assert net.leaders() == [1]
    net[2].node.campaign()
    net.run()
    assert 2 in net.leaders()


def test_a_learner_never_campaigns_but_votes() -> None:
    member = Member(1, voters=(2, 3), learners=(1,))
    member.tick(50)
    member.node.campaign()
    assert (member.drain(), member.role) == ([], Role.FOLLOWER)
    member.step(MSG_VOTE, term=2)
    assert [answer.reject for answer in member.drain()] == [False]


def test_who_is_no_member_never_campaigns() -> None:
    member = Member(4)
    member.tick(50)
    member.node.campaign()
    assert (member.drain(), member.role) == ([], Role.FOLLOWER)


def test_a_single_voter_elects_itself_once_its_vote_is_durable() -> None:
    member = Member(voters=(1,))
    member.node.campaign()
    assert member.role is Role.CANDIDATE
    ready = member.handle()
    assert ready.hard_state == HardState(term=1, vote=1)
    assert member.role is Role.LEADER


def test_its_own_vote_in_a_lost_election_comes_too_late() -> None:
    member = Member(voters=(1, 2, 3))
    member.node.campaign()
    member.node.ready()
    member.step(MSG_HEARTBEAT, 2)
    member.node.advance()
    assert (member.role, member.raft.leader) == (Role.FOLLOWER, 2)


def test_a_campaigning_leader_goes_on_leading() -> None:
    member = Member()
    member.lead()
    assert (member.campaign(), member.role, member.raft.term) == ([], Role.LEADER, 1)


def test_who_forgets_its_leader_may_grant_a_pre_vote_but_no_second_vote() -> None:
    member = Member(check_quorum=True, pre_vote=True, hard_state=HardState(term=1, vote=2))
    member.step(MSG_HEARTBEAT)
    member.drain()
    member.step(MSG_PRE_VOTE, 3, term=2)
    assert member.drain() == []
    member.node.forget_leader()
    assert member.raft.leader == 0
    member.step(MSG_PRE_VOTE, 3, term=2)
    assert [answer.reject for answer in member.drain()] == [False]
    member.step(MSG_VOTE, 3, term=1)
    assert [answer.reject for answer in member.drain()] == [True]
    member.step(MSG_HEARTBEAT)
    assert member.raft.leader == 2


def test_a_leader_is_not_forgotten_where_its_lease_serves_reads() -> None:
    member = Member(check_quorum=True, read_mode=ReadMode.LEASE_BASED, hard_state=HardState(term=1))
    member.step(MSG_HEARTBEAT)
    member.node.forget_leader()
    assert member.raft.leader == 2


def test_a_leader_cannot_forget_itself() -> None:
    member = Member()
    member.lead()
    member.node.forget_leader()
    assert (member.role, member.raft.leader) == (Role.LEADER, 1)


def test_an_entry_on_a_minority_is_lost_to_a_later_leader_without_it() -> None:
    voters = range(1, 6)
    net = Net(
        Member(1, voters, terms=(1,), hard_state=HardState(term=1)),
        Member(2, voters, terms=(1,), hard_state=HardState(term=1)),
        Member(3, voters, terms=(2,), hard_state=HardState(term=2, vote=3)),
        Member(4, voters, hard_state=HardState(term=2, vote=3)),
        Member(5, voters, hard_state=HardState(term=2, vote=3)),
    )
    net.elect(1)
    assert (net.leaders(), net[1].raft.term) == ([], 2), "that term's votes are given"
    net.elect(1)
    assert (net.leaders(), net[1].raft.term) == ([1], 3)
    assert [member.log_terms() for member in net.members.values()] == [[1, 3]] * 5


def test_an_append_makes_a_candidate_follow_and_takes_its_entries() -> None:
    member = Member()
    member.campaign()
    member.step(MSG_APP, entries=log(1))
    assert (member.role, member.log_terms()) == (Role.FOLLOWER, [1])
