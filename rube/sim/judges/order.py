"""Real-time order: a revision that was seen bounds the revisions that are seen, and written, later."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from rube.sim.judges.history import History
from rube.sim.judges.records import Outcome

# A clock that measures an age is wrong by less than one part of so many, and by less than so long.
_DRIFT_PART = 1_000
_MEASURED_NS = 1_000_000


class Sight(NamedTuple):
    """The knowledge of a process, at that time, that the store had reached that revision."""

    at_ns: int
    revision: int
    who: str


class Order:
    """The known revisions over time: of all clients, their watches, and all apiservers."""

    def __init__(self, history: History) -> None:
        self._newest: list[Sight] = []
        for sight in sorted(_sights(history), key=lambda item: (item.at_ns, item.revision)):
            if not self._newest or sight.revision > self._newest[-1].revision:
                self._newest.append(sight)
        self._times = [sight.at_ns for sight in self._newest]
        self._begun: list[tuple[int, int]] = []
        for commit in sorted(history.commits, key=lambda item: item.start_ns):
            highest = max(commit.revision, self._begun[-1][1] if self._begun else 0)
            self._begun.append((commit.start_ns, highest))
        acknowledged = {commit.revision for commit in history.commits}
        # The time of commits that were never acknowledged is unknown: it may be any.
        self._unplaced = max((entry.revision for entry in history.log if entry.revision not in acknowledged), default=0)

    def known_before(self, at_ns: int) -> Sight:
        """The newest revision that any client knew of before that time, and its first witness."""
        place = bisect_left(self._times, at_ns)
        return self._newest[place - 1] if place else Sight(0, 0, "no client")

    def known_at_age(self, at_ns: int, age_ns: int) -> Sight:
        """The newest revision that an answer must show which was asked for at that time, and is so old by the clock of
        the server: clocks drift, and the answer was given later."""
        return self.known_before(at_ns - age_ns - age_ns // _DRIFT_PART - _MEASURED_NS)

    def possible_by(self, at_ns: int) -> int:
        """The newest revision that the store may have had at that time: of all commits that were asked for by then."""
        place = bisect_right(self._begun, at_ns, key=lambda item: item[0])
        return max(self._unplaced, self._begun[place - 1][1] if place else 0)


def _sights(history: History) -> Iterator[Sight]:
    for commit in history.commits:
        yield Sight(commit.at_ns, commit.revision, "an apiserver's store")
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK and attempt.end_ns is not None:
            yield Sight(attempt.end_ns, attempt.revision, attempt.client)
    for stream in history.streams:
        for delivery in stream.deliveries:
            yield Sight(delivery.at_ns, delivery.revision, stream.client)
