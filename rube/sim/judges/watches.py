"""The promises of watches: ordered, unique, reliable, atomic, resumable, bookmarkable, filtered, with contents.

Source: https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rube.sim.judges.contents import Content, difference
from rube.sim.judges.history import History
from rube.sim.judges.order import Order
from rube.sim.judges.reads import compared
from rube.sim.judges.records import Delivery, Stream, WatchEvent
from rube.sim.judges.selection import Selection
from rube.sim.judges.timeline import SeenChange, Timeline
from rube.sim.judges.verdict import Verdict, judge, many, time_text

CHECK = "watch_promises"


def watch_promises(history: History, *, asked: bool = True) -> Verdict:
    """Checks that every watch of every client got each change that its filter sees, as it was, in order, once, no
    revision in parts; first the existing objects, if asked for; and that each observer knows the final state in the
    end.

    If the check was `asked` for there must be observers.
    """
    observers = {stream.client for stream in history.streams if stream.observer}
    if asked and not observers:
        return Verdict(check=CHECK, passed=False, text="there was no watch: add `observers: 3` to `workload`")
    events = sum(len(delivery.events) for stream in history.streams for delivery in stream.deliveries)
    told = f"{many(events, 'event')} to {many(len({stream.client for stream in history.streams}), 'watcher')}"
    return judge(
        CHECK,
        f"every change came as it was, in order, once, no revision in parts ({told})",
        _offending(history),
        "a watch broke its promises",
    )


def _offending(history: History) -> Iterator[str]:
    order = Order(history)
    for stream in history.streams:
        yield from _Told(stream, history.timeline, order).judge()
    by_client: dict[tuple[str, Selection], list[Stream]] = defaultdict(list)
    for stream in history.streams:
        if stream.observer:
            by_client[stream.client, Selection.of(stream.request)].append(stream)
    for (client, selection), streams in by_client.items():
        yield from _ended(f"{client}'s watch of {selection}", streams, history.timeline)


class _Told:
    """One watch, response after response."""

    def __init__(self, stream: Stream, timeline: Timeline, order: Order) -> None:
        request = stream.request
        self._stream = stream
        self._timeline = timeline
        self._selection = Selection.of(request)
        self._order = order
        self._known = order.known_before(stream.start_ns)
        self._where = stream.where
        self._initial: dict[str, Content] | None = {} if request.send_initial else None
        # Everything up to here was delivered; None: its start is not yet known.
        self._covered: int | None = request.after_revision or None

    def judge(self) -> Iterator[str]:
        for delivery in self._stream.deliveries:
            if delivery.age_ns is not None:
                self._known = self._order.known_at_age(self._stream.start_ns, delivery.age_ns)
            self._where = f"{time_text(delivery.at_ns)} {self._stream.client}'s watch of {self._selection}"
            if self._initial is not None:
                yield from self._listing(delivery, self._initial)
            else:
                yield from self._changes(delivery)
            yield from self._bookmarks(delivery)

    def _listing(self, delivery: Delivery, initial: dict[str, Content]) -> Iterator[str]:
        for event in delivery.events:
            if event.deleted:
                yield f"{self._where} got a {event} among the initial objects"
            elif event.key in initial:
                yield f"{self._where} got {event.key} twice among the initial objects"
            else:
                initial[event.key] = event.content
        if not delivery.initial_end:
            if delivery.revision:
                yield f"{self._where} heard that revision {delivery.revision} is complete before the initial objects"
            return
        self._initial, self._covered = None, delivery.revision
        where = f"{self._where}: its initial objects at revision {delivery.revision}"
        yield from self._new_enough(delivery.revision)
        expected = self._timeline.matching(self._selection, delivery.revision)
        for key in sorted(initial):
            yield from compared(where, expected.get(key), initial[key])
        for key in sorted(expected.keys() - initial.keys()):
            yield f"{where} do not have {key}, which was there"

    def _new_enough(self, revision: int) -> Iterator[str]:
        if revision < self._known.revision:
            yield (
                f"{self._where} began at revision {revision}, though {self._known.who} knew of {self._known.revision} "
                f"at {time_text(self._known.at_ns)}"
            )
        if revision < self._stream.request.after_revision:
            yield f"{self._where} began at revision {revision}, before {self._stream.request.after_revision}"
        if revision > self._timeline.revision:
            yield f"{self._where} got revision {revision}, but the store ends with {self._timeline.revision}"

    def _changes(self, delivery: Delivery) -> Iterator[str]:
        if self._covered is None:  # from now on: the first response says where that is
            self._covered = min([event.revision - 1 for event in delivery.events], default=delivery.revision)
            yield from self._new_enough(self._covered)
        if delivery.revision < self._covered:
            yield f"{self._where} went back from revision {self._covered} to {delivery.revision}"
        due = _until(self._timeline.after(self._selection, self._covered), delivery.revision)
        last = self._covered
        for event in delivery.events:
            if event.revision <= self._covered:
                yield f"{self._where} got again or too late: {event}, after everything up to {self._covered}"
            elif event.revision > delivery.revision:
                yield f"{self._where} got {event}, past the revision {delivery.revision} of its response"
            else:
                if event.revision < last:
                    yield f"{self._where} got {event} after revision {last}"
                last = max(last, event.revision)
                yield from self._event(event, due)
        for missing in due:
            split = any(event.revision == missing.revision for event in delivery.events)
            everything = f"but everything up to {delivery.revision} was said to be delivered"
            how = "only a part of its revision" if split else everything
            yield f"{self._where} was not told {_text(missing)}, {how}"
        self._covered = max(self._covered, delivery.revision)

    def _event(self, event: WatchEvent, due: list[SeenChange]) -> Iterator[str]:
        """Removes the event from those that are due, and yields what it came without."""
        found = next((place for place, change in enumerate(due) if _is_about(event, change)), None)
        if found is None:
            yield f"{self._where} got an event that is not in the log at this place: {event}"
            return
        yield from self._content(event, due.pop(found))
        skipped = [change for change in due[:found] if change.revision < event.revision]
        if skipped:
            yield f"{self._where} got {event} without {_text(skipped[0])}"
            due[:] = [change for change in due if change not in skipped]

    def _content(self, event: WatchEvent, due: SeenChange) -> Iterator[str]:
        if event.content is due.content:
            return
        if not event.deleted:
            yield f"{self._where} got a wrong {event}: {difference(due.content, event.content)}"
        elif not event.content.ends_as(due.content):
            differs = difference(due.content, event.content)
            yield f"{self._where} got a {event} with a wrong previous object: {differs}"

    def _bookmarks(self, delivery: Delivery) -> Iterator[str]:
        for revision in delivery.bookmarks:
            if revision != delivery.revision:
                yield f"{self._where}: a bookmark of revision {revision} in a response of {delivery.revision}"


def _until(seen: Sequence[SeenChange], revision: int) -> list[SeenChange]:
    due: list[SeenChange] = []
    for change in seen:
        if change.revision > revision:
            break
        due.append(change)
    return due


def _is_about(event: WatchEvent, due: SeenChange) -> bool:
    return (event.revision, event.key, event.deleted) == (due.revision, due.content.key, due.deleted)


def _text(seen: SeenChange) -> str:
    return f"{'delete' if seen.deleted else 'update'} of {seen.content.key} at revision {seen.revision}"


def _ended(watch: str, streams: list[Stream], timeline: Timeline) -> Iterator[str]:
    """Yields the differences between an observer's objects after all events and the final state."""
    state: dict[str, Content] = {}
    for stream in streams:
        deliveries = stream.deliveries
        if stream.request.send_initial:
            if not any(delivery.initial_end for delivery in deliveries):
                continue  # cut off: it told nothing complete
            state = {}
        for delivery in deliveries:
            for event in delivery.events:
                if event.deleted:
                    state.pop(event.key, None)
                else:
                    state[event.key] = event.content
    expected = timeline.matching(Selection.of(streams[-1].request), timeline.revision)
    for key in sorted(state.keys() | expected.keys()):
        seen, there = state.get(key), expected.get(key)
        if seen is not there:
            yield (
                f"{watch} ended with {key} at revision {seen.revision if seen else 'none'}, "
                f"the store has it at {there.revision if there else 'none'}"
            )
