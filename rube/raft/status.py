"""The status of a member, for people and for metrics."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from rube.raft.progress import Progress
from rube.raft.raft_pb2 import HardState
from rube.raft.state import Raft, Role, SoftState
from rube.raft.tracker import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A copy of a member's state; later steps do not change it."""

    id: int
    hard_state: HardState
    soft_state: SoftState
    applied: int
    first_index: int
    last_index: int
    transferee: int
    """Leader: the member that the leadership is being transferred to, or 0."""
    config: Config
    progress: dict[int, Progress]
    """Leader only: the progress of each member."""


def status_of(raft: Raft) -> Status:
    """Returns the member's status."""
    progress: dict[int, Progress] = {}
    if raft.role is Role.LEADER:
        for member, current in raft.tracker:
            progress[member] = copy.copy(current)
            progress[member].inflights = current.inflights.clone()
    return Status(
        id=raft.id,
        hard_state=raft.hard_state(),
        soft_state=raft.soft_state(),
        applied=raft.log.applied,
        first_index=raft.log.first_index(),
        last_index=raft.log.last_index(),
        transferee=raft.transferee,
        config=raft.tracker.config,
        progress=progress,
    )
