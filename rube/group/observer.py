"""The observer of members, for tests and simulations; `rube.raft.invariants.Invariants` is one."""

from __future__ import annotations

from typing import Protocol

from rube.raft.raft_pb2 import Entry, Message
from rube.raft.reads import ReadState
from rube.raft.trace import Observer


class MemberObserver(Observer, Protocol):
    """Sees every step of a member's core and every message that leaves it, as it happens. It must change nothing."""

    def sent(self, message: Message) -> None:
        """Called when a message leaves its member, to another or to itself."""
        ...

    def applied(self, member: int, entry: Entry) -> None:
        """Called before the member's state machine applies the entry."""
        ...

    def restored(self, member: int, index: int) -> None:
        """Called when the member's state machine goes on from that index: after a start, or with a snapshot."""
        ...

    def read_asked(self, context: bytes) -> None:
        """Called when a member asks how far it must have come for its reads; once for each context."""
        ...

    def read_answered(self, member: int, state: ReadState) -> None:
        """Called when the member may serve that read at that index."""
        ...
