"""The events that one watch sees of a store's changes: pure, apart from a cache that watches share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rube.server.config import ApiServerConfig
from rube.server.encoding import bookmark_event, delete_event, update_event, watch_response
from rube.server.filters import ObjectFilter
from rube.server.objects import size_in_response
from rube.server.stored_object import labels_of
from rube.store import Change, ChangeBatch, Record
from rube.transport import Encoded

# Bookmarks that are kept encoded: many watches get the same one at about the same time.
_BOOKMARKS_MAX = 64
# An event is kept as its record, and as the bytes that are sent.
_KEPT_TIMES = 2


class SharedEvent:
    """An event that watches share: encoded once, when the first of them sends it."""

    __slots__ = ("_encoded", "_labels", "deleted", "record", "revision", "size_bytes")

    def __init__(self, record: Record, revision: int, *, deleted: bool) -> None:
        self.record = record
        """The object's new state; for a delete the one before."""
        self.revision = revision
        """The revision of the change."""
        self.deleted = deleted
        self.size_bytes = size_in_response(record)
        """An upper bound of the bytes that the event adds to a response."""
        self._encoded = b""
        self._labels: dict[str, str] | None = None

    def labels(self) -> dict[str, str]:
        """Returns the labels of the object; they must not be changed."""
        if self._labels is None:
            self._labels = labels_of(self.record)
        return self._labels

    def encoded(self) -> bytes:
        """Returns the field `events` of a WatchResponse with this event."""
        if not self._encoded:
            self._encoded = delete_event(self.record, self.revision) if self.deleted else update_event(self.record)
        return self._encoded


class WatchBounds(NamedTuple):
    """The limits of one response, unless a single revision has more."""

    events_max: int
    bytes_max: int

    @classmethod
    def of(cls, config: ApiServerConfig) -> WatchBounds:
        return cls(config.watch_response_events_max, config.watch_response_bytes_max)


class EventCache:
    """The events of the newest changes, made once for all watches; drops the oldest past a bound of bytes."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        # By key, revision of the change, and whether it ends the object; in order of insertion.
        self._events: dict[tuple[bytes, int, bool], SharedEvent] = {}

    def update(self, record: Record) -> SharedEvent:
        """Returns the event of a put: the record's value is the object's new state."""
        return self._find(record, record.mod_revision, deleted=False)

    def delete(self, previous: Record, revision: int) -> SharedEvent:
        """Returns the event that the object `previous` was deleted, or stopped matching, at `revision`."""
        return self._find(previous, revision, deleted=True)

    def _find(self, record: Record, revision: int, *, deleted: bool) -> SharedEvent:
        index = (record.key, revision, deleted)
        found = self._events.get(index)
        if found is None:
            found = self._events[index] = SharedEvent(record, revision, deleted=deleted)
            self._bytes += _KEPT_TIMES * found.size_bytes
            while self._bytes > self._bytes_max:
                self._bytes -= _KEPT_TIMES * self._events.pop(next(iter(self._events))).size_bytes
        return found


class EncodedResponse:
    """A response that watches share: encoded once, when the first of them sends it. Until then others can be joined to
    it."""

    __slots__ = ("_encoded", "count", "events", "revision", "store_id")

    def __init__(self, events: bytes, count: int, revision: int, store_id: str) -> None:
        self.events = events
        """The fields `events` of the WatchResponse."""
        self.count = count
        self.revision = revision
        """Everything up to here was delivered with it; 0: the initial objects are not complete."""
        self.store_id = store_id
        self._encoded: Encoded | None = None

    def encode(self) -> Encoded:
        if self._encoded is None:
            self._encoded = Encoded(watch_response(self.events, self.revision, self.store_id))
        return self._encoded


def joined(responses: Sequence[EncodedResponse]) -> EncodedResponse:
    """Returns one response in place of several in a row."""
    events = b"".join([response.events for response in responses])
    return EncodedResponse(
        events, sum(response.count for response in responses), responses[-1].revision, responses[-1].store_id
    )


def event_for(change: Change, wanted: ObjectFilter, cache: EventCache) -> SharedEvent | None:
    """Returns the event that this watch sees of a change; None if the object matched neither before nor after."""
    record, previous = change.record, change.previous
    if not wanted.matches_key(record.key):
        return None
    if not change.deleted:
        update = cache.update(record)
        if wanted.admits(update.record, update.labels):
            return update
    # Whether it matched before: the event that ends it has the same labels.
    if previous is None or not wanted.admits(previous, cache.update(previous).labels):
        return None
    return cache.delete(previous, record.mod_revision)


def responses_for(
    batch: ChangeBatch, wanted: ObjectFilter, cache: EventCache, store_id: str, bounds: WatchBounds
) -> Iterator[EncodedResponse]:
    """Yields the batch's events, if any match, in responses of bounded size, none of which ends within a revision."""
    parts: list[bytes] = []
    size, revision = 0, 0
    for change in batch.changes:
        event = event_for(change, wanted, cache)
        if event is None:
            continue
        full = len(parts) >= bounds.events_max or size + event.size_bytes > bounds.bytes_max
        if full and parts and event.revision != revision:
            yield EncodedResponse(b"".join(parts), len(parts), revision, store_id)
            parts, size = [], 0
        parts.append(event.encoded())
        revision = event.revision
        size += event.size_bytes
    if parts:
        yield EncodedResponse(b"".join(parts), len(parts), batch.revision, store_id)


def initial_responses(
    records: Iterable[Record], wanted: ObjectFilter, store_id: str, bounds: WatchBounds
) -> Iterator[EncodedResponse]:
    """Yields the objects that match, in responses of bounded size; at least one, perhaps empty.

    They don't come from the cache, which is for events that many watches see at about the same time.
    """
    parts: list[bytes] = []
    size = 0
    for record in records:
        event = SharedEvent(record, record.mod_revision, deleted=False)
        if not wanted.matches_key(record.key) or not wanted.admits(record, event.labels):
            continue
        if parts and (len(parts) >= bounds.events_max or size + event.size_bytes > bounds.bytes_max):
            yield EncodedResponse(b"".join(parts), len(parts), 0, store_id)
            parts, size = [], 0
        parts.append(event.encoded())
        size += event.size_bytes
    yield EncodedResponse(b"".join(parts), len(parts), 0, store_id)


@lru_cache(maxsize=_BOOKMARKS_MAX)
def bookmark(revision: int, store_id: str, *, initial_end: bool = False) -> EncodedResponse:
    return EncodedResponse(bookmark_event(revision, initial_end=initial_end), 1, revision, store_id)
