"""The events that one watch sees of a store's changes: pure, apart from a cache that watches share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rube.api import Bookmark, Event, WatchResponse
from rube.server.filters import ObjectFilter
from rube.server.objects import decode, size_in_response
from rube.store import Change, ChangeBatch, Record


class Sized(NamedTuple):
    """An event that watches share (never change it), the revision of its change, and an upper bound of its size."""

    event: Event
    revision: int
    size_bytes: int


class WatchBounds(NamedTuple):
    """The limits of one response, unless a single revision has more."""

    events_max: int
    bytes_max: int


class EventCache:
    """Parses each change once for all watches; drops the oldest past a bound of bytes."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        # By key, revision of the change, and whether it ends the object; in order of insertion.
        self._events: dict[tuple[bytes, int, bool], Sized] = {}

    def update(self, record: Record) -> Sized:
        """Returns the event of a put: the record's value is the object's new state."""
        return self._find(record, record.mod_revision, deleted=False)

    def delete(self, previous: Record, revision: int) -> Sized:
        """Returns the event that the object `previous` was deleted, or stopped matching, at `revision`."""
        return self._find(previous, revision, deleted=True)

    def _find(self, record: Record, revision: int, *, deleted: bool) -> Sized:
        index = (record.key, revision, deleted)
        found = self._events.get(index)
        if found is None:
            obj = decode(record)
            obj.metadata.revision = revision
            event = Event(delete=obj) if deleted else Event(update=obj)
            found = self._events[index] = Sized(event, revision, size_in_response(record))
            self._bytes += found.size_bytes
            while self._bytes > self._bytes_max:
                self._bytes -= self._events.pop(next(iter(self._events))).size_bytes
        return found


def event_for(change: Change, wanted: ObjectFilter, cache: EventCache) -> Sized | None:
    """Returns the event that this watch sees of a change; None if the object matched neither before nor after."""
    record, previous = change.record, change.previous
    if not wanted.matches_key(record.key):
        return None
    if not change.deleted:
        update = cache.update(record)
        if wanted.matches(update.event.update):
            return update
    if previous is None:
        return None
    # Whether it matched before: the event that ends it has the same labels.
    end = cache.delete(previous, record.mod_revision)
    return end if wanted.matches(end.event.delete) else None


def responses_for(
    batch: ChangeBatch, wanted: ObjectFilter, cache: EventCache, store_id: str, bounds: WatchBounds
) -> Iterator[WatchResponse]:
    """Yields the batch's events, if any match, in responses of bounded size, none of which ends within a revision."""
    response = WatchResponse(store_id=store_id)
    size = 0
    for change in batch.changes:
        sized = event_for(change, wanted, cache)
        if sized is None:
            continue
        full = len(response.events) >= bounds.events_max or size + sized.size_bytes > bounds.bytes_max
        if full and response.events and sized.revision != response.revision:
            yield response
            response = WatchResponse(store_id=store_id)
            size = 0
        response.events.append(sized.event)
        response.revision = sized.revision
        size += sized.size_bytes
    if response.events:
        response.revision = batch.revision
        yield response


def initial_responses(
    records: Iterable[Record], wanted: ObjectFilter, store_id: str, bounds: WatchBounds
) -> Iterator[WatchResponse]:
    """Yields the objects that match, in responses of bounded size; at least one, perhaps empty.

    They don't come from the cache, which is for events that many watches see at about the same time.
    """
    response = WatchResponse(store_id=store_id)
    size = 0
    for record in records:
        if not wanted.matches_key(record.key) or not wanted.matches(obj := decode(record)):
            continue
        size_bytes = size_in_response(record)
        if response.events and (len(response.events) >= bounds.events_max or size + size_bytes > bounds.bytes_max):
            yield response
            response = WatchResponse(store_id=store_id)
            size = 0
        response.events.add(update=obj)
        size += size_bytes
    yield response


def bookmark(revision: int, store_id: str, *, initial_end: bool = False) -> WatchResponse:
    mark = Event(bookmark=Bookmark(revision=revision, initial_end=initial_end))
    return WatchResponse(events=[mark], revision=revision, store_id=store_id)
