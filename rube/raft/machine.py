"""The state machine: the handler of each message in each role, and the effect of time (paper figure 4)."""

from __future__ import annotations

from collections.abc import Callable

from rube.raft import (
    election,
    following,
    proposals,
    reading,
    replication,
    responses,
    snapshots,
    storage_writes,
    terms,
    transfer,
)
from rube.raft.confchange import Changer
from rube.raft.config import NONE, RaftConfig, ReadMode
from rube.raft.membership import switch
from rube.raft.progress import Progress
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_HUP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_SNAP_STATUS,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY_RESP,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    MSG_VOTE,
    MSG_VOTE_RESP,
    Message,
)
from rube.raft.state import Raft, Role
from rube.raft.trace import Step

Handler = Callable[[Raft, Message], None]
MemberHandler = Callable[[Raft, Message, Progress], None]


def _ignore(raft: Raft, message: Message) -> None:
    """Ignores a message that is out of date, or not for this role."""


def _of_member(handler: MemberHandler) -> Handler:
    """Returns a handler that gets the sender's progress; a message from a non-member is ignored."""

    def handle(raft: Raft, message: Message) -> None:
        progress = raft.tracker.progress.get(message.sender)
        if progress is None:
            raft.note(f"ignores {message.sender}, which is not a member")
        else:
            handler(raft, message, progress)

    return handle


_ANY_ROLE: dict[int, Handler] = {
    MSG_HUP: election.on_hup,
    MSG_VOTE: election.on_vote_request,
    MSG_PRE_VOTE: election.on_vote_request,
    MSG_STORAGE_APPEND_RESP: storage_writes.on_appended,
    MSG_STORAGE_APPLY_RESP: storage_writes.on_applied,
}

_FOLLOWER: dict[int, Handler] = {
    MSG_PROP: proposals.on_propose_as_follower,
    MSG_APP: following.on_append,
    MSG_HEARTBEAT: following.on_heartbeat,
    MSG_SNAP: following.on_snapshot,
    MSG_TRANSFER_LEADER: transfer.on_transfer_as_follower,
    MSG_FORGET_LEADER: transfer.on_forget_leader,
    MSG_TIMEOUT_NOW: transfer.on_timeout_now,
    MSG_READ_INDEX: reading.on_read_index_as_follower,
    MSG_READ_INDEX_RESP: reading.on_read_index_response,
    MSG_BEAT: _ignore,
    MSG_CHECK_QUORUM: _ignore,
    MSG_APP_RESP: _ignore,
    MSG_VOTE_RESP: _ignore,
    MSG_PRE_VOTE_RESP: _ignore,
    MSG_HEARTBEAT_RESP: _ignore,
    MSG_UNREACHABLE: _ignore,
    MSG_SNAP_STATUS: _ignore,
}

_CANDIDATE: dict[int, Handler] = {
    MSG_PROP: proposals.on_propose_as_candidate,
    MSG_APP: following.on_append,
    MSG_HEARTBEAT: following.on_heartbeat,
    MSG_SNAP: following.on_snapshot,
    MSG_VOTE_RESP: election.on_vote,
    MSG_PRE_VOTE_RESP: election.on_vote,
    MSG_TRANSFER_LEADER: _ignore,
    MSG_FORGET_LEADER: _ignore,
    MSG_TIMEOUT_NOW: _ignore,
    MSG_READ_INDEX: _ignore,
    MSG_READ_INDEX_RESP: _ignore,
    MSG_BEAT: _ignore,
    MSG_CHECK_QUORUM: _ignore,
    MSG_APP_RESP: _ignore,
    MSG_HEARTBEAT_RESP: _ignore,
    MSG_UNREACHABLE: _ignore,
    MSG_SNAP_STATUS: _ignore,
}

_LEADER: dict[int, Handler] = {
    MSG_BEAT: replication.on_beat,
    MSG_CHECK_QUORUM: replication.on_check_quorum,
    MSG_PROP: proposals.on_propose,
    MSG_READ_INDEX: reading.on_read_index,
    MSG_APP_RESP: _of_member(responses.on_append_response),
    MSG_HEARTBEAT_RESP: _of_member(responses.on_heartbeat_response),
    MSG_SNAP_STATUS: _of_member(snapshots.on_snapshot_status),
    MSG_UNREACHABLE: _of_member(responses.on_unreachable),
    MSG_TRANSFER_LEADER: _of_member(transfer.on_transfer),
    MSG_FORGET_LEADER: _ignore,
    MSG_TIMEOUT_NOW: _ignore,
    MSG_READ_INDEX_RESP: _ignore,
    MSG_VOTE_RESP: _ignore,
    MSG_PRE_VOTE_RESP: _ignore,
    # There is one leader a term (election safety), so no member sends these; a forged one does no harm.
    MSG_APP: _ignore,
    MSG_HEARTBEAT: _ignore,
    MSG_SNAP: _ignore,
}

HANDLERS: dict[Role, dict[int, Handler]] = {
    Role.FOLLOWER: _ANY_ROLE | _FOLLOWER,
    Role.PRE_CANDIDATE: _ANY_ROLE | _CANDIDATE,
    Role.CANDIDATE: _ANY_ROLE | _CANDIDATE,
    Role.LEADER: _ANY_ROLE | _LEADER,
}
"""All messages that a member handles; MSG_STORAGE_APPEND and MSG_STORAGE_APPLY are for its storage."""


def start(config: RaftConfig) -> Raft:
    """Returns a member as its storage has left it: a follower without a leader (paper section 5.2, dissertation section
    3.8)."""
    raft = Raft(config)
    raft.observe(Step.INIT_STATE)
    hard_state, conf_state = config.storage.initial_state()
    switch(raft, Changer(raft.tracker, raft.log.last_index()).restore(conf_state))
    if hard_state.term or hard_state.vote or hard_state.commit:
        last = raft.log.last_index()
        assert raft.log.committed <= hard_state.commit <= last, (
            f"the hard state's commit, {hard_state.commit}, is not in the log, {raft.log.committed} to {last}"
        )
        raft.log.committed = hard_state.commit
        raft.term = hard_state.term
        raft.vote = hard_state.vote
        if config.read_mode is ReadMode.LEASE_BASED:
            raft.guarded_ticks = config.election_ticks
    if config.applied:
        raft.log.applied_to(config.applied)
    raft.become_follower(raft.term, NONE)
    return raft


def step(raft: Raft, message: Message) -> None:
    """Handles a message, which the caller must not use again. Raises ProposalDroppedError, ProposalTooLargeError."""
    raft.observe(Step.RECEIVE, message=message)
    if terms.admit(raft, message):
        HANDLERS[raft.role][message.type](raft, message)


def tick(raft: Raft) -> None:
    """Lets a tick pass, after which an election or heartbeats may be due."""
    raft.ticks += 1
    raft.election_elapsed += 1
    if raft.role is not Role.LEADER:
        if raft.promotable() and raft.election_elapsed >= raft.randomized_election_timeout:
            raft.election_elapsed = 0
            step(raft, Message(type=MSG_HUP, sender=raft.id))
        return
    raft.heartbeat_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum:
            step(raft, Message(type=MSG_CHECK_QUORUM, sender=raft.id))
        # A transfer that takes so long has failed.
        raft.transferee = NONE
    if raft.role is Role.LEADER and raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        step(raft, Message(type=MSG_BEAT, sender=raft.id))
