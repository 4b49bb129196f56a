"""A member of a Raft group, run over a Host: the host's clock drives the Raft core, its network carries the messages,
and an engine stores log, votes and state.

A `StateMachine`, which the owner passes in, applies the group's commands: the replicated store has one, replicated
controllers have another. This package knows no objects and no versions, and leaves Raft's decisions to `rube.raft`.
"""

from __future__ import annotations

from rube.group.config import MemberConfig
from rube.group.machine import Effect, StateMachine
from rube.group.member import Member
from rube.group.observer import MemberObserver

__all__ = ["Effect", "Member", "MemberConfig", "MemberObserver", "StateMachine"]
