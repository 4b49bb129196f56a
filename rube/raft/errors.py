"""The errors that the core raises. None of them leaves it changed."""

from __future__ import annotations

from rube.api.errors import FailedPreconditionError, InvalidArgumentError, RubeError, UnavailableError


class ProposalDroppedError(UnavailableError):
    """Nothing was proposed: there is no leader, leadership is being transferred, or too much is uncommitted. Retry
    later."""

    reason = "RAFT_PROPOSAL_DROPPED"


class ProposalTooLargeError(InvalidArgumentError):
    """One proposal is larger than `proposal_bytes_max`; it can never be accepted."""

    reason = "RAFT_PROPOSAL_TOO_LARGE"


class LocalMessageError(InvalidArgumentError):
    """Another member sent a message that only a member itself makes, or one of an unknown type."""

    reason = "RAFT_LOCAL_MESSAGE"


class UnknownPeerError(FailedPreconditionError):
    """The sender of a response is not a member; it may have been removed. Safe to ignore."""

    reason = "RAFT_UNKNOWN_PEER"


class LogCompactedError(RubeError):
    """The entry is no longer in the log: a snapshot covers it."""

    code = "OUT_OF_RANGE"
    reason = "RAFT_LOG_COMPACTED"


class LogUnavailableError(RubeError):
    """The entry is not in the log yet."""

    code = "OUT_OF_RANGE"
    reason = "RAFT_LOG_UNAVAILABLE"


class SnapshotOutOfDateError(FailedPreconditionError):
    """The storage has the same or a newer snapshot."""

    reason = "RAFT_SNAPSHOT_OUT_OF_DATE"


class SnapshotUnavailableError(UnavailableError):
    """There is no snapshot yet. The core asks again with the next append to the follower that needs it."""

    reason = "RAFT_SNAPSHOT_UNAVAILABLE"


class ConfChangeInvalidError(InvalidArgumentError):
    """The bytes of a change of the configuration cannot be read."""

    reason = "RAFT_CONF_CHANGE_INVALID"
