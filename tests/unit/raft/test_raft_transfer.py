"""Leadership given away (dissertation section 3.10)."""

from __future__ import annotations

import pytest

from rube.raft import ProposalDroppedError, Role
from rube.raft.raft_pb2 import (
    CONF_CHANGE_REMOVE_NODE,
    MSG_APP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    ConfChange,
    Message,
)
from tests.unit.raft.members import Member, Net, cluster


def led(**config: bool) -> Net:
    net = cluster(3, **config)
    net.elect(1)
    return net


@pytest.mark.parametrize("guarded", [False, True])
def test_an_up_to_date_member_takes_over_at_once(guarded: bool) -> None:
    net = led(pre_vote=guarded, check_quorum=guarded)
    net[1].node.transfer_leader(3)
    net.run()
    assert net.leaders() == [3]
    assert net[1].raft.leader == 3


def test_a_follower_passes_the_request_on() -> None:
    net = led()
    net[2].node.transfer_leader(3)
    net.run()
    assert net.leaders() == [3]


def test_a_member_that_lags_catches_up_first() -> None:
    net = led()
    net.isolate(3)
    net[1].node.propose(b"a")
    net.run()
    net.heal()
    net[1].node.transfer_leader(3)
    net.run()
    assert net.leaders() == [3]
    assert [entry.data for entry in net[3].applied] == [b"", b"a", b""]


def test_a_member_that_needs_a_snapshot_gets_it_first() -> None:
    net = led()
    net.isolate(3)
    net[1].node.propose(b"a", b"b")
    net.run()
    net[1].compact(3)
    net.heal()
    net[1].tick()
    net.run()
    net[1].node.transfer_leader(3)
    net.run()
    assert net.leaders() == [3]


def test_proposals_are_refused_meanwhile_and_taken_again_after_an_election_timeout() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net.run()
    with pytest.raises(ProposalDroppedError, match="transfers the leadership to 3"):
        net[1].node.propose(b"a")
    net[1].tick(9)
    assert net[1].raft.transferee == 3
    net[1].tick()
    assert net[1].raft.transferee == 0
    net[1].node.propose(b"a")
    net.run()
    assert [entry.data for entry in net[2].applied] == [b"", b"a"]


@pytest.mark.parametrize("target", [1, 9])
def test_to_oneself_or_a_stranger_is_nothing(target: int) -> None:
    net = led()
    net[1].node.transfer_leader(target)
    net.run()
    assert net.leaders() == [1]
    net[1].node.propose(b"a")


def test_to_a_learner_is_refused() -> None:
    member = Member(voters=(1, 2), learners=(3,))
    member.lead()
    member.node.transfer_leader(3)
    assert (member.drain(), member.raft.transferee) == ([], 0)


def test_a_later_request_to_another_member_wins() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net[1].node.transfer_leader(2)
    net.run()
    assert net.leaders() == [2]


def test_a_repeated_request_does_not_prolong_the_transfer() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net[1].tick(5)
    net[1].node.transfer_leader(3)
    net[1].tick(5)
    assert net[1].raft.transferee == 0


def test_a_transfer_has_an_election_timeout_whenever_it_is_asked_for() -> None:
    net = led()
    net.isolate(3)
    net[1].tick(9)
    net[1].node.transfer_leader(3)
    net[1].tick(9)
    assert net[1].raft.transferee == 3
    net[1].tick()
    assert net[1].raft.transferee == 0


def test_asked_for_back_it_stays() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net[1].node.transfer_leader(1)
    net[1].node.propose(b"a")
    assert net.leaders() == [1]


def test_removing_the_target_ends_the_transfer() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net[1].node.apply_conf_change(ConfChange(type=CONF_CHANGE_REMOVE_NODE, node_id=3))
    assert net[1].raft.transferee == 0


def test_a_later_term_ends_the_transfer() -> None:
    net = led()
    net.isolate(3)
    net[1].node.transfer_leader(3)
    net[1].step(MSG_VOTE, 2, term=2, index=9, log_term=1)
    assert (net[1].role, net[1].raft.transferee) == (Role.FOLLOWER, 0)


def test_who_is_told_to_campaign_skips_the_pre_vote() -> None:
    member = Member(pre_vote=True)
    member.step(MSG_APP, term=1)
    member.drain()
    member.step(MSG_TIMEOUT_NOW)
    requests = [message for message in member.drain() if message.type == MSG_VOTE]
    assert requests == [Message(type=MSG_VOTE, sender=1, to=to, term=2, context=b"CampaignTransfer") for to in (2, 3)]


def test_who_is_no_voter_does_not_campaign_when_told() -> None:
    member = Member(4)
    member.step(MSG_APP, term=1)
    member.drain()
    member.step(MSG_TIMEOUT_NOW)
    assert member.role is Role.FOLLOWER
