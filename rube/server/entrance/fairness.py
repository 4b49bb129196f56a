"""Turns: the calls of a kind are carried out one caller after the other, and no caller gets more than its share.

Each kind has a number of turns at a time, of which one caller may have some. A call without a turn waits in the line of
its caller; a turn that ends goes to the next caller that waits, round and round, so that the calls of one wait behind
its own. A line has an end: past it a call is refused, with a time to wait. This is what remains of Kubernetes' API
Priority and Fairness (KEP-1040) where a caller is known and kinds are few: no shuffle sharding, no borrowing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from rube.api.errors import BusyError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.entrance.call import Call
from rube.server.entrance.kinds import CallKind
from rube.server.entrance.limits import FairnessConfig, Share

RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 10.0
RETRY_S_HELD: Final = 1.0
_TURN_S_FIRST: Final = 0.005
# The weight of the last turn in the mean time of a turn.
_WEIGHT: Final = 1 / 16
PROVEN: Final = ("certificate", "token")


class Turn:
    """A call's turn, which ends once."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], None] | None) -> None:
        self._end = end

    def end(self) -> None:
        if self._end is not None:
            end, self._end = self._end, None
            end()


_NO_TURN: Final = Turn(None)


class _Waiting:
    __slots__ = ("size_bytes", "turn")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Line:
    """The calls of one caller, of one kind."""

    __slots__ = ("caller", "running", "waiting", "waiting_bytes")

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self.running = 0
        self.waiting: deque[_Waiting] = deque()
        self.waiting_bytes = 0


class _Turns:
    """The turns of one kind."""

    def __init__(self, clock: Clock, kind: CallKind, share: Share, config: FairnessConfig) -> None:
        self._clock = clock
        self._kind = kind
        self._share = share
        self._config = config
        self._running = 0
        self._turn_s = _TURN_S_FIRST
        # Of callers that have or want a turn.
        self._lines: dict[str, _Line] = {}
        # Callers with calls that wait and may have a further turn, in the order of their turns.
        self._next: dict[str, _Line] = {}
        self.waiting = 0
        self.refused = 0

    async def begin(self, caller: str, call: Call) -> Turn:
        """Returns the call's turn, once it has come. Raises BusyError."""
        line = self._lines.get(caller)
        if line is None:
            line = self._lines[caller] = _Line(caller)
        if self._running >= self._share.turns_max or line.running >= self._share.caller_turns_max or line.waiting:
            await self._wait(line, call)
        else:
            self._running += 1
            line.running += 1
        return Turn(partial(self.end, line, self._clock.monotonic_ns()))

    def end(self, line: _Line, begun_ns: int) -> None:
        took_s = (self._clock.monotonic_ns() - begun_ns) / NS_PER_S
        self._turn_s += (took_s - self._turn_s) * _WEIGHT
        self._running -= 1
        line.running -= 1
        self._settle(line)
        self._give()

    async def _wait(self, line: _Line, call: Call) -> None:
        waiting = _Waiting(call.request.ByteSize())
        if (
            len(line.waiting) >= self._config.waiting_max
            or line.waiting_bytes + waiting.size_bytes > self._config.waiting_bytes_max
        ):
            self.refused += 1
            raise self._busy(line)
        line.waiting.append(waiting)
        line.waiting_bytes += waiting.size_bytes
        self.waiting += 1
        self._settle(line)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.end(line, self._clock.monotonic_ns())  # its turn had come
            else:
                line.waiting.remove(waiting)
                self._left(line, waiting)
            raise

    def _give(self) -> None:
        """Gives the free turns to those who wait."""
        while self._next and self._running < self._share.turns_max:
            line = next(iter(self._next.values()))
            del self._next[line.caller]
            waiting = line.waiting.popleft()
            self._running += 1
            line.running += 1
            self._left(line, waiting)
            waiting.turn.set_result(None)

    def _left(self, line: _Line, waiting: _Waiting) -> None:
        line.waiting_bytes -= waiting.size_bytes
        self.waiting -= 1
        self._settle(line)

    def _settle(self, line: _Line) -> None:
        """Puts a line in order behind the others if it may have a turn, or away if it is empty."""
        if line.waiting and line.running < self._share.caller_turns_max:
            self._next.setdefault(line.caller, line)
        else:
            self._next.pop(line.caller, None)
        if not line.waiting and not line.running:
            self._lines.pop(line.caller, None)

    def _busy(self, line: _Line) -> BusyError:
        turns = min(self._share.caller_turns_max, max(1, self._share.turns_max // max(1, len(self._lines))))
        retry_s = min(max(len(line.waiting) * self._turn_s / turns / 2, RETRY_S_MIN), RETRY_S_MAX)
        return _busy(
            f"{line.caller} has {len(line.waiting)} {self._kind.value} waiting at this server, which takes no more",
            retry_s,
        )


class Fairness:
    """The turns of all kinds, and the limits of callers."""

    def __init__(self, clock: Clock, config: FairnessConfig) -> None:
        self._clock = clock
        self._config = config
        self._turns = {kind: _Turns(clock, kind, share, config) for kind, share in config.shares.items()}
        self._held: dict[tuple[CallKind, str], int] = {}
        self._rates: dict[str, _Rate] = {}
        self._refused = 0

    async def begin(self, call: Call) -> Turn:
        """Returns a call's turn, once it has come. Raises BusyError past a limit, with a time to wait."""
        kind, caller = call.kind, caller_of(call)
        turns = self._turns.get(kind)
        if turns is None:
            return self._held_turn(kind, caller, call, self._config.caller_upkeep_max)
        self._count(caller)
        return await turns.begin(caller, call)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[Turn]:
        """Holds a place for a stream while the block runs. Gives a turn for what comes before its first answer."""
        kind, caller = call.kind, caller_of(call)
        if kind is not CallKind.UPKEEP:
            self._count(caller)
        place = self._held_turn(kind, caller, call, self._config.caller_streams_max)
        turn = _NO_TURN
        try:
            if getattr(call.request, "send_initial", False):
                turn = await self._turns[CallKind.LISTS].begin(caller, call)
            yield turn
        finally:
            turn.end()
            place.end()

    def _held_turn(self, kind: CallKind, caller: str, call: Call, held_max: int) -> Turn:
        """Counts what a caller with an identity of its own has under way. Others are bounded by the server's
        `calls_max` alone: many nodes of a machine may share theirs."""
        if call.identity.subject.method not in PROVEN:
            return _NO_TURN
        place = (kind, caller)
        held = self._held.get(place, 0)
        if held >= held_max:
            self._refused += 1
            raise _busy(f"{caller} has {held} calls of {kind.value} at this server, which takes no more", RETRY_S_HELD)
        self._held[place] = held + 1
        return Turn(partial(self._let_go, place))

    def _let_go(self, place: tuple[CallKind, str]) -> None:
        self._held[place] -= 1
        if not self._held[place]:
            del self._held[place]

    def gauges(self) -> dict[str, float]:
        found: dict[str, float] = {"rube_calls_refused_busy": self._refused}
        for kind, turns in self._turns.items():
            found[f"rube_calls_waiting_{kind.value}"] = turns.waiting
            found["rube_calls_refused_busy"] += turns.refused
        return found

    def _count(self, caller: str) -> None:
        """Raises BusyError for a caller past its rate."""
        per_s = self._config.caller_calls_per_s_max
        if not per_s:
            return
        now_ns = self._clock.monotonic_ns()
        rate = self._rates.pop(caller, None) or _Rate(float(per_s), now_ns)
        self._rates[caller] = rate  # the newest is the last
        if len(self._rates) > CALLERS_MAX:
            del self._rates[next(iter(self._rates))]
        left = min(float(per_s), rate.left + (now_ns - rate.at_ns) * per_s / NS_PER_S)
        rate.at_ns = now_ns
        if left < 1:
            rate.left = left
            self._refused += 1
            raise _busy(f"{caller} makes more than {per_s} calls a second (--calls-per-second)", (1 - left) / per_s)
        rate.left = left - 1


@dataclass(slots=True)
class _Rate:
    left: float
    at_ns: int


CALLERS_MAX: Final = 10_000
"""Callers whose rate is known."""


def caller_of(call: Call) -> str:
    """Returns the name that a caller has for fairness: its identity, or the host that it calls from."""
    identified = call.identity
    subject = identified.subject
    if subject.method in PROVEN or subject.name:
        return str(subject)
    return f"{subject} at {identified.host}"


def _busy(what: str, retry_s: float) -> BusyError:
    retry_ms = max(1, round(retry_s * 1000))
    return BusyError(f"{what}: wait {retry_ms / 1000:g} s, then try again", retry_after_ms=retry_ms)
