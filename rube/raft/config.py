"""The configuration of a core."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rube.api.errors import InvalidArgumentError
from rube.raft.entries import NO_LIMIT
from rube.raft.storage import Storage

if TYPE_CHECKING:
    from rube.raft.trace import Observer

NONE = 0
"""The id of no member: no leader, no vote."""
# The ids of the two local threads of asynchronous storage, as targets and senders of messages.
APPEND_THREAD = 2**64 - 1
APPLY_THREAD = 2**64 - 2


class ReadMode(enum.Enum):
    """The way in which a leader makes sure that it still leads before it answers a read (dissertation section 6.4)."""

    SAFE = "safe"
    """A round of heartbeats to a quorum."""
    LEASE_BASED = "lease-based"
    """By the followers' last confirmations if they are recent enough, else as SAFE. It is only as good as the bound on
    clock drift: a lease is a tick shorter than the election timeout."""


@dataclass(frozen=True, kw_only=True)
class RaftConfig:
    """A core's configuration. Times are in ticks, whose length the driver chooses; sizes are in bytes.

    Raises InvalidArgumentError for values that contradict each other.
    """

    id: int
    """The id of this member, from 1 on. An id is never used again in the cluster: a member that lost its disk needs a
    new one."""
    storage: Storage
    random_below: Callable[[int], int]
    """Returns a uniform random number in [0, n) for the election timeouts: `random.Random.randrange` of the driver's
    stream."""

    election_ticks: int = 10
    """A follower that hears from no leader for one to two times so long campaigns (paper section 5.2)."""
    heartbeat_ticks: int = 1
    applied: int = 0
    """The last entry that the state machine has applied; only for a restart."""

    async_storage_writes: bool = False
    """Messages to two local threads write the storage, instead of the driver between `ready` and `advance`."""
    proposal_bytes_max: int = NO_LIMIT
    """The bytes of one proposal."""
    message_bytes_max: int = 1 << 20
    """The bytes of one append's entries; 0: one entry an append."""
    applying_bytes_max: int = 0
    """The bytes of committed entries that are handed out and not yet applied; 0: message_bytes_max."""
    uncommitted_bytes_max: int = 0
    """The bytes of a leader's uncommitted proposals; beyond them proposals are dropped. 0: no limit."""
    inflight_messages_max: int = 256
    """The number of appends in flight to one follower."""
    inflight_bytes_max: int = 0
    """The bytes of these appends. 0: no limit."""
    reads_pending_max: int = 1 << 16
    """The number of reads that a leader has not confirmed; further ones are dropped."""

    check_quorum: bool = True
    """A leader that hears from no quorum steps down, and a follower that hears from a leader grants no vote
    (dissertation sections 6.2, 4.2.3)."""
    pre_vote: bool = True
    """A member asks for votes of the next term before it enters it (dissertation section 9.6)."""
    read_mode: ReadMode = ReadMode.SAFE
    proposal_forwarding: bool = True
    """Followers pass proposals on to the leader."""
    conf_change_validation: bool = True
    """A proposed change is refused if it does not fit the configuration of that moment. Without the
    check the driver must serialize and check changes: one that does not fit when it is applied is fatal."""
    step_down_on_removal: bool = True
    """A leader steps down when it is removed or demoted (dissertation section 4.2.2)."""

    observer: Observer | None = None
    """Called with every step, for traces and explanations."""

    def __post_init__(self) -> None:
        checks = [
            (0 < self.id < APPLY_THREAD, "id must be from 1 to 2**64 - 3"),
            (self.heartbeat_ticks > 0, "heartbeat_ticks must be positive"),
            (self.election_ticks > self.heartbeat_ticks, "election_ticks must be more than heartbeat_ticks"),
            (self.inflight_messages_max > 0, "inflight_messages_max must be positive"),
            (
                not 0 < self.inflight_bytes_max < self.message_bytes_max,
                "inflight_bytes_max must be at least message_bytes_max, or 0",
            ),
            (
                self.applying_bytes_max > 0 or self.message_bytes_max > 0,
                "applying_bytes_max must be positive when message_bytes_max is 0",
            ),
            (
                self.check_quorum or self.read_mode is not ReadMode.LEASE_BASED,
                "read_mode LEASE_BASED needs check_quorum: a lease ends only for a leader that checks",
            ),
        ]
        for fine, complaint in checks:
            if not fine:
                raise InvalidArgumentError(f"raft: {complaint}")
