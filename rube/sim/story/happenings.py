"""The events of a run on its hosts, from its records: each message's two ends joined, and what lasts.

An event leads to the later ones on its host, a send to its delivery (Lamport: https://doi.org/10.1145/359545.359563).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rube.sim.story.narrator import short_key
from rube.sim.world.kernel import Death
from rube.sim.world.kernel.trace import TraceRecord
from rube.units.names import parse_unit_name

NOBODY = ""
"""The host of what happens to several: a partition, a host that is made."""
LOST = -2
"""In place of its other end: a message that never arrived."""
ALONE = -1
"""In place of its other end: no message."""
HANDSHAKE_FIELDS = 3
_DISK_WORK = frozenset({"disk-append", "disk-sync", "disk-write", "disk-read", "disk-truncate"})


class Happening(NamedTuple):
    """One event. Its place is its position among all, in the order in which they happened."""

    at_ns: int
    host: str
    kind: str
    """`send`, `deliver`, `unit`, `decide`, `process`, `fault`, `disk` or `leads`."""
    text: str
    other: int = ALONE
    """The place of a message's other end."""


@dataclass(frozen=True, slots=True)
class Band:
    """A fault that lasts, on one host."""

    host: str
    start_ns: int
    end_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class UnitSpan:
    """A unit was in one state on one host."""

    host: str
    unit: str
    start_ns: int
    end_ns: int
    state: str


@dataclass(slots=True)
class Happenings:
    """All events of a run, in their order."""

    events: list[Happening] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    """In the order in which they were made."""
    end_ns: int = 0

    def past(self, place: int) -> list[int]:
        """The places of what led to that event, itself included: happened-before."""
        newest = {self.events[place].host: place}
        found = []
        for here in range(place, -1, -1):
            event = self.events[here]
            if here > newest.get(event.host, -1):
                continue
            found.append(here)
            if event.kind == "deliver" and event.other >= 0:
                source = self.events[event.other].host
                newest[source] = max(newest.get(source, -1), event.other)
        return found[::-1]

    def future(self, place: int) -> list[int]:
        """The places of what that event may have caused, itself included: happened-after."""
        oldest = {self.events[place].host: place}
        found = []
        for here in range(place, len(self.events)):
            event = self.events[here]
            caused = (
                event.kind == "deliver"
                and event.other >= 0
                and event.other >= oldest.get(self.events[event.other].host, len(self.events))
            )
            if caused:
                oldest.setdefault(event.host, here)
            if here >= oldest.get(event.host, len(self.events)):
                found.append(here)
        return found


def happenings(records: Sequence[TraceRecord], end_ns: int) -> Happenings:
    """Reads a run's records; those of a run without a narrator have no sends."""
    told = Happenings(end_ns=end_ns)
    under_way: defaultdict[tuple[object, ...], deque[tuple[int, tuple[object, ...]]]] = defaultdict(deque)
    for record in records:
        place = len(told.events)
        if record.kind == "host":
            told.hosts.append(str(record.fields[0]))
        elif record.kind in ("send", "deliver"):
            event = _message(record, place, under_way, told.events)
            if event.host not in told.hosts:
                told.hosts.append(event.host)  # the world's own
            told.events.append(event)
        else:
            told.events.append(_event(record))
    return told


def _message(
    record: TraceRecord,
    place: int,
    under_way: defaultdict[tuple[object, ...], deque[tuple[int, tuple[object, ...]]]],
    events: list[Happening],
) -> Happening:
    """Frames of one direction of a connection arrive in their order, or are lost."""
    source, target, *rest = (field.hex() if isinstance(field, bytes) else str(field) for field in record.fields)
    is_handshake = len(record.fields) == HANDSHAKE_FIELDS
    pipe = (source, target, rest[0])
    seal = tuple(rest[:3])
    if record.kind == "send":
        under_way[pipe].append((place, seal))
        text = rest[0] if is_handshake else rest[3] or rest[1]
        return Happening(record.time_ns, source, "send", f"to {target}: {text}", LOST)
    waiting = under_way[pipe]
    while waiting:
        sent, its = waiting.popleft()
        if its == seal:
            events[sent] = events[sent]._replace(other=place)
            text = events[sent].text.partition(": ")[2]
            return Happening(record.time_ns, target, "deliver", f"from {source}: {text}", sent)
    return Happening(record.time_ns, target, "deliver", f"from {source}: {rest[0 if is_handshake else 1]}")


def _event(record: TraceRecord) -> Happening:
    kind, fields = record.kind, [str(part) for part in record.fields if not isinstance(part, bytes)]
    host, rest = (fields[0], fields[1:]) if fields else (NOBODY, [])
    at_ns = record.time_ns
    if kind in ("start", "end"):
        return Happening(at_ns, host, "process", f"{rest[0]} {'starts' if kind == 'start' else f'ends: {rest[-1]}'}")
    if kind == "unit":
        return Happening(at_ns, host, "unit", f"{short_unit(rest[0])} is {', '.join(_unit_words(rest[1:]))}")
    if kind == "decide":
        return Happening(at_ns, host, "decide", f"{rest[0]} decides about {short_key(rest[1])}")
    if kind == "leads":
        return Happening(at_ns, host, "leads", f"leads in term {rest[0]}")
    if kind == "fault":
        return Happening(at_ns, _fault_host(host, rest), "fault", f"{host} {' '.join(rest)}".strip())
    if kind in _DISK_WORK:
        return Happening(at_ns, host, "disk", f"{kind[5:]} {' '.join(rest[:2])}")
    return Happening(at_ns, host, "fault", f"{kind} {' '.join(rest)}".strip())


def _unit_words(states: Sequence[str]) -> Iterator[str]:
    """`active, running, success, 0` without what goes without saying."""
    yield from (state for state in states[:2])
    if len(states) > 2 and states[2] != "success":
        yield states[2]
    if len(states) > 3 and states[3] != "0":
        yield f"restarted {states[3]} times" if states[3] != "1" else "restarted once"


def short_unit(name: str) -> str:
    """The object of systemd's name for its unit; another name as it is."""
    found = parse_unit_name(name)
    return f"Unit/{'/'.join(found)}" if found else name


def _fault_host(fault: str, rest: Sequence[str]) -> str:
    return rest[0] if fault in ("isolate", "rejoin", "unit-crash", "unit-removed") and rest else NOBODY


def bands(records: Sequence[TraceRecord], hosts: Sequence[str], end_ns: int) -> list[Band]:
    """The faults that last, in the order of their beginnings: cuts, lost power, pauses, processes that are down."""
    found: list[Band] = []
    ended: set[tuple[str, str]] = set()
    open_: dict[tuple[str, str], int] = {}

    def begin(host: str, text: str, at_ns: int) -> None:
        open_.setdefault((host, text), at_ns)

    def end(at_ns: int, host: str | None, *beginnings: str) -> None:
        for its, text in list(open_):
            if host in (None, its) and text.startswith(beginnings):
                found.append(Band(its, open_.pop((its, text)), at_ns, text))

    for at_ns, kind, raw in records:
        if kind in ("send", "deliver", "disk-append", "disk-sync", "decide", "unit"):
            continue
        fields = [str(part) for part in raw]
        match kind, fields:
            case "fault", ["isolate", host]:
                begin(host, "cut off", at_ns)
            case "fault", ["rejoin", host]:
                end(at_ns, host, "cut off")
            case "fault", ["partition", one, other, ways]:
                way = "from" if ways == "one way" else "between"
                for host in [*one.split(","), *other.split(",")]:
                    begin(host, f"cut {way} {one} {'to' if way == 'from' else 'and'} {other}", at_ns)
            case "fault", ["unite", one, other]:
                for here, there in ((one, other), (other, one)):
                    end(at_ns, None, f"cut between {here} and {there}", f"cut from {here} to {there}")
            case "fault", ["heal", healed]:
                for host in healed.split(","):
                    end(at_ns, host, "cut")
                for its, text in list(open_):
                    if any(host in text.replace(",", " ").split() for host in healed.split(",")):
                        end(at_ns, its, text)
            case "fault", ["heal-all"]:
                end(at_ns, None, "cut")
            case "fault", ["clog", one, other, for_ns]:
                found += [Band(host, at_ns, at_ns + int(for_ns), f"clogged: {one}, {other}") for host in (one, other)]
            case "power-off", [host]:
                begin(host, "without power", at_ns)
            case "power-on", [host]:
                end(at_ns, host, "without power")
            case "pause", [host]:
                begin(host, "paused", at_ns)
            case "resume", [host]:
                end(at_ns, host, "paused")
            case "end", [host, process, _, death]:
                if death != Death.POWER_LOSS.value:
                    begin(host, f"{process} is down", at_ns)
                if death == Death.EXIT.value:
                    ended.add((host, f"{process} is down"))
            case "start", [host, process, *_]:
                end(at_ns, host, f"{process} is down")
    for place in ended & open_.keys():  # its work was done
        del open_[place]
    end(end_ns, None, "")
    return sorted(
        (band for band in found if band.host in hosts), key=lambda band: (band.start_ns, band.host, band.text)
    )


def unit_spans(records: Sequence[TraceRecord], end_ns: int) -> list[UnitSpan]:
    """The states of units on hosts, in the order of their ends."""
    found: list[UnitSpan] = []
    since: dict[tuple[str, str], tuple[int, str]] = {}
    for at_ns, kind, fields in records:
        if kind == "power-off":
            for place in [place for place in since if place[0] == fields[0]]:
                start_ns, before = since.pop(place)
                found.append(UnitSpan(*place, start_ns, at_ns, before))
        if kind != "unit":
            continue
        place, state = (str(fields[0]), short_unit(str(fields[1]))), str(fields[2])
        if place in since:
            start_ns, before = since.pop(place)
            found.append(UnitSpan(*place, start_ns, at_ns, before))
        if state != "removed":
            since[place] = (at_ns, state)
    found += [UnitSpan(*place, start_ns, end_ns, state) for place, (start_ns, state) in since.items()]
    return found
