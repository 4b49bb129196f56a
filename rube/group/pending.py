"""Calls that wait for the group: proposals by their number, reads by a round of Raft's read index."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from rube.api.errors import RubeError, UnavailableError
from rube.group.group_pb2 import Command


class Work:
    """A wake-up signal for the one task that waits for work.

    Does what asyncio.Event does without its cost: Event looks up the running loop at each wait, a system call in Python
    3.11.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Returns at the next `wake`."""
        self._waiter = self._loop.create_future()
        await self._waiter


class OvertakenError(Exception):
    """The proposal was not applied and never will be."""


class _Proposal(NamedTuple):
    number: int
    term: int
    begun_ns: int
    deadline_ns: int
    outcome: asyncio.Future[Any]


class Proposals:
    """The proposals of this incarnation that were not applied yet. `proposer` tells it from every other incarnation.

    A proposal is for one term: only that term's leader takes it (`rube.group.core`). So an applied entry of a later
    term decides it: entries of earlier terms stand before that one in the log, or nowhere. Proposals reach a leader in
    the order of their numbers or not at all: an applied one also decides those before it.
    """

    def __init__(self, proposer: int) -> None:
        self.proposer = proposer
        self._loop = asyncio.get_running_loop()
        # By number.
        self._waiting: dict[int, _Proposal] = {}
        self._number = 0
        self._marked_ns = 0

    def begin(self, term: int, begun_ns: int, deadline_ns: int) -> tuple[int, asyncio.Future[Any]]:
        """Returns a new proposal's number and the future of its outcome, which may be OvertakenError or
        TimeoutError."""
        self._number += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[self._number] = _Proposal(self._number, term, begun_ns, deadline_ns, future)
        return self._number, future

    def command(self, number: int, command: Command) -> bytes:
        """Returns the entry data of that proposal."""
        command.proposer, command.number = self.proposer, number
        return command.SerializeToString(deterministic=True)

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def applied(self, proposer: int, number: int, outcome: Any) -> None:
        """Ends the proposal whose command was applied; an outcome that is an error is raised to the caller."""
        if proposer != self.proposer:
            return
        proposal = self._waiting.pop(number, None)
        if self._waiting and next(iter(self._waiting)) < number:
            self._end(OvertakenError(), lambda other: other.number < number)
        if proposal is None or proposal.outcome.done():
            return
        if isinstance(outcome, RubeError):
            proposal.outcome.set_exception(outcome)
        else:
            proposal.outcome.set_result(outcome)

    def overtaken(self, term: int) -> None:
        """Ends the proposals of earlier terms, since an entry of this term is applied next."""
        self._end(OvertakenError(), lambda proposal: proposal.term < term)

    def skipped(self, term: int, message: str) -> None:
        """Ends the proposals whose outcome a snapshot hides: those of terms up to the snapshot's last."""
        self._end(UnavailableError(message, unknown="true"), lambda proposal: proposal.term <= term)

    def mark(self, now_ns: int, after_ns: int) -> int:
        """Returns the number of an empty proposal to make, or 0.

        It is due when others have waited for `after_ns` since they began and since the last mark.
        """
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None or now_ns - max(oldest.begun_ns, self._marked_ns) < after_ns:
            return 0
        self._marked_ns = now_ns
        self._number += 1
        return self._number

    def expire(self, now_ns: int) -> None:
        """Ends the proposals whose deadline has passed."""
        self._end(TimeoutError(), lambda proposal: proposal.deadline_ns <= now_ns)

    def fail(self, error: RubeError) -> None:
        """Ends all proposals with that error."""
        self._end(error, lambda proposal: True)

    def _end(self, error: Exception, chosen: Callable[[_Proposal], bool]) -> None:
        for number in [number for number, proposal in self._waiting.items() if chosen(proposal)]:
            _fail(self._waiting.pop(number).outcome, error)


class Reads:
    """Reads that wait until this member has applied what was committed when they began.

    They share rounds: reads that come during a round wait for the next one. Invariant: `_current` holds the reads of
    the round under way, if any, and `_next` gathers those of the next.
    """

    def __init__(self, reader: int) -> None:
        """`reader`, of 63 bits, tells this incarnation from every other, so that late answers to an earlier one are
        ignored."""
        self._reader = reader
        self._round = 0
        self._current: list[asyncio.Future[None]] = []
        self._next: list[asyncio.Future[None]] = []
        # Confirmed reads that wait until that index is applied.
        self._confirmed: list[tuple[int, list[asyncio.Future[None]]]] = []

    def join(self) -> asyncio.Future[None]:
        """Adds a read to the next round."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.append(future)
        return future

    def start_round(self, *, again: bool = False) -> bytes:
        """Starts the next round and returns its context; b"" if no read waits or, without `again`, a round is under
        way."""
        if self._current and not again:
            return b""
        self._current = [future for future in (*self._current, *self._next) if not future.done()]
        self._next = []
        if not self._current:
            return b""
        self._round += 1
        return self._context()

    def confirmed(self, context: bytes, index: int, applied: int) -> None:
        """Lets the reads of that context's round go on once `index` is applied."""
        if context == self._context() and self._current:
            self._confirmed.append((index, self._current))
            self._current = []
            self.applied(applied)

    def applied(self, index: int) -> None:
        """Ends the waiting of confirmed reads up to `index`, which this member has applied."""
        while self._confirmed and self._confirmed[0][0] <= index:
            for future in self._confirmed.pop(0)[1]:
                if not future.done():
                    future.set_result(None)

    def fail(self, message: str) -> None:
        """Fails all reads with UnavailableError."""
        waiting = [*self._current, *self._next, *(future for _, futures in self._confirmed for future in futures)]
        self._current, self._next, self._confirmed = [], [], []
        for future in waiting:
            _fail(future, UnavailableError(message))

    def _context(self) -> bytes:
        return self._reader.to_bytes(8, "big") + self._round.to_bytes(8, "big")


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # the caller may be gone, which is no mistake
