"""Who is told what members do, for tests and simulations; `rube.raft.invariants.Invariants` is one."""

from __future__ import annotations

from typing import Protocol

from rube.raft.raft_pb2 import Entry, Message
from rube.raft.reads import ReadState
from rube.raft.trace import Observer


class MemberObserver(Observer, Protocol):
    """Is told of every step of a member's core, and of what leaves it, as it happens; must change nothing."""

    def sent(self, message: Message) -> None:
        """The message leaves its member, to another or to itself."""
        ...

    def applied(self, member: int, entry: Entry) -> None:
        """The member's state machine applies the entry."""
        ...

    def restored(self, member: int, index: int) -> None:
        """The member's state machine goes on from there: after a start, or with a snapshot that came."""
        ...

    def read_asked(self, context: bytes) -> None:
        """A member asks how far it must have come; once for each context."""
        ...

    def read_answered(self, member: int, state: ReadState) -> None:
        """The member may serve that read at that index."""
        ...
