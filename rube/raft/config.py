"""What a core is configured with."""

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

# No member: no leader, no vote.
NONE = 0
# The two local threads of asynchronous storage, as targets and senders of messages.
APPEND_THREAD = 2**64 - 1
APPLY_THREAD = 2**64 - 2


class ReadMode(enum.Enum):
    """How a leader makes sure that it still is one before it answers a read (dissertation section 6.4)."""

    SAFE = "safe"  # a round of heartbeats to a quorum
    # By what followers have confirmed lately, if possible, else as SAFE. Only as good as the bounds on the drift of
    # clocks: a lease is a tick shorter than the election timeout.
    LEASE_BASED = "lease-based"


@dataclass(frozen=True, kw_only=True)
class RaftConfig:
    """A core's configuration. Times are in ticks, whose length the driver chooses; sizes are in bytes.

    Raises InvalidArgumentError for values that contradict each other.
    """

    # This member: from 1 on, unique in the cluster for ever. A member that lost its disk needs a new one.
    id: int
    storage: Storage
    # A random number in [0, n), uniform, for the election timeouts: `random.Random.randrange` of the driver's stream.
    random_below: Callable[[int], int]

    # A follower that hears of no leader for this long, up to twice as long, campaigns (paper section 5.2).
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    # What the state machine has already; only when restarting.
    applied: int = 0

    # Storage is written by messages to two local threads, instead of between `ready` and `advance`.
    async_storage_writes: bool = False
    # One proposal.
    proposal_bytes_max: int = NO_LIMIT
    # The entries of one append; 0: one entry an append.
    message_bytes_max: int = 1 << 20
    # The committed entries that are handed out and not yet applied; 0: message_bytes_max.
    applying_bytes_max: int = 0
    # A leader's proposals that are not committed yet; past it they are dropped. 0: no limit.
    uncommitted_bytes_max: int = 0
    # Appends on their way to one follower.
    inflight_messages_max: int = 256
    # Their bytes. 0: no limit.
    inflight_bytes_max: int = 0
    # Reads that a leader has not confirmed; past it they are dropped.
    reads_pending_max: int = 1 << 16

    # A leader that hears of no quorum steps down, and a follower that hears of a leader gives no vote away
    # (dissertation sections 6.2, 4.2.3).
    check_quorum: bool = True
    # Ask for votes at the next term before taking it (dissertation section 9.6).
    pre_vote: bool = True
    read_mode: ReadMode = ReadMode.SAFE
    # Followers pass proposals on to the leader.
    proposal_forwarding: bool = True
    # Refuse changes of the configuration when proposed, where they do not fit the configuration of that moment.
    # Without, the driver must serialize and check them: one that does not fit when it is applied is fatal.
    conf_change_validation: bool = True
    # A leader steps down when it is removed or demoted (dissertation section 4.2.2).
    step_down_on_removal: bool = True

    # Who is told of every step, for traces and explanations.
    observer: Observer | None = None

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
