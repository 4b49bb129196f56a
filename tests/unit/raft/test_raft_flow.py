"""Flow control and limits: how much may be under way, and what happens past it."""

from __future__ import annotations

from typing import Any

import pytest

from rube.raft import ProposalDroppedError, ProposalTooLargeError
from rube.raft.progress import ProgressState
from rube.raft.raft_pb2 import (
    CONF_CHANGE_ADD_LEARNER_NODE,
    ENTRY_CONF_CHANGE_V2,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_VOTE_RESP,
    ConfChangeSingle,
    ConfChangeV2,
    HardState,
    Message,
)
from tests.unit.raft.members import Member, accept, log


def leader(**config: Any) -> Member:
    member = Member(**config)
    member.lead()
    return member


def to_2(member: Member) -> list[Message]:
    """The appends to member 2 that go out now."""
    return [message for message in member.drain() if message.to == 2 and message.type == MSG_APP]


def test_a_new_leader_probes_with_one_append() -> None:
    member = Member()
    member.campaign()
    member.step(MSG_VOTE_RESP)
    assert len(to_2(member)) == 1
    member.node.propose(b"a")
    assert to_2(member) == []
    member.step(MSG_HEARTBEAT_RESP)
    assert [len(message.entries) for message in to_2(member)] == [2]


def test_a_follower_that_answers_gets_appends_one_after_the_other() -> None:
    member = leader()
    for data in (b"a", b"b", b"c"):
        member.node.propose(data)
    sent = to_2(member)
    assert [(message.index, len(message.entries)) for message in sent] == [(1, 1), (2, 1), (3, 1)]


def test_a_full_window_stops_appends_until_one_is_answered() -> None:
    member = leader(inflight_messages_max=3)
    for number in range(5):
        member.node.propose(b"%d" % number)
    sent = to_2(member)
    assert len(sent) == 3
    member.node.step(accept(sent[1]))
    assert [[entry.data for entry in message.entries] for message in to_2(member)] == [[b"3", b"4"]]


def test_a_full_window_in_bytes_stops_appends() -> None:
    member = leader(inflight_bytes_max=1000, message_bytes_max=600)
    for _ in range(5):
        member.node.propose(b"x" * 400)
    sent = to_2(member)
    assert len(sent) == 3, "the one that crosses the limit is let through"
    member.node.step(accept(sent[0]))
    assert len(to_2(member)) == 1


def test_a_window_whose_messages_were_lost_is_probed_after_a_heartbeat() -> None:
    member = leader(inflight_messages_max=2)
    for _ in range(3):
        member.node.propose(b"a")
    assert len(to_2(member)) == 2
    member.step(MSG_HEARTBEAT_RESP)
    (probe,) = to_2(member)
    assert len(probe.entries) == 0
    member.node.propose(b"a")
    assert to_2(member) == [], "one probe a heartbeat"
    member.step(MSG_APP_RESP, 2, index=probe.index, reject=True, reject_hint=1, log_term=1)
    assert member.raft.tracker.progress[2].state is ProgressState.PROBE
    assert [message.index for message in to_2(member)] == [1]


def test_an_unreachable_follower_is_probed() -> None:
    member = leader()
    member.node.propose(b"a")
    to_2(member)
    member.node.report_unreachable(2)
    assert member.raft.tracker.progress[2].state is ProgressState.PROBE
    member.node.propose(b"b")
    assert [message.index for message in to_2(member)] == [1], "from what it is known to have"
    member.node.propose(b"c")
    assert to_2(member) == []


def test_a_probe_that_finds_nothing_new_still_ends() -> None:
    member = leader()
    member.node.report_unreachable(2)
    member.step(MSG_HEARTBEAT_RESP)
    (probe,) = to_2(member)
    member.node.step(accept(probe))
    assert member.raft.tracker.progress[2].state is ProgressState.REPLICATE


def test_answers_that_are_late_change_nothing() -> None:
    member = leader()
    member.node.propose(b"a")
    for message in to_2(member):
        member.node.step(accept(message))
    before = str(member.raft.tracker.progress[2])
    member.step(MSG_APP_RESP, 2, index=1)
    member.step(MSG_APP_RESP, 2, index=1, reject=True)
    assert str(member.raft.tracker.progress[2]) == before


@pytest.mark.parametrize(("limit", "sizes"), [(0, [1] * 4), (250, [2, 2]), (10_000, [4])])
def test_an_append_is_as_large_as_allowed(limit: int, sizes: list[int]) -> None:
    member = leader(message_bytes_max=limit, applying_bytes_max=1 << 20)
    member.raft.tracker.progress[2].become_probe()
    member.raft.tracker.progress[2].append_flow_paused = True
    member.node.propose(*[b"x" * 100] * 4)
    member.drain()
    member.step(MSG_APP_RESP, 2, index=1)
    assert [len(message.entries) for message in to_2(member)] == sizes


def test_proposals_past_the_uncommitted_limit_are_dropped_until_applied() -> None:
    member = leader(uncommitted_bytes_max=1000)
    member.node.propose(b"x" * 600)
    appends = to_2(member)
    with pytest.raises(ProposalDroppedError, match=r"600 bytes are uncommitted; 600 more would exceed .* 1000"):
        member.node.propose(b"x" * 600)
    member.node.propose(b"")
    for message in appends:
        member.node.step(accept(message))
    member.drain()
    member.node.propose(b"x" * 600)


def test_a_change_that_is_dropped_past_the_limit_is_taken_once_there_is_room() -> None:
    """It is not counted as one that is under way."""
    member = leader(uncommitted_bytes_max=1000)
    member.node.propose(b"x" * 1000)
    appends = to_2(member)
    change = ConfChangeV2(changes=[ConfChangeSingle(type=CONF_CHANGE_ADD_LEARNER_NODE, node_id=4)])
    with pytest.raises(ProposalDroppedError):
        member.node.propose_conf_change(change)
    for message in appends:
        member.node.step(accept(message))
    member.drain()
    member.node.propose_conf_change(change)
    (entry,) = to_2(member)[0].entries
    assert entry.type == ENTRY_CONF_CHANGE_V2


def test_the_first_proposal_is_taken_whatever_its_size() -> None:
    member = leader(uncommitted_bytes_max=10)
    member.node.propose(b"x" * 600)
    assert member.raft.log.last_index() == 2


def test_a_follower_never_counts_what_is_uncommitted() -> None:
    member = Member(hard_state=HardState(term=1), uncommitted_bytes_max=10)
    member.step(MSG_APP, entries=log(1, 1), commit=2)
    member.drain()
    assert member.raft.uncommitted_bytes == 0


def test_a_proposal_that_is_too_large_is_refused_everywhere() -> None:
    member = leader(proposal_bytes_max=10)
    member.node.propose(b"x" * 10)
    with pytest.raises(ProposalTooLargeError, match="11 bytes is more than proposal_bytes_max, 10"):
        member.node.propose(b"x", b"x" * 11)
    assert member.raft.log.last_index() == 2, "all or none"


def test_what_is_handed_out_to_apply_is_bounded() -> None:
    member = Member(hard_state=HardState(term=1), applying_bytes_max=1)
    member.step(MSG_APP, entries=log(1, 1, 1), commit=3)
    batches = []
    while member.node.has_ready():
        batches.append([entry.index for entry in member.handle().committed_entries])
    assert batches == [[1], [2], [3]]


def test_a_commit_index_goes_out_with_the_next_append_or_at_once() -> None:
    member = leader()
    member.node.propose(b"a")
    sent = member.drain()
    member.node.step(accept(sent[0]))
    assert [(message.to, message.commit) for message in member.drain()] == [(2, 2), (3, 2)]
    member.node.step(accept(sent[1]))
    assert member.drain() == [], "it knows already"


def test_heartbeats_commit_no_more_than_the_follower_has() -> None:
    member = leader()
    member.node.propose(b"a")
    for message in member.drain():
        if message.to == 2:
            member.node.step(accept(message))
    member.drain()
    member.tick()
    assert [(message.to, message.commit) for message in member.drain()] == [(2, 2), (3, 1)]


def test_what_a_leader_had_not_committed_does_not_count_when_it_leads_again() -> None:
    member = leader(uncommitted_bytes_max=1000)
    member.node.propose(b"x" * 600)
    member.drain()
    member.step(MSG_APP, 2, term=2, index=1, log_term=1, entries=log(2, first=2), commit=2)
    member.drain()
    member.lead()
    member.node.propose(b"x" * 600)
    assert member.raft.log.last_index() == 4
