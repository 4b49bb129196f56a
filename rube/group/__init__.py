"""One member of a Raft group, over a Host: its clock drives the core, its network carries the messages, an engine
keeps log, votes and state.

What the group agrees on is a `StateMachine`'s, which is handed in: the replicated store has one, replicated
controllers have another. Here: no objects, no versions, no decisions of Raft's own (`rube.raft`).
"""

from rube.group.config import MemberConfig
from rube.group.machine import StateMachine
from rube.group.member import Member
from rube.group.observer import MemberObserver

__all__ = ["Member", "MemberConfig", "MemberObserver", "StateMachine"]
