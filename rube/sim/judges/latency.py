"""The time of a change from its commit to its watchers, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rube.sim.judges.history import History
from rube.sim.judges.verdict import Verdict, judge, time_text

CHECK = "watch_latency"
ALL_WATCHERS = "all"
"""The name of all watchers together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles (nearest rank) of one watcher, or of all together."""

    watcher: str
    events: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


def percentile(sorted_values: Sequence[int], percent: float) -> int:
    """The nearest-rank percentile: the smallest value that at least `percent` of the values don't exceed."""
    return sorted_values[max(0, math.ceil(len(sorted_values) * percent / 100) - 1)]


def summarize_latency(history: History) -> list[LatencySummary]:
    """All watchers together, then each by itself; nothing if no change was both committed and told."""
    samples = _samples(history)
    if not samples:
        return []
    watchers = sorted({observer for observer, _, _, _ in samples}, key=lambda name: (len(name), name))
    rows = [_summary(ALL_WATCHERS, [latency_ns for *_, latency_ns in samples])]
    return rows + [
        _summary(name, [latency_ns for observer, _, _, latency_ns in samples if observer == name]) for name in watchers
    ]


def _summary(watcher: str, latencies_ns: list[int]) -> LatencySummary:
    latencies_ns.sort()
    return LatencySummary(
        watcher=watcher,
        events=len(latencies_ns),
        p50_ns=percentile(latencies_ns, 50),
        p90_ns=percentile(latencies_ns, 90),
        p99_ns=percentile(latencies_ns, 99),
        max_ns=latencies_ns[-1],
    )


def _samples(history: History) -> list[tuple[str, int, int, int]]:
    """(observer, revision, delivered, latency) of every change whose commit was seen.

    With several apiservers a watcher of one may hear of a commit before another knows that it was acknowledged.
    """
    committed = {commit.revision: commit.at_ns for commit in history.commits}
    return [
        (stream.client, event.revision, delivery.at_ns, max(0, delivery.at_ns - committed[event.revision]))
        for stream in history.streams
        if stream.observer and not stream.is_filtered
        for delivery in stream.changes
        for event in delivery.events
        if event.revision in committed
    ]


def watch_latency(history: History, *, percent: float, below_ns: int) -> Verdict:
    """Checks that that percentile, over all changes and observers, is below the limit."""
    samples = _samples(history)
    if not samples:
        return Verdict(check=CHECK, passed=False, text="no change was both committed and told to an observer")
    found_ns = percentile(sorted(latency_ns for *_, latency_ns in samples), percent)
    held = f"p{percent:g} from commit to watcher is {found_ns / 1e6:.3f} ms, limit {below_ns / 1e6:g} ms"
    slow = {item for item in samples if item[3] >= below_ns}
    slowest = sorted(slow, key=lambda item: (-item[3], item[0], item[1]))
    offending = [
        f"{time_text(at_ns)} {observer} got revision {revision} after {latency_ns / 1e6:.3f} ms"
        for observer, revision, at_ns, latency_ns in slowest
        if found_ns >= below_ns
    ]
    return judge(CHECK, held, offending, held)
