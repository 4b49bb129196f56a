"""A leader's snapshots, for members whose next entry is compacted (paper section 7, dissertation chapter 5)."""

from __future__ import annotations

from rube.raft.errors import SnapshotUnavailableError
from rube.raft.progress import Progress, ProgressState
from rube.raft.raft_pb2 import MSG_SNAP, Message
from rube.raft.state import Raft


def send_snapshot(raft: Raft, to: int, progress: Progress) -> bool:
    """Sends the storage's snapshot, and nothing else until it has arrived. Returns False if there is none, or the
    member is not active."""
    if not progress.recent_active:
        raft.note(f"sends no snapshot to member {to}: it was not heard from recently")
        return False
    pending = raft.log.unstable.snapshot
    try:
        snapshot = pending if pending is not None else raft.log.storage.snapshot()
    except SnapshotUnavailableError:
        raft.note(f"sends no snapshot to member {to}: there is none yet")
        return False
    index = snapshot.metadata.index
    assert index > 0, "compacted entries are in a snapshot"
    progress.become_snapshot(index)
    raft.note(f"sends the snapshot at {index} to member {to}; appends to it pause")
    raft.send(Message(type=MSG_SNAP, to=to, snapshot=snapshot))
    return True


def on_snapshot_status(raft: Raft, message: Message, progress: Progress) -> None:
    """Notes how the driver's transfer to the member has ended. Success still awaits the member's own answer."""
    if progress.state is not ProgressState.SNAPSHOT:
        return
    if message.reject:
        # Or the next probe would start after a snapshot that the member does not have.
        progress.pending_snapshot = 0
    progress.become_probe()
    # Paused until the member's answer, or the next heartbeat.
    progress.append_flow_paused = True
    raft.note(f"the snapshot for member {message.sender} was {'lost' if message.reject else 'delivered'}")
