"""The difference of two runs: the first event that differs, and the later differences that it can have caused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rube.api.times import NS_PER_S
from rube.sim.judges import many
from rube.sim.story.happenings import Happening, Happenings
from rube.sim.world.kernel.trace import TraceRecord

SHOWN_MAX = 40
"""So many of the differences are shown unless all are asked for."""
LINE_CHARS = 160
_QUIET = frozenset({"send", "disk"})
_MESSAGE_FIELDS = 4
_DEATH_FIELD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """An event that only one of two runs has."""

    run: int
    """0 or 1."""
    event: Happening


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two runs that differ."""

    parted: tuple[Happening | None, Happening | None]
    """The first events that differ if times count, too, such as an equal fault at another time; None: the end."""
    first: tuple[Happening | None, Happening | None]
    """The first event that differs on its host, in each run; None: nothing more happened on that host."""
    caused: Sequence[Only]
    """Happened after it, on its host or by messages, in the order of their times; itself included."""
    others: Sequence[Only]
    """The differences that it cannot have caused."""


def difference(first: Happenings, second: Happenings) -> Difference | None:
    """Compares what happened on each host, in its order, whatever the times; None: the same."""
    runs = (first, second)
    places = _first_differing(runs)
    if places is None:
        return None
    reached = [set(run.future(place)) if place is not None else set() for run, place in zip(runs, places, strict=True)]
    caused: list[Only] = []
    others: list[Only] = []
    for number, (run, other) in enumerate(((first, second), (second, first))):
        for place in _not_in(run, other):
            (caused if place in reached[number] else others).append(Only(run=number, event=run.events[place]))
    events = tuple(None if place is None else run.events[place] for run, place in zip(runs, places, strict=True))
    return Difference(
        parted=_parted(first.events, second.events),
        first=(events[0], events[1]),
        caused=_in_time(caused),
        others=_in_time(others),
    )


def _parted(ours: Sequence[Happening], theirs: Sequence[Happening]) -> tuple[Happening | None, Happening | None]:
    end = min(len(ours), len(theirs))
    same = next((at for at in range(end) if ours[at][:4] != theirs[at][:4]), end)
    return ours[same] if same < len(ours) else None, theirs[same] if same < len(theirs) else None


def _in_time(found: Iterable[Only]) -> list[Only]:
    return sorted(found, key=lambda one: (one.event.at_ns, one.run))


def _said(event: Happening) -> tuple[str, str, str]:
    """The event without its time."""
    return event.host, event.kind, event.text


def _first_differing(runs: tuple[Happenings, Happenings]) -> tuple[int | None, int | None] | None:
    """The places of the first events that differ on some host, earliest first."""
    by_host: tuple[dict[str, list[int]], dict[str, list[int]]] = (defaultdict(list), defaultdict(list))
    for run, hosts in zip(runs, by_host, strict=True):
        for place, event in enumerate(run.events):
            hosts[event.host].append(place)
    found: list[tuple[int, str, tuple[int | None, int | None]]] = []
    for host in sorted({*by_host[0], *by_host[1]}):
        ours, theirs = by_host[0][host], by_host[1][host]
        pairs = zip(ours, theirs, strict=False)
        same = next(
            (at for at, (one, two) in enumerate(pairs) if _said(runs[0].events[one]) != _said(runs[1].events[two])),
            min(len(ours), len(theirs)),
        )
        places = (ours[same] if same < len(ours) else None, theirs[same] if same < len(theirs) else None)
        times = [run.events[at].at_ns for run, at in zip(runs, places, strict=True) if at is not None]
        if times:
            found.append((min(times), host, places))
    return min(found)[2] if found else None


def _not_in(run: Happenings, other: Happenings) -> Iterator[int]:
    """Yields the places of a run's events beyond as many as the other has of the same."""
    left = Counter(map(_said, other.events))
    for place, event in enumerate(run.events):
        said = _said(event)
        if left[said]:
            left[said] -= 1
        else:
            yield place


def difference_lines(found: Difference, names: tuple[str, str], *, everything: bool = False) -> Iterator[str]:
    """The report. Sends and disk writes are left out unless everything is asked for: their deliveries tell enough."""

    def line(event: Happening) -> str:
        told = f"{event.at_ns / NS_PER_S:.9f}s {event.host or 'all hosts'}: {event.text}"
        return told if everything or len(told) <= LINE_CHARS else told[: LINE_CHARS - 1] + "…"

    yield "the same to the nanosecond until:"
    for mark, event in zip("-+", found.parted, strict=True):
        yield f"  {mark} {line(event) if event else 'the end'}"
    yield ""
    yield "the first difference in what happens, whatever the times:"
    for mark, name, event in zip("-+", names, found.first, strict=True):
        yield f"  {mark} {name}: {line(event) if event else 'nothing more happens on that host'}"
    quiet = frozenset() if everything else _QUIET
    visible = [one for one in found.caused if one.event.kind not in quiet]
    counts = Counter(one.run for one in visible)
    yield ""
    yield f"what it can have caused: {many(counts[0], 'event')} only in - and {counts[1]} only in +"
    shown = visible if everything else visible[:SHOWN_MAX]
    yield from (f"  {'-+'[one.run]} {line(one.event)}" for one in shown)
    if len(shown) < len(visible):
        yield f"  … and {len(visible) - len(shown)} more (--all)"
    rest = [one for one in found.others if one.event.kind not in quiet]
    if rest:
        yield ""
        yield f"{many(len(rest), 'difference')} that it cannot have caused, the first at {line(rest[0].event)}"


def read_trace(text: str) -> list[TraceRecord]:
    """The records of a file that `rube sim --trace` wrote. Raises ValueError for a line that is none, with its
    number."""
    return [_record(number, line) for number, line in enumerate(text.splitlines(), 1) if line]


def _record(number: int, line: str) -> TraceRecord:
    time, _, rest = line.partition(" ")
    kind, *fields = rest.split(" ")
    seconds, _, nanos = time.partition(".")
    if not (seconds.isdigit() and nanos.isdigit() and len(nanos) == len("000000000") and kind):
        raise ValueError(f"line {number} is no record of a trace: {line[:60]!r}")
    if kind in ("send", "deliver"):
        is_frame = len(fields) > _MESSAGE_FIELDS and fields[2].isdigit()
        cut = _MESSAGE_FIELDS + 1 if is_frame else 2
        fields = [*fields[:cut], " ".join(fields[cut:])] if kind == "send" or not is_frame else fields
    elif kind == "end":
        fields = [*fields[:_DEATH_FIELD], " ".join(fields[_DEATH_FIELD:])]
    return TraceRecord(int(seconds) * NS_PER_S + int(nanos), kind, tuple(fields))
