"""A leader's reads that wait until it is known to lead still, and its lease (dissertation section 6.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rube.raft.quorum import JointConfig
from rube.raft.raft_pb2 import Message


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read that may be served once `index` is applied; `context` identifies it."""

    index: int
    context: bytes


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A read's request; the commit index when it came, which it must see at least; the first round that confirms it."""

    request: Message
    index: int
    round: int


class Reads:
    """The reads of one term, and the rounds of heartbeats that confirm them.

    Rounds are numbered from 1, and heartbeats carry their round's number. An answer confirms that the leader led when
    the round began, and so confirms every read that came before; a quorum of answers is counted as for a commit index.

    Invariants: `_unconfirmed` is ordered by round; `_begun` has the latest rounds, in order, while there is a lease.
    """

    def __init__(self, pending_max: int, lease_ticks: int = 0) -> None:
        """At most `pending_max` reads wait. A lease lasts `lease_ticks` from the beginning of a confirmed round."""
        self.pending_max = pending_max
        self.lease_ticks = lease_ticks
        # Reads from before the leader had committed an entry of its term; they have no index yet.
        self._early: list[Message] = []
        self._unconfirmed: deque[PendingRead] = deque()
        self._round = 0
        self._acks: dict[int, int] = {}
        # Rounds that are younger than a lease: the number, and the tick when it began.
        self._begun: deque[tuple[int, int]] = deque()

    def full(self) -> bool:
        """Returns whether no further read is taken."""
        return len(self._early) + len(self._unconfirmed) >= self.pending_max

    def postpone(self, request: Message) -> None:
        """Keeps the read until an entry of the term is committed."""
        self._early.append(request)

    def take_postponed(self) -> list[Message]:
        """Returns and removes the postponed reads."""
        early, self._early = self._early, []
        return early

    def add(self, request: Message, index: int) -> None:
        """Adds a read that must see `index`; the next round confirms it."""
        self._unconfirmed.append(PendingRead(request, index, self._round + 1))

    def begin_round(self, leader: int, tick: int) -> bytes:
        """Begins a round, and returns the context of its heartbeats; empty, and no round, if there is nothing to
        confirm."""
        if not self._unconfirmed and not self.lease_ticks:
            return b""
        self._round += 1
        self._acks[leader] = self._round
        if self.lease_ticks:
            self._begun.append((self._round, tick))
            while self._begun[0][1] + self.lease_ticks <= tick:
                self._begun.popleft()
        return self._round.to_bytes(8, "little")

    def acknowledge(self, member: int, context: bytes) -> None:
        """Notes that the member has answered a heartbeat with that context."""
        if context:
            self._acks[member] = max(self._acks.get(member, 0), int.from_bytes(context, "little"))

    def confirmed_by(self, voters: JointConfig) -> list[PendingRead]:
        """Returns and removes the reads that a quorum has confirmed by now."""
        confirmed, reads = voters.committed_index(self._acks.get), []
        while self._unconfirmed and self._unconfirmed[0].round <= confirmed:
            reads.append(self._unconfirmed.popleft())
        return reads

    def leased(self, voters: JointConfig, tick: int) -> bool:
        """Returns whether a quorum has confirmed a round that began less than a lease ago; its members grant no vote
        meanwhile."""
        confirmed = voters.committed_index(self._acks.get)
        return any(number <= confirmed and tick < began + self.lease_ticks for number, began in self._begun)
