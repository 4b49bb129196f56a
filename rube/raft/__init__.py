"""Raft: the consensus core, pure and synchronous.

Messages, ticks, proposals and requests go in; a batch of what to persist, to send and to apply comes out (`RawNode`).
This package has elections, replication, membership, reads, snapshots and flow control. It has no asyncio, host, clock,
sockets, disks or global randomness; the core's driver brings those. Behaviour follows etcd-io/raft 3.6 message for
message. Comments cite the "paper" (Ongaro and Ousterhout, In Search of an Understandable Consensus Algorithm, extended
version) and the "dissertation" (Ongaro, Consensus: Bridging Theory and Practice).
"""

from __future__ import annotations

from rube.raft.confchange import ConfChangeError
from rube.raft.config import APPEND_THREAD, APPLY_THREAD, NONE, RaftConfig, ReadMode
from rube.raft.entries import NO_LIMIT
from rube.raft.errors import (
    ConfChangeInvalidError,
    LocalMessageError,
    LogCompactedError,
    LogUnavailableError,
    ProposalDroppedError,
    ProposalTooLargeError,
    SnapshotOutOfDateError,
    SnapshotUnavailableError,
    UnknownPeerError,
)
from rube.raft.membership import AnyConfChange
from rube.raft.node import RawNode
from rube.raft.reads import ReadState
from rube.raft.ready import Ready
from rube.raft.state import Raft, Role, SoftState
from rube.raft.status import Status
from rube.raft.storage import MemoryStorage, Storage
from rube.raft.trace import Observer, Step

__all__ = [
    "APPEND_THREAD",
    "APPLY_THREAD",
    "NONE",
    "NO_LIMIT",
    "AnyConfChange",
    "ConfChangeError",
    "ConfChangeInvalidError",
    "LocalMessageError",
    "LogCompactedError",
    "LogUnavailableError",
    "MemoryStorage",
    "Observer",
    "ProposalDroppedError",
    "ProposalTooLargeError",
    "Raft",
    "RaftConfig",
    "RawNode",
    "ReadMode",
    "ReadState",
    "Ready",
    "Role",
    "SnapshotOutOfDateError",
    "SnapshotUnavailableError",
    "SoftState",
    "Status",
    "Step",
    "Storage",
    "UnknownPeerError",
]
