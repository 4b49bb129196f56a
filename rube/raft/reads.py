"""A leader's reads that wait until it is known to lead still (dissertation section 6.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rube.raft.quorum import JointConfig
from rube.raft.raft_pb2 import Message


@dataclass(frozen=True, slots=True)
class ReadState:
    """The read that `context` identifies may be served once `index` is applied."""

    index: int
    context: bytes


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A request, and the commit index when it came: what it must see at least."""

    request: Message
    index: int


class Reads:
    """The reads of one term, numbered from 1 in the order they came.

    A heartbeat carries the number of the last read that was there when it went out; who answers it confirms that read
    and all before it. A quorum's confirmation is counted as a commit index is.

    Invariant: `_unconfirmed` holds the reads `_confirmed + 1` and on.
    """

    def __init__(self, pending_max: int) -> None:
        self.pending_max = pending_max
        # Came before the leader had committed an entry of its term; they have no index yet.
        self._early: list[Message] = []
        self._unconfirmed: deque[PendingRead] = deque()
        self._confirmed = 0
        self._acks: dict[int, int] = {}

    def full(self) -> bool:
        """No further read is taken."""
        return len(self._early) + len(self._unconfirmed) >= self.pending_max

    def postpone(self, request: Message) -> None:
        """Keeps the read until an entry of the term is committed."""
        self._early.append(request)

    def take_postponed(self) -> list[Message]:
        """The reads that were postponed."""
        early, self._early = self._early, []
        return early

    def add(self, request: Message, index: int) -> None:
        """A read that must see `index`."""
        self._unconfirmed.append(PendingRead(request, index))

    def context(self) -> bytes:
        """What a heartbeat carries so that its answers confirm every read so far; empty when none waits."""
        if not self._unconfirmed:
            return b""
        return (self._confirmed + len(self._unconfirmed)).to_bytes(8, "little")

    def acknowledge(self, member: int, context: bytes) -> None:
        """The member has answered a heartbeat with that context."""
        if context:
            self._acks[member] = max(self._acks.get(member, 0), int.from_bytes(context, "little"))

    def confirmed_by(self, voters: JointConfig) -> list[PendingRead]:
        """The reads that a quorum has confirmed by now; they are gone from here."""
        confirmed = voters.committed_index(self._acks.get)
        count = min(max(confirmed - self._confirmed, 0), len(self._unconfirmed))
        self._confirmed += count
        return [self._unconfirmed.popleft() for _ in range(count)]
