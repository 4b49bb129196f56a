"""The way of clients' proposals into a leader's log (paper section 5.3)."""

from __future__ import annotations

from collections.abc import Iterable

from rube.raft import membership, replication
from rube.raft.config import NONE
from rube.raft.entries import NO_LIMIT, payload_bytes
from rube.raft.errors import ProposalDroppedError, ProposalTooLargeError
from rube.raft.raft_pb2 import Entry, Message
from rube.raft.state import Raft


def check_size(raft: Raft, entries: Iterable[Entry]) -> None:
    """Raises ProposalTooLargeError for an entry past the limit."""
    limit = raft.config.proposal_bytes_max
    if limit >= NO_LIMIT:
        return
    for entry in entries:
        if len(entry.data) > limit:
            raise ProposalTooLargeError(
                f"raft member {raft.id}: a proposal of {len(entry.data)} bytes is more than proposal_bytes_max, {limit}"
            )


def on_propose(raft: Raft, message: Message) -> None:
    """Appends the entries at a leader and sends them out. Raises ProposalDroppedError, ProposalTooLargeError."""
    assert message.entries, "a proposal has entries"
    if raft.id not in raft.tracker.progress:
        raise ProposalDroppedError(f"raft member {raft.id} leads, but was removed")
    if raft.transferee != NONE:
        raise ProposalDroppedError(f"raft member {raft.id} transfers the leadership to {raft.transferee}")
    check_size(raft, message.entries)
    pending = raft.pending_conf_index
    entries = membership.admit_changes(raft, list(message.entries))
    if not replication.append_own(raft, entries):
        raft.pending_conf_index = pending  # or no change would be admitted until the log has that index
        raise ProposalDroppedError(
            f"raft member {raft.id}: {raft.uncommitted_bytes} bytes are uncommitted; {payload_bytes(entries)} more"
            f" would exceed uncommitted_bytes_max, {raft.uncommitted_bytes_max}"
        )
    replication.broadcast_append(raft)


def on_propose_as_candidate(raft: Raft, message: Message) -> None:
    """Raises ProposalDroppedError, since there is no leader."""
    raise ProposalDroppedError(f"raft member {raft.id} knows no leader in term {raft.term}")


def on_propose_as_follower(raft: Raft, message: Message) -> None:
    """Passes the proposal on to the leader. Raises ProposalDroppedError, ProposalTooLargeError."""
    if raft.leader == NONE:
        raise ProposalDroppedError(f"raft member {raft.id} knows no leader in term {raft.term}")
    if not raft.config.proposal_forwarding:
        raise ProposalDroppedError(f"raft member {raft.id} does not forward proposals; member {raft.leader} leads")
    check_size(raft, message.entries)
    raft.forward(message)
