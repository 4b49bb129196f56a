"""The observer of a core: it sees every step as it happens. Observing changes nothing."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from rube.raft.raft_pb2 import ConfChangeV2, Message

if TYPE_CHECKING:
    from rube.raft.state import Raft


class Step(enum.Enum):
    """The kinds of steps; named as in etcd-raft's TLA+ traces, but messages of all types are SEND and RECEIVE."""

    INIT_STATE = "InitState"
    BECOME_FOLLOWER = "BecomeFollower"
    BECOME_PRE_CANDIDATE = "BecomePreCandidate"
    BECOME_CANDIDATE = "BecomeCandidate"
    BECOME_LEADER = "BecomeLeader"
    COMMIT = "Commit"
    """A leader has counted a quorum; also when the commit index stays."""
    REPLICATE = "Replicate"
    """A leader is about to append; `message` has the entries."""
    CHANGE_CONF = "ChangeConf"
    """A leader takes a proposal of `change`."""
    APPLY_CONF_CHANGE = "ApplyConfChange"
    """The member has a new configuration, which its tracker shows."""
    READY = "Ready"
    """A batch was handed out."""
    SEND = "Send"
    """`message` is queued."""
    RECEIVE = "Receive"
    """`message` is about to be handled."""
    NOTE = "Note"
    """`text` explains what follows."""


class Observer(Protocol):
    """Called inside a step; it must not call the core, nor change what it sees."""

    def __call__(
        self,
        raft: Raft,
        step: Step,
        /,
        *,
        message: Message | None = None,
        change: ConfChangeV2 | None = None,
        text: str = "",
    ) -> None: ...
