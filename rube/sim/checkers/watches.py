"""What a watch promises: ordered, unique, reliable, atomic, resumable.

Source: https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rube.sim.checkers.history import Delivery, History, LogEntry, WatchEvent
from rube.sim.checkers.verdict import Verdict, judge, many, time_text

CHECK = "watch_promises"


def watch_promises(history: History) -> Verdict:
    """Each observer was told every change of the log after its list, in order, once, no revision in parts.

    The log must reach back to the first list of each observer.
    """
    by_observer: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in history.deliveries:
        by_observer[delivery.observer].append(delivery)
    if not by_observer:
        return Verdict(check=CHECK, passed=False, text="nobody watched: add `observers: 3` to `workload`")
    events = sum(len(delivery.events) for delivery in history.deliveries)
    told = f"{many(events, 'event')} to {many(len(by_observer), 'watcher')}"
    held = f"every change was told in order, once, no revision in parts ({told})"
    return judge(
        CHECK,
        held,
        (line for name in sorted(by_observer) for line in _observer(name, by_observer[name], history)),
        "a watch broke its promises",
    )


def _observer(name: str, deliveries: list[Delivery], history: History) -> Iterator[str]:
    sessions: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        sessions[delivery.session].append(delivery)
    for number in sorted(sessions):
        yield from _session(name, sessions[number], history.log)
    state = _replay(sessions[max(sessions)])
    for key in sorted(state.keys() | history.final.keys()):
        seen, there = state.get(key), history.final.get(key)
        if seen != there:
            yield (
                f"{time_text(deliveries[-1].at_ns)} {name} ended with {key} at revision {seen or 'none'}, "
                f"the store has it at {there or 'none'}"
            )


def _session(name: str, deliveries: list[Delivery], log: list[LogEntry]) -> Iterator[str]:
    """One list and what followed it, against the log."""
    changes = [delivery for delivery in deliveries if not delivery.initial]
    listed = max((delivery.revision for delivery in deliveries if delivery.initial), default=0)
    covered = listed
    due = [WatchEvent(entry.revision, entry.key, entry.deleted) for entry in log if entry.revision > listed]
    place = 0
    for delivery in changes:
        where = f"{time_text(delivery.at_ns)} {name}"
        for event in delivery.events:
            if event.revision <= covered:
                yield f"{where} was told again or too late: {_text(event)}, after everything up to {covered}"
            elif place < len(due) and event == due[place]:
                place += 1
            elif event in due[place:]:
                yield f"{where} was told {_text(event)} without {_text(due[place])}"
                place = due.index(event, place) + 1
            else:
                yield f"{where} was told what is not in the log at this place: {_text(event)}"
        if delivery.revision < covered:
            yield f"{where} went back from revision {covered} to {delivery.revision}"
        covered = max(covered, delivery.revision, *(event.revision for event in delivery.events), 0)
        if place < len(due) and due[place].revision <= covered:
            split = any(event.revision == due[place].revision for event in delivery.events)
            how = "only a part of its revision" if split else f"but everything up to {covered} was said to be delivered"
            yield f"{where} was not told {_text(due[place])}, {how}"
            while place < len(due) and due[place].revision <= covered:
                place += 1


def _replay(deliveries: list[Delivery]) -> dict[str, int]:
    state: dict[str, int] = {}
    for delivery in deliveries:
        for event in delivery.events:
            if event.deleted:
                state.pop(event.key, None)
            else:
                state[event.key] = event.revision
    return state


def _text(event: WatchEvent) -> str:
    return f"{'delete' if event.deleted else 'update'} of {event.key} at revision {event.revision}"
