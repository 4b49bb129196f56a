"""The story of a run: its happenings, faults, units, leaders and revisions, and a pin for each violated check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rube.sim.judges import GroupHistory, History, Verdict, time_in
from rube.sim.report import Result
from rube.sim.story.happenings import Band, Happenings, UnitSpan, bands, happenings, unit_spans
from rube.sim.story.latency import Arrival, arrivals, fault_spans
from rube.sim.world.kernel.trace import TraceRecord

_OBJECT = re.compile(r"\b[\w-]+/[\w.-]+(?:/[\w.-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The moment at which a violated check was seen, as its first offending line tells it."""

    check: str
    at_ns: int
    host: str
    """Empty: the line names none."""
    text: str
    objects: Sequence[str]
    """The objects that the line names, without their types."""


@dataclass(frozen=True, slots=True)
class Reign:
    """A member led its group from then on."""

    group: str
    at_ns: int
    host: str
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The content of a page and of a Perfetto trace."""

    result: Result
    repeat: str
    """The command that runs it again."""
    told: Happenings
    bands: Sequence[Band]
    units: Sequence[UnitSpan]
    reigns: Sequence[Reign]
    commits: Sequence[tuple[int, int]]
    """(when, revision)"""
    pins: Sequence[Pin]
    arrivals: Sequence[Arrival]


def tell(result: Result, history: History, records: Sequence[TraceRecord], repeat: str) -> Story:
    """Puts a run's story together; its records must be whole and noted by a narrator."""
    told = happenings(records, result.virtual_ns)
    lasting = bands(records, told.hosts, result.virtual_ns)
    return Story(
        result=result,
        repeat=repeat,
        told=told,
        bands=lasting,
        units=unit_spans(records, result.virtual_ns),
        reigns=[
            reign
            for name, group in (
                ("the store", history.group),
                ("etcd", history.etcd),
                ("the controllers", history.controllers),
            )
            for reign in _reigns(name, group)
        ],
        commits=[(commit.at_ns, commit.revision) for commit in history.commits],
        pins=pins(result.verdicts, told.hosts, result.virtual_ns),
        arrivals=arrivals(history, fault_spans(lasting, result.faults)),
    )


def _reigns(name: str, group: GroupHistory) -> list[Reign]:
    return [Reign(name, one.at_ns, one.member, one.term) for one in group.leaderships]


def pins(verdicts: Sequence[Verdict], hosts: Sequence[str], end_ns: int) -> list[Pin]:
    """A pin for each violated check. Judges begin what offends with its time, and name the host in it."""
    found = []
    for verdict in verdicts:
        if verdict.passed:
            continue
        line = verdict.offending[0] if verdict.offending else verdict.text
        time_ns = time_in(line)
        at_ns = end_ns if time_ns is None else time_ns
        names = [name for name in hosts if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line)]
        host = min(names, key=line.index, default="")
        objects = tuple(dict.fromkeys("/".join(key.split("/")[-2:]) for key in _OBJECT.findall(line)))
        found.append(Pin(check=verdict.check, at_ns=min(at_ns, end_ns), host=host, text=line, objects=objects))
    return sorted(found, key=lambda pin: pin.at_ns)
