"""A follower's handling of its leader's appends, heartbeats and snapshots (paper sections 5.3, 7)."""

from __future__ import annotations

from rube.raft import membership
from rube.raft.confchange import Changer
from rube.raft.entries import EntryId
from rube.raft.raft_pb2 import MSG_APP_RESP, MSG_HEARTBEAT_RESP, Message, Snapshot
from rube.raft.state import Raft, Role
from rube.raft.tracker import ProgressTracker


def _follow(raft: Raft, message: Message) -> None:
    """Follows the sender, which leads this term. A candidate has lost to it (paper section 5.2)."""
    if raft.role is Role.FOLLOWER:
        raft.election_elapsed = 0
        raft.leader = message.sender
    else:
        raft.become_follower(message.term, message.sender)


def on_append(raft: Raft, message: Message) -> None:
    """Appends the leader's entries, or answers where the logs may still agree (paper figure 2, AppendEntries)."""
    _follow(raft, message)
    log = raft.log
    if message.index < log.committed:
        # An outdated append; answer how far the logs certainly agree.
        raft.send(Message(type=MSG_APP_RESP, to=message.sender, index=log.committed))
        return
    previous = EntryId(message.log_term, message.index)
    last = log.maybe_append(previous, list(message.entries), message.commit)
    if last is not None:
        raft.send(Message(type=MSG_APP_RESP, to=message.sender, index=last))
        return
    raft.note(f"refuses entries behind {previous.index}, term {previous.term}")
    # The largest index where the terms allow that the logs agree, so that the leader need not try one by one.
    hint, hint_term = log.conflict_by_term(min(message.index, log.last_index()), message.log_term)
    raft.send(
        Message(
            type=MSG_APP_RESP,
            to=message.sender,
            index=message.index,
            reject=True,
            reject_hint=hint,
            log_term=hint_term,
        )
    )


def on_heartbeat(raft: Raft, message: Message) -> None:
    """Notes that the leader is alive, and its commit index; this member has all entries up to it (see
    `broadcast_heartbeat`)."""
    _follow(raft, message)
    raft.log.commit_to(message.commit)
    raft.send(Message(type=MSG_HEARTBEAT_RESP, to=message.sender, context=message.context))


def on_snapshot(raft: Raft, message: Message) -> None:
    """Takes the leader's snapshot, or answers how far this member is without it (paper section 7, InstallSnapshot)."""
    _follow(raft, message)
    snapshot = Snapshot()
    snapshot.CopyFrom(message.snapshot)
    index = raft.log.last_index() if restore(raft, snapshot) else raft.log.committed
    raft.send(Message(type=MSG_APP_RESP, to=message.sender, index=index))


def restore(raft: Raft, snapshot: Snapshot) -> bool:
    """Replaces log and configuration by the snapshot's. Returns False if it is outdated, or not for this member."""
    metadata = snapshot.metadata
    if metadata.index <= raft.log.committed:
        raft.note(f"ignores the snapshot at {metadata.index}: {raft.log.committed} is committed")
        return False
    assert raft.role is Role.FOLLOWER, "a snapshot comes from the leader that this member follows"
    conf_state = metadata.conf_state
    # Members in learners_next vote in the outgoing half.
    if raft.id not in (*conf_state.voters, *conf_state.learners, *conf_state.voters_outgoing):
        raft.note(f"ignores the snapshot at {metadata.index}: this member is not in its configuration")
        return False
    if raft.log.matches(EntryId(metadata.term, metadata.index)):
        # The log has the entry, so it has all before it, too; what comes after it may be worth keeping.
        raft.note(f"commits up to the snapshot at {metadata.index} without it")
        raft.log.commit_to(metadata.index)
        return False
    raft.log.restore(snapshot)
    raft.tracker = ProgressTracker(
        inflight_messages_max=raft.config.inflight_messages_max, inflight_bytes_max=raft.config.inflight_bytes_max
    )
    membership.switch(raft, Changer(raft.tracker, raft.log.last_index()).restore(conf_state))
    raft.note(f"took the snapshot at {metadata.index}")
    return True
