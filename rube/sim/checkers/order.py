"""Real-time order: what somebody has seen bounds what is seen, and what is written, later."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rube.sim.checkers.history import History, Outcome


class Sight(NamedTuple):
    """Somebody knew at that time that the store had reached that revision."""

    at_ns: int
    revision: int
    who: str


class Order:
    """What was known when: of all clients, their watches, and all apiservers."""

    def __init__(self, history: History) -> None:
        self._newest: list[Sight] = []
        for sight in sorted(_sights(history), key=lambda item: (item.at_ns, item.revision)):
            if not self._newest or sight.revision > self._newest[-1].revision:
                self._newest.append(sight)
        self._times = [sight.at_ns for sight in self._newest]

    def known_before(self, at_ns: int) -> Sight:
        """The newest revision that anybody knew of before that time, and its first witness."""
        place = bisect_left(self._times, at_ns)
        return self._newest[place - 1] if place else Sight(0, 0, "nobody")


def _sights(history: History) -> Iterator[Sight]:
    for commit in history.commits:
        yield Sight(commit.at_ns, commit.revision, "an apiserver's store")
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK and attempt.end_ns is not None:
            yield Sight(attempt.end_ns, attempt.revision, attempt.client)
    for stream in history.streams:
        for delivery in stream.deliveries:
            yield Sight(delivery.at_ns, delivery.revision, stream.client)


def first_commits_after(history: History) -> Sequence[tuple[int, int]]:
    """(begun, lowest revision of all commits that were begun then or later), in order of time."""
    lowest = 2**64
    found: list[tuple[int, int]] = []
    for commit in sorted(history.commits, key=lambda item: (-item.start_ns, item.revision)):
        lowest = min(lowest, commit.revision)
        found.append((commit.start_ns, lowest))
    return found[::-1]
