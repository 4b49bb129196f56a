"""The node as its driver sees it: what it takes, what it refuses, what it hands out."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rube.api.errors import InvalidArgumentError
from rube.raft import (
    APPLY_THREAD,
    LocalMessageError,
    MemoryStorage,
    ProposalDroppedError,
    RaftConfig,
    RawNode,
    ReadMode,
    Role,
    SoftState,
    UnknownPeerError,
)
from rube.raft.machine import HANDLERS
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_HUP,
    MSG_PROP,
    MSG_SNAP_STATUS,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_UNREACHABLE,
    MSG_VOTE,
    Entry,
    HardState,
    Message,
    MessageType,
)
from rube.raft.state import TRANSITIONS
from tests.unit.raft.members import Member, cluster, log

FOR_THE_STORAGE = {MSG_STORAGE_APPEND, MSG_STORAGE_APPLY}


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_an_answer_to_every_message(role: Role) -> None:
    assert set(HANDLERS[role]) == set(MessageType.values()) - FOR_THE_STORAGE


def test_only_a_candidate_becomes_leader_and_a_leader_only_a_follower() -> None:
    assert [role for role, after in TRANSITIONS.items() if Role.LEADER in after] == [Role.CANDIDATE]
    assert TRANSITIONS[Role.LEADER] == {Role.FOLLOWER}
    member = Member()
    with pytest.raises(AssertionError, match="cannot become"):
        member.raft.become_leader()
    member.lead()
    with pytest.raises(AssertionError, match="cannot become"):
        member.raft.become_candidate()


def test_a_term_never_falls() -> None:
    member = Member(hard_state=HardState(term=3))
    with pytest.raises(AssertionError, match="cannot fall"):
        member.raft.become_follower(2, 0)


@pytest.mark.parametrize(
    "kind", [MSG_HUP, MSG_BEAT, MSG_CHECK_QUORUM, MSG_UNREACHABLE, MSG_SNAP_STATUS, MSG_STORAGE_APPEND_RESP]
)
def test_local_messages_are_refused_from_the_network(kind: MessageType.ValueType) -> None:
    with pytest.raises(LocalMessageError, match="from member 2 is not for the network"):
        Member().node.step(Message(type=kind, sender=2))


def test_a_message_of_a_type_that_is_unknown_is_refused() -> None:
    message = Message.FromString(bytes([1 << 3, 99]))
    with pytest.raises(LocalMessageError, match="unknown type 99"):
        Member().node.step(message)


def test_the_storage_only_answers() -> None:
    with pytest.raises(LocalMessageError, match="the storage sends no MSG_VOTE"):
        Member().node.step(Message(type=MSG_VOTE, sender=APPLY_THREAD, term=1))


def test_answers_of_who_is_no_member_are_refused() -> None:
    with pytest.raises(UnknownPeerError, match="9 is no member"):
        Member().node.step(Message(type=MSG_APP_RESP, sender=9, term=1))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": 0}, "id must be"),
        ({"id": APPLY_THREAD}, "id must be"),
        ({"heartbeat_ticks": 0}, "heartbeat_ticks must be positive"),
        ({"heartbeat_ticks": 10}, "election_ticks must be more"),
        ({"inflight_messages_max": 0}, "inflight_messages_max"),
        ({"inflight_bytes_max": 10}, "inflight_bytes_max must be at least message_bytes_max"),
        ({"message_bytes_max": 0}, "applying_bytes_max must be positive"),
        ({"check_quorum": False, "read_mode": ReadMode.LEASE_BASED}, "LEASE_BASED needs check_quorum"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(change: dict[str, Any], complaint: str) -> None:
    fields: dict[str, Any] = {"id": 1, "storage": MemoryStorage(), "random_below": random.Random(1).randrange}
    with pytest.raises(InvalidArgumentError, match=complaint):
        RaftConfig(**{**fields, **change})


def test_a_quiet_member_has_nothing_to_hand_out() -> None:
    member = Member(terms=(1, 1), hard_state=HardState(term=1))
    assert not member.node.has_ready()


def test_a_restarted_member_applies_from_where_it_stood() -> None:
    member = Member(terms=(1, 1, 1), hard_state=HardState(term=1, commit=3))
    assert [entry.index for entry in member.handle().committed_entries] == [1, 2, 3]
    member.start(applied=2)
    assert [entry.index for entry in member.handle().committed_entries] == [3]


def test_a_batch_must_be_advanced_before_the_next() -> None:
    member = Member()
    member.node.campaign()
    with pytest.raises(AssertionError, match="no batch to advance"):
        member.node.advance()
    member.node.ready()
    with pytest.raises(AssertionError, match="not advanced"):
        member.node.ready()


def test_a_batch_says_what_has_changed_and_whether_to_sync() -> None:
    member = Member(voters=(1,))
    member.node.campaign()
    first = member.handle()
    assert (first.soft_state, first.hard_state) == (SoftState(0, Role.CANDIDATE), HardState(term=1, vote=1))
    assert first.must_sync
    second = member.handle()
    assert (second.soft_state, second.hard_state) == (SoftState(1, Role.LEADER), None)
    assert [entry.index for entry in second.entries] == [1]
    assert second.must_sync
    third = member.handle()
    assert (third.hard_state, third.entries) == (HardState(term=1, vote=1, commit=1), [])
    assert [entry.index for entry in third.committed_entries] == [1]
    assert not third.must_sync
    assert not member.node.has_ready()


def test_a_single_voter_commits_what_is_durable_here() -> None:
    member = Member(voters=(1,))
    member.lead()
    member.node.propose(b"a")
    assert member.raft.log.committed == 1
    member.handle()
    assert member.raft.log.committed == 2


def test_messages_hold_copies_of_the_entries() -> None:
    member = Member()
    member.lead()
    member.node.propose(b"a")
    ready = member.node.ready()
    ready.messages[0].entries[0].data = b"changed by the network"
    assert ready.entries[0].data == b"a"
    assert ready.messages[1].entries[0].data == b"a"


def test_a_proposal_that_is_passed_on_stays_the_proposers() -> None:
    member = Member()
    member.step(MSG_APP, term=1)
    member.drain()
    proposal = Message(type=MSG_PROP, sender=3, to=1, entries=[Entry(data=b"a")])
    member.node.step(proposal)
    (forwarded,) = member.drain()
    assert (proposal.to, forwarded.to, forwarded.sender, forwarded.term) == (1, 2, 3, 0)


def test_a_batch_of_proposals_is_one_append() -> None:
    member = Member()
    member.lead()
    member.node.propose(b"a", b"b", b"c")
    assert [len(message.entries) for message in member.drain()] == [3, 3]


def test_followers_need_not_forward_proposals() -> None:
    net = cluster(3, proposal_forwarding=False)
    net.elect(1)
    with pytest.raises(ProposalDroppedError, match="does not forward proposals; member 1 leads"):
        net[2].node.propose(b"a")


def test_a_hard_state_that_the_log_cannot_have_is_refused() -> None:
    storage = MemoryStorage()
    storage.append(log(1))
    storage.set_hard_state(HardState(term=1, commit=5))
    with pytest.raises(AssertionError, match="commit, 5, is not in the log"):
        RawNode(RaftConfig(id=1, storage=storage, random_below=random.Random(1).randrange))


def test_a_status_is_a_picture() -> None:
    member = Member()
    member.lead()
    status = member.node.status()
    member.node.propose(b"a")
    assert (status.soft_state, status.applied, status.last_index) == (SoftState(1, Role.LEADER), 1, 1)
    assert [progress.match for progress in status.progress.values()] == [1, 1, 1]
    assert Member(2).node.status().progress == {}
