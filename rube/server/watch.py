"""Watch: first the existing objects, if asked for, then every change, and bookmarks if nothing else shows the
revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rube.api import WatchRequest, WatchResponse
from rube.api.errors import DeadlineExceededError, StoreChangedError, UnavailableError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.config import ApiServerConfig
from rube.server.events import EventCache, WatchBounds, bookmark, initial_responses, responses_for
from rube.server.filters import ObjectFilter
from rube.server.known_types import KnownTypes
from rube.server.scan import scan
from rube.server.timed_iterator import TimedIterator
from rube.store import ChangeBatch, Store

Responses = AsyncGenerator[WatchResponse, None]


class Watches:
    """The running watches of one server.

    A watch with a slow client holds one batch and leaves the rest to the store, which buffers a bounded part and serves
    the rest from its log: a slow client never grows the server.
    """

    def __init__(self, clock: Clock, store: Store, types: KnownTypes, config: ApiServerConfig) -> None:
        self._clock = clock
        self._store = store
        self._types = types
        self._cache = EventCache(bytes_max=config.event_cache_bytes_max)
        self._bounds = WatchBounds(config.watch_response_events_max, config.watch_response_bytes_max)
        self._scanned_objects_max = config.page_scanned_objects_max
        self._bookmark_interval_ns = round(config.bookmark_interval_s * NS_PER_S)
        self._stopping = False
        # A dict for its order: `stop` ends the waits in the order of their beginning.
        self._waits: dict[asyncio.Timeout, None] = {}

    def stop(self) -> None:
        """Ends every watch that waits for changes with UNAVAILABLE, now, and the others at their next step."""
        self._stopping = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def watch(self, request: WatchRequest) -> Responses:
        """Yields the responses to a WatchRequest. Ends only with an error: StoreChangedError, CompactedError,
        RevisionAheadError, InvalidArgumentError, or UnavailableError when the server stops."""
        wanted = ObjectFilter.of(request, await self._types.require((request.type,)))
        store_id = self._store.store_id
        if request.store_id and request.store_id != store_id:
            raise StoreChangedError(
                f"revision {request.after_revision} is of store {request.store_id}, but this is store {store_id}: "
                "list again",
                store_id=store_id,
            )
        after = request.after_revision
        if request.send_initial:
            async with aclosing(self._initial(wanted, store_id, after)) as initial:
                async for response in initial:
                    after = response.revision
                    yield response
        elif not after:
            after = (await self._store.range(wanted.start, None)).revision
        async with aclosing(self._changes(wanted, store_id, after, told=request.send_initial)) as changes:
            async for response in changes:
                yield response

    async def _initial(self, wanted: ObjectFilter, store_id: str, min_revision: int) -> Responses:
        """Yields the objects as of one revision, not older than `min_revision`. The last response ends with the
        bookmark and has the revision; the others have revision 0, since they are incomplete, and may be empty if little
        matches: a sign of life."""
        silent_objects = 0
        async with aclosing(scan(self._store, wanted.start, wanted.end, min_revision=min_revision)) as pages:
            async for page in pages:
                silent_objects += len(page.records)
                response = None
                for following in initial_responses(page.records, wanted, store_id, self._bounds):
                    self._check_running()
                    if response is not None:
                        yield response
                        silent_objects = 0
                    response = following
                assert response is not None, "there is at least one"
                if not page.more:
                    response.MergeFrom(bookmark(page.revision, store_id, initial_end=True))
                if response.events or silent_objects >= self._scanned_objects_max:
                    yield response
                    silent_objects = 0

    async def _changes(self, wanted: ObjectFilter, store_id: str, after: int, *, told: bool) -> Responses:
        """Yields changes after the revision `after`, and bookmarks. `told`: the client has the revision `after`
        already."""
        sent_revision, sent_ns = after if told else -1, self._clock.monotonic_ns()
        due_revision = sent_revision
        async with aclosing(
            TimedIterator(self._store.watch(wanted.start, wanted.end, after_revision=after))
        ) as batches:
            while True:
                # A bookmark shows a revision without an event for this watch, but not more often than the interval.
                due_ns = sent_ns + self._bookmark_interval_ns if due_revision > sent_revision else None
                batch = await self._next(batches, due_ns)
                if batch is not None:
                    due_revision = batch.revision
                    for response in responses_for(batch, wanted, self._cache, store_id, self._bounds):
                        yield response
                        sent_revision, sent_ns = response.revision, self._clock.monotonic_ns()
                is_due = sent_revision < 0 or self._clock.monotonic_ns() >= sent_ns + self._bookmark_interval_ns
                if due_revision > sent_revision and is_due:
                    yield bookmark(due_revision, store_id)
                    sent_revision, sent_ns = due_revision, self._clock.monotonic_ns()

    async def _next(self, batches: TimedIterator[ChangeBatch], due_ns: int | None) -> ChangeBatch | None:
        """Returns the store's next batch; None if the clock reaches `due_ns` before."""
        self._check_running()
        wait_s = None if due_ns is None else (due_ns - self._clock.monotonic_ns()) / NS_PER_S
        wait = self._clock.timeout(None)
        self._waits[wait] = None
        try:
            async with wait:
                return await batches.next(wait_s)
        except TimeoutError as error:
            if wait.expired():
                raise _stopping() from error
            raise DeadlineExceededError(
                f"the store gave no answer in time ({error or 'it says no more'}): resume the watch"
            ) from error
        finally:
            del self._waits[wait]

    def _check_running(self) -> None:
        if self._stopping:
            raise _stopping()


def _stopping() -> UnavailableError:
    return UnavailableError("this apiserver is stopping: resume the watch on another one, or when it is back")
