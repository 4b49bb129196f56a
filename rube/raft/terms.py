"""Terms, Raft's logical clock (paper section 5.1): what a message's term does before the message itself."""

from __future__ import annotations

from rube.raft import election, storage_writes
from rube.raft.config import NONE
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_VOTE,
    Message,
)
from rube.raft.state import Raft

# Only the term's leader sends these.
_FROM_LEADER = frozenset({MSG_APP, MSG_HEARTBEAT, MSG_SNAP})
_REQUESTS = frozenset({MSG_VOTE, MSG_PRE_VOTE})


def admit(raft: Raft, message: Message) -> bool:
    """Takes note of the message's term; True when the message is to be handled."""
    if not message.term or message.term == raft.term:
        return True
    return _admit_later(raft, message) if message.term > raft.term else _refuse_earlier(raft, message)


def _admit_later(raft: Raft, message: Message) -> bool:
    """A later term ends this one, except before a leader's lease is over, and for pre-votes."""
    kind = message.type
    if kind in _REQUESTS and election.in_lease(raft) and message.context != election.Campaign.TRANSFER.value:
        # Who cannot hear the leader shall not depose it (dissertation section 4.2.3).
        raft.note(f"ignores member {message.sender}'s election: the leader was heard of")
        return False
    if kind == MSG_PRE_VOTE:
        return True  # nobody is in that term yet
    if kind == MSG_PRE_VOTE_RESP and not message.reject:
        return True  # our own next term, come back
    raft.become_follower(message.term, message.sender if kind in _FROM_LEADER else NONE)
    return True


def _refuse_earlier(raft: Raft, message: Message) -> bool:
    """Nothing from an earlier term is handled; some of it is answered so that nobody stays there."""
    kind = message.type
    if kind in (MSG_HEARTBEAT, MSG_APP):
        if raft.config.check_quorum or raft.config.pre_vote:
            # With these no vote request may get through to a leader in an earlier term; this answer does, and it
            # steps down, so that a member with a later term is not shut out for ever.
            raft.send(Message(type=MSG_APP_RESP, to=message.sender))
    elif kind == MSG_PRE_VOTE:
        # Else a candidate of a later term and a shorter log could keep others from ever winning.
        raft.send(Message(type=MSG_PRE_VOTE_RESP, to=message.sender, term=raft.term, reject=True))
    elif kind == MSG_STORAGE_APPEND_RESP:
        # The entries may have been overwritten in a later term, see `ready.append_response`; a snapshot is committed
        # state, and of no term.
        storage_writes.on_snapshot_stored(raft, message)
    return False
