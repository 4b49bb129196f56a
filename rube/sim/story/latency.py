"""The time of each change from its commit to each watcher, by the phase of faults in which it was under way.

The check `watch_latency` judges observers alone; here are the watches of all clients, also of daemons.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rube.sim.judges import ALL_WATCHERS, History, percentile
from rube.sim.judges.selection import Selection
from rube.sim.story.happenings import Band
from rube.sim.story.narrator import short_key

BEFORE, DURING, AFTER = PHASES = ("before", "during", "after")
SLOWEST_MAX = 40
"""So many of the slowest are in a page."""
CURVE_POINTS = 200
"""A curve has so many steps of equal share, or as many as there are events."""
_PERCENTS = (50, 90, 99, 100)

Span = tuple[int, int]
"""The begin and the end of a fault, in virtual nanoseconds."""


class Arrival(NamedTuple):
    """A change as one watch was told of it, the first time."""

    watcher: str
    watch: str
    """The type that it watches, and the filter if there is one."""
    key: str
    revision: int
    committed_ns: int
    delivered_ns: int
    latency_ns: int
    """0 if it heard of the commit before another apiserver knew that it was acknowledged."""
    phase: str
    """`during` if a fault was there between commit and delivery; else `before` the first one, or `after` one."""


def arrivals(history: History, faults: Iterable[Span]) -> list[Arrival]:
    """Returns the arrival of each change whose commit was seen, in the order of their deliveries."""
    committed = {commit.revision: commit.at_ns for commit in history.commits}
    united = _united(faults)
    first: dict[tuple[str, str, str, int], int] = {}
    for stream in history.streams:
        watch = str(Selection.of(stream.request))
        for delivery in stream.changes:
            for event in delivery.events:
                if event.revision in committed:
                    place = (stream.client, watch, event.key, event.revision)
                    first[place] = min(delivery.at_ns, first.get(place, delivery.at_ns))
    found = []
    for (watcher, watch, key, revision), at_ns in first.items():
        start_ns = committed[revision]
        latency_ns, phase = max(0, at_ns - start_ns), _phase(start_ns, at_ns, united)
        found.append(Arrival(watcher, watch, key, revision, start_ns, at_ns, latency_ns, phase))
    return sorted(found, key=lambda one: (one.delivered_ns, one.watcher, one.watch, one.revision, one.key))


def fault_spans(bands: Iterable[Band], planned: Iterable[Span]) -> list[Span]:
    """Returns the faults of the scenario, and what followed from them: a process that is down until it starts again."""
    return [*planned, *((band.start_ns, band.end_ns) for band in bands)]


def _united(spans: Iterable[Span]) -> list[Span]:
    """The spans in their order, those that touch as one."""
    found: list[Span] = []
    for start_ns, end_ns in sorted(spans):
        if found and start_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_ns))
        else:
            found.append((start_ns, end_ns))
    return found


def _phase(start_ns: int, end_ns: int, faults: Sequence[Span]) -> str:
    if any(begin_ns <= end_ns and start_ns <= over_ns for begin_ns, over_ns in faults):
        return DURING
    return AFTER if faults and faults[0][0] < start_ns else BEFORE


def latency_csv(rows: Iterable[Arrival]) -> str:
    """A line for each change and watch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Arrival._fields)
    writer.writerows(rows)
    return text.getvalue()


def latency_json(rows: Iterable[Arrival]) -> str:
    """The same as a list of objects."""
    return "[\n" + ",\n".join(json.dumps(row._asdict(), ensure_ascii=False) for row in rows) + "\n]\n"


def latency_values(rows: Sequence[Arrival], hosts: Sequence[str]) -> dict[str, Any]:
    """The data of a page: a curve for each phase, percentiles for each watcher and phase, the slowest changes."""
    by_phase: dict[str, list[int]] = {phase: [] for phase in PHASES}
    by_watcher: defaultdict[str, dict[str, list[int]]] = defaultdict(lambda: {phase: [] for phase in PHASES})
    for row in rows:
        by_phase[row.phase].append(row.latency_ns)
        by_watcher[row.watcher][row.phase].append(row.latency_ns)
    places = {name: place for place, name in enumerate(hosts)}
    slowest = sorted(rows, key=lambda row: (-row.latency_ns, row.delivered_ns, row.watcher, row.watch, row.key))
    every = sorted(row.latency_ns for row in rows)
    names = sorted(by_watcher, key=lambda name: (len(name), name))
    return {
        "all": [percentile(every, 50), every[-1]] if every else [],
        "curves": [[phase, _curve(sorted(found))] for phase, found in by_phase.items() if found],
        "rows": [*_rows(ALL_WATCHERS, by_phase), *(row for name in names for row in _rows(name, by_watcher[name]))],
        "slowest": [
            [places.get(row.watcher, -1), *row._replace(key=short_key(row.key))] for row in slowest[:SLOWEST_MAX]
        ],
    }


def _curve(latencies_ns: Sequence[int]) -> list[int]:
    """The latencies at steps of equal share, from the least to the largest."""
    last, steps = len(latencies_ns) - 1, min(CURVE_POINTS, len(latencies_ns))
    return [latencies_ns[last * step // max(1, steps - 1)] for step in range(steps)]


def _rows(watcher: str, by_phase: dict[str, list[int]]) -> list[list[Any]]:
    """(watcher, phase, how many, percentiles) of each phase in which it was told something."""
    return [
        [watcher, phase, len(found), *(percentile(sorted(found), percent) for percent in _PERCENTS)]
        for phase, found in by_phase.items()
        if found
    ]
