"""A leader's handling of its followers' answers (paper section 5.3)."""

from __future__ import annotations

from rube.raft import reading, replication, transfer
from rube.raft.progress import Progress, ProgressState
from rube.raft.raft_pb2 import Message
from rube.raft.state import Raft


def on_append_response(raft: Raft, message: Message, progress: Progress) -> None:
    """Handles the answer of a follower that has appended, or refused; or of the leader's own log."""
    progress.recent_active = True
    if message.reject:
        _on_rejected(raft, message, progress)
        return
    # A known index still shows that the logs agree where a probe was out.
    probing = progress.state is ProgressState.PROBE
    if not progress.maybe_update(message.index) and not (probing and progress.match == message.index):
        return
    _resume(raft, message, progress)
    if replication.maybe_commit(raft):
        reading.release_postponed(raft)
        replication.broadcast_append(raft)
    elif message.sender != raft.id and progress.can_bump_commit(raft.log.committed):
        # Send it now rather than with the next heartbeat.
        replication.send_append(raft, message.sender)
    if message.sender != raft.id:
        # The window may have opened for more than one message.
        while replication.send_append(raft, message.sender, empty=False):
            pass
    transfer.on_caught_up(raft, message.sender, progress)


def _resume(raft: Raft, message: Message, progress: Progress) -> None:
    """Changes how the follower is sent entries, after its acknowledgement."""
    if progress.state is ProgressState.PROBE:
        progress.become_replicate()
    elif progress.state is ProgressState.REPLICATE:
        progress.inflights.free_le(message.index)
    elif progress.match + 1 >= raft.log.first_index():
        # With or without a snapshot, from here on the log suffices. Through PROBE, which heeds the snapshot.
        raft.note(f"member {message.sender} needs no snapshot any more")
        progress.become_probe()
        progress.become_replicate()


def _on_rejected(raft: Raft, message: Message, progress: Progress) -> None:
    """Probes further back: where the follower's hint and this log may agree, a term at a time.

    Above that, this log's terms are larger than the follower's, and along a log terms never fall: it would refuse.
    """
    probe = message.reject_hint
    if message.log_term > 0:
        probe, _ = raft.log.conflict_by_term(message.reject_hint, message.log_term)
    if progress.maybe_decrease_to(message.index, probe):
        raft.note(f"member {message.sender} refused entry {message.index}; next is {progress.next}")
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        replication.send_append(raft, message.sender)


def on_heartbeat_response(raft: Raft, message: Message, progress: Progress) -> None:
    """Handles the answer of a follower: sends to it again if it was paused, and counts its confirmation of reads."""
    progress.recent_active = True
    progress.append_flow_paused = False
    # With a full window this is an empty append; in PROBE its answer ends the probe.
    if progress.match < raft.log.last_index() or progress.state is ProgressState.PROBE:
        replication.send_append(raft, message.sender)
    reading.on_confirmation(raft, message)


def on_unreachable(raft: Raft, message: Message, progress: Progress) -> None:
    """Handles the probable loss of an append to the member, and of others after it: probes for its last entry."""
    if progress.state is ProgressState.REPLICATE:
        progress.become_probe()
    raft.note(f"member {message.sender} is unreachable")
