"""Terms, Raft's logical clock (paper section 5.1): the effect of a message's term before the message itself."""

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

# Messages that only the term's leader sends.
_FROM_LEADER = frozenset({MSG_APP, MSG_HEARTBEAT, MSG_SNAP})
_REQUESTS = frozenset({MSG_VOTE, MSG_PRE_VOTE})


def admit(raft: Raft, message: Message) -> bool:
    """Handles the message's term. Returns True if the message is to be handled."""
    if not message.term or message.term == raft.term:
        return True
    return _admit_later(raft, message) if message.term > raft.term else _refuse_earlier(raft, message)


def _admit_later(raft: Raft, message: Message) -> bool:
    """Ends this term for a later one, except before a leader's lease is over, and for pre-votes."""
    kind = message.type
    if kind in _REQUESTS and election.in_lease(raft) and message.context != election.Campaign.TRANSFER.value:
        # A member that cannot hear the leader shall not depose it (dissertation section 4.2.3).
        raft.note(f"ignores member {message.sender}'s election: the leader was heard from")
        return False
    if kind == MSG_PRE_VOTE:
        return True  # no member is in that term yet
    if kind == MSG_PRE_VOTE_RESP and not message.reject:
        return True  # this member's own next term, come back
    raft.become_follower(message.term, message.sender if kind in _FROM_LEADER else NONE)
    return True


def _refuse_earlier(raft: Raft, message: Message) -> bool:
    """Returns False. A message of an earlier term is not handled, but some get an answer, so that the sender moves
    on."""
    kind = message.type
    if kind in (MSG_HEARTBEAT, MSG_APP):
        if raft.config.check_quorum or raft.config.pre_vote:
            # With these options no vote request may reach a leader in an earlier term. This answer does, and the leader
            # steps down, so that it does not shut out a member with a later term forever.
            raft.send(Message(type=MSG_APP_RESP, to=message.sender))
    elif kind == MSG_PRE_VOTE:
        # Else a candidate of a later term and a shorter log could keep others from ever winning.
        raft.send(Message(type=MSG_PRE_VOTE_RESP, to=message.sender, term=raft.term, reject=True))
    elif kind == MSG_STORAGE_APPEND_RESP:
        # The entries may have been overwritten in a later term, see `ready.append_response`; a snapshot is committed
        # state, and of no term.
        storage_writes.on_snapshot_stored(raft, message)
    return False
