"""A leader's replication of its log: appends, heartbeats, and the commit index (paper section 5.3)."""

from __future__ import annotations

from rube.raft import snapshots
from rube.raft.entries import EntryId, payload_bytes
from rube.raft.errors import LogCompactedError
from rube.raft.progress import ProgressState
from rube.raft.raft_pb2 import MSG_APP, MSG_APP_RESP, MSG_HEARTBEAT, Entry, Message
from rube.raft.state import Raft
from rube.raft.trace import Step


def append_own(raft: Raft, proposed: list[Entry]) -> bool:
    """Appends copies with this term at the end of the leader's log. Returns False if too much would be uncommitted.

    The leader's own acknowledgement is a message like any other, which waits until the entries are durable: so it may
    write its log while the followers write theirs (dissertation section 10.2.1).
    """
    if not _reserve(raft, payload_bytes(proposed)):
        return False
    index = raft.log.last_index()
    entries = [
        Entry(type=entry.type, term=raft.term, index=index + offset, data=entry.data)
        for offset, entry in enumerate(proposed, start=1)
    ]
    raft.observe(Step.REPLICATE, message=Message(entries=entries) if raft.config.observer else None)
    last = raft.log.append(entries)
    raft.send(Message(type=MSG_APP_RESP, to=raft.id, index=last))
    return True


def _reserve(raft: Raft, payload: int) -> bool:
    """Counts the payload as uncommitted. The first one is accepted whatever its size, and so are empty entries."""
    total = raft.uncommitted_bytes + payload
    if raft.uncommitted_bytes > 0 and payload > 0 and total > raft.uncommitted_bytes_max:
        return False
    raft.uncommitted_bytes = total
    return True


def release(raft: Raft, entries: list[Entry]) -> None:
    """Subtracts applied entries, which may be from before this leader counted."""
    if raft.uncommitted_bytes:
        raft.uncommitted_bytes = max(0, raft.uncommitted_bytes - payload_bytes(entries))


def broadcast_append(raft: Raft) -> None:
    """Sends every other member what it may be sent, if only the commit index."""
    for member in sorted(raft.tracker.progress):
        if member != raft.id:
            send_append(raft, member)


def send_append(raft: Raft, to: int, *, empty: bool = True) -> bool:
    """Sends the member the next entries, or the snapshot that it needs first. Returns False if there was nothing to
    send.

    `empty` also sends an append without entries: for the commit index, or as a probe.
    """
    progress = raft.tracker.progress[to]
    if progress.is_paused():
        return False
    if not empty and progress.next > raft.log.last_index():
        return False
    previous = progress.next - 1
    term = raft.log.term(previous)
    if term is None:
        return snapshots.send_snapshot(raft, to, progress)
    entries: list[Entry] = []
    # With a full window only empty appends are sent: if everything under way is lost, their answers show it.
    if progress.state is not ProgressState.REPLICATE or not progress.inflights.full():
        try:
            entries = raft.log.entries(progress.next, raft.config.message_bytes_max)
        except LogCompactedError:
            return snapshots.send_snapshot(raft, to, progress)
    if not entries and not empty:
        return False
    committed = raft.log.committed
    raft.send(Message(type=MSG_APP, to=to, index=previous, log_term=term, entries=entries, commit=committed))
    progress.sent_entries(len(entries), payload_bytes(entries) if raft.config.inflight_bytes_max else 0)
    progress.sent_commit = committed
    return True


def on_beat(raft: Raft, message: Message) -> None:
    """Sends heartbeats, since they are due."""
    broadcast_heartbeat(raft)


def broadcast_heartbeat(raft: Raft) -> None:
    """Sends every other member a heartbeat, whose answer confirms the waiting reads (dissertation section 6.4)."""
    context = raft.reads.begin_round(raft.id, raft.ticks)
    for member, progress in raft.tracker:
        if member == raft.id:
            continue
        # Past its match index the follower's log may differ: it must not commit that part.
        commit = min(progress.match, raft.log.committed)
        raft.send(Message(type=MSG_HEARTBEAT, to=member, commit=commit, context=context))
        progress.sent_commit = commit


def maybe_commit(raft: Raft) -> bool:
    """Commits what is on a quorum, if it ends in an entry of this term (paper sections 5.3, 5.4.2)."""
    committed = raft.log.maybe_commit(EntryId(raft.term, raft.tracker.committed()))
    raft.observe(Step.COMMIT)
    return committed


def on_check_quorum(raft: Raft, message: Message) -> None:
    """Steps down unless a quorum was heard from within an election timeout (dissertation section 6.2)."""
    if not raft.tracker.quorum_active():
        raft.note("steps down: no quorum was heard from")
        raft.become_follower(raft.term, 0)
    for member, progress in raft.tracker:
        if member != raft.id:
            progress.recent_active = False
