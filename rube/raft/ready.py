"""The batches that a core hands out to persist, send and apply, and the messages with them to asynchronous storage."""

from __future__ import annotations

from dataclasses import dataclass, field

from rube.raft.config import APPEND_THREAD, APPLY_THREAD
from rube.raft.raft_pb2 import (
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    Entry,
    HardState,
    Message,
    Snapshot,
)
from rube.raft.reads import ReadState
from rube.raft.state import Raft, Role, SoftState

States = tuple[int, Role, int, int, int]
"""A member's soft state, then its hard state: leader, role, term, vote, committed."""


def states_of(raft: Raft) -> States:
    """Returns the states that a batch contains if they have changed since the last one."""
    return raft.leader, raft.role, raft.term, raft.vote, raft.log.committed


@dataclass(slots=True, kw_only=True)
class Ready:
    """A batch, to read only.

    With synchronous storage, in this order: make `snapshot`, `entries` and `hard_state` durable; send `messages`; apply
    `snapshot`, then `committed_entries`; call `advance`. With asynchronous storage `messages` contain all of it:
    deliver those for APPEND_THREAD and APPLY_THREAD to the storage, in order, and the others at once.
    """

    soft_state: SoftState | None = None
    """The changed state; None if it has not changed."""
    hard_state: HardState | None = None
    snapshot: Snapshot | None = None
    entries: list[Entry] = field(default_factory=list)
    committed_entries: list[Entry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    must_sync: bool = False
    """True if durable means synced; if not (only the commit index has moved), the write may wait for the next one."""


def collect(raft: Raft, told: States) -> Ready:
    """Returns the batch, given the states that were handed out last; changes nothing."""
    log, asynchronous = raft.log, raft.config.async_storage_writes
    leader, role, term, vote, committed = told
    ready = Ready(
        soft_state=None if leader == raft.leader and role is raft.role else raft.soft_state(),
        hard_state=None if (raft.term, raft.vote, log.committed) == (term, vote, committed) else raft.hard_state(),
        snapshot=log.unstable.next_snapshot(),
        entries=log.unstable.next_entries(),
        # Others may commit an entry before it is durable here. Synchronous storage makes it durable first.
        committed_entries=log.next_committed(allow_unstable=not asynchronous),
        messages=list(raft.messages),
        read_states=list(raft.read_states),
    )
    ready.must_sync = bool(ready.entries) or raft.term != term or raft.vote != vote
    if not asynchronous:
        ready.messages += [message for message in raft.messages_after_append if message.to != raft.id]
        return ready
    if ready.entries or ready.hard_state is not None or ready.snapshot is not None or raft.messages_after_append:
        ready.messages.append(_append_message(raft, ready))
    if ready.committed_entries:
        ready.messages.append(_apply_message(raft, ready.committed_entries))
    return ready


def _append_message(raft: Raft, ready: Ready) -> Message:
    message = Message(
        type=MSG_STORAGE_APPEND,
        to=APPEND_THREAD,
        sender=raft.id,
        entries=ready.entries,
        snapshot=ready.snapshot,
        responses=raft.messages_after_append,
    )
    if ready.hard_state is not None:
        state = ready.hard_state
        message.term, message.vote, message.commit = state.term, state.vote, state.commit
    response = append_response(raft, ready)
    if response is not None:
        # After a leader's own acknowledgement, which is cheaper while the entries are still unstable.
        message.responses.append(response)
    return message


def append_response(raft: Raft, ready: Ready) -> Message | None:
    """Returns the message which tells the core that everything it has handed out is durable; None if it need not know.

    Written entries may leave the unstable log only when no write under way can still replace them in the storage.
    Entries written in one term, overwritten in a second and back again in a third look right while the second's write
    is still to come. So the response carries the term, and counts only in that term. Since answers may so be lost, each
    one vouches for the end of the whole log, not just for its own entries: every change of term writes a hard state,
    whose response does.
    """
    unstable = raft.log.unstable
    if not unstable.entries and ready.snapshot is None:
        return None
    response = Message(
        type=MSG_STORAGE_APPEND_RESP,
        to=raft.id,
        sender=APPEND_THREAD,
        term=raft.term,
        snapshot=ready.snapshot,
    )
    if unstable.entries:
        last = raft.log.last_id()
        response.index, response.log_term = last.index, last.term
    return response


def _apply_message(raft: Raft, entries: list[Entry]) -> Message:
    message = Message(type=MSG_STORAGE_APPLY, to=APPLY_THREAD, sender=raft.id, entries=entries)
    # The message which tells the core that they are applied; it has no term.
    message.responses.add(type=MSG_STORAGE_APPLY_RESP, to=raft.id, sender=APPLY_THREAD, entries=entries)
    return message
