"""Handlers of the storage's reports: entries written, snapshot stored, entries applied."""

from __future__ import annotations

from rube.raft import proposals, replication
from rube.raft.entries import EntryId
from rube.raft.errors import ProposalDroppedError
from rube.raft.raft_pb2 import ENTRY_CONF_CHANGE_V2, MSG_PROP, Entry, Message
from rube.raft.state import Raft, Role


def on_appended(raft: Raft, message: Message) -> None:
    """Notes that entries up to (log_term, index) are durable, and so is the snapshot."""
    if message.index and not raft.log.unstable.stable_to(EntryId(message.log_term, message.index)):
        raft.note(f"entry {message.index} of term {message.log_term} was written, but is not the log's any more")
    on_snapshot_stored(raft, message)


def on_snapshot_stored(raft: Raft, message: Message) -> None:
    """Notes that the message's snapshot, if it has one, is durable and applied."""
    if message.HasField("snapshot"):
        index = message.snapshot.metadata.index
        raft.log.unstable.stable_snapshot_to(index)
        applied_to(raft, index)


def on_applied(raft: Raft, message: Message) -> None:
    """Notes that the entries are applied."""
    entries = list(message.entries)
    if entries:
        applied(raft, entries)


def applied(raft: Raft, entries: list[Entry]) -> None:
    """Notes that the entries, which were handed out together, are applied."""
    applied_to(raft, entries[-1].index)
    replication.release(raft, entries)


def applied_to(raft: Raft, index: int) -> None:
    """Notes that everything up to `index` is applied; leaves a joint configuration once that is (dissertation section
    4.3)."""
    raft.log.applied_to(max(index, raft.log.applied))
    due = raft.tracker.config.auto_leave and raft.log.applied >= raft.pending_conf_index
    if not due or raft.role is not Role.LEADER:
        return
    leave = Message(type=MSG_PROP, sender=raft.id, entries=[Entry(type=ENTRY_CONF_CHANGE_V2)])
    try:
        proposals.on_propose(raft, leave)
    except ProposalDroppedError as error:  # a transfer is under way: the next applied entry, or leader, tries again
        raft.note(f"does not leave the joint configuration yet: {error}")
