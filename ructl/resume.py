"""Where a watch is, so that it goes on after a lost connection with every change once."""

from __future__ import annotations

from rube import api_pb2
from rube.api.errors import (
    CompactedError,
    DeadlineExceededError,
    RevisionAheadError,
    RubeError,
    StoreChangedError,
    UnavailableError,
)
from rube.api.keys import ObjectKey, key_of


class WatchState:
    """Turns the responses of one watch after the other into the events of a single one.

    It resumes after the last revision that it has seen. Where that cannot be (compacted, another store, cut off
    within the initial objects) it lists again, and gives as events only what differs from what it knew.
    """

    def __init__(self, wanted: api_pb2.WatchRequest, *, initial: bool) -> None:
        self._wanted = wanted
        self._revision = 0
        self._store_id = ""
        self._relist = initial
        self._known: dict[ObjectKey, api_pb2.Object] = {}
        # Keys of the initial objects of the list that is under way; a dict for its order.
        self._listed: dict[ObjectKey, None] = {}

    @property
    def plan(self) -> str:
        return "listing again" if self._relist else f"resuming after revision {self._revision}"

    def request(self) -> api_pb2.WatchRequest:
        """What to ask next."""
        request = api_pb2.WatchRequest()
        request.CopyFrom(self._wanted)
        if self._relist:
            self._listed.clear()
            request.send_initial = True
        else:
            request.after_revision = self._revision
            request.store_id = self._store_id
        return request

    def receive(self, response: api_pb2.WatchResponse) -> list[api_pb2.Event]:
        """The events to show for a response; bookmarks are not."""
        events: list[api_pb2.Event] = []
        for event in response.events:
            match event.WhichOneof("event"):
                case "update":
                    events.extend(self._update(event))
                case "delete":
                    self._known.pop(key_of(event.delete), None)
                    events.append(event)
                case "bookmark" if event.bookmark.initial_end and self._relist:
                    events.extend(self._vanished(event.bookmark.revision))
                    self._relist = False
        self._store_id = response.store_id
        self._revision = max(self._revision, response.revision) if not self._relist else 0
        return events

    def lost(self, error: RubeError) -> bool:
        """Notes why the watch ended. False if asking again cannot help."""
        if isinstance(error, (CompactedError, StoreChangedError, RevisionAheadError)):
            self._relist, self._revision, self._store_id = True, 0, ""
            return True
        return isinstance(error, (UnavailableError, DeadlineExceededError))

    def _update(self, event: api_pb2.Event) -> list[api_pb2.Event]:
        key = key_of(event.update)
        if self._relist:
            self._listed[key] = None
            if self._known.get(key) == event.update:
                return []
        self._known[key] = event.update
        return [event]

    def _vanished(self, revision: int) -> list[api_pb2.Event]:
        """Deletes of what was known and is not in the list that ends at this revision."""
        gone = sorted(key for key in self._known if key not in self._listed)
        events = []
        for key in gone:
            event = api_pb2.Event(delete=self._known.pop(key))
            event.delete.metadata.revision = revision
            events.append(event)
        return events
