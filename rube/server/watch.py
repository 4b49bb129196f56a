"""Watch: first the existing objects, if asked for, then every change, and bookmarks if nothing else shows the
revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace

from rube.api import WatchRequest
from rube.api.errors import DeadlineExceededError, StoreChangedError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.config import ApiServerConfig
from rube.server.events import (
    EncodedResponse,
    EventCache,
    WatchBounds,
    bookmark,
    initial_responses,
    joined,
    responses_for,
)
from rube.server.feed import ChangeFeed, Subscription, stopping
from rube.server.filters import ObjectFilter
from rube.server.known_types import KnownTypes
from rube.server.rights.sight import Sight
from rube.server.selection import Selection
from rube.server.timed_iterator import TimedIterator
from rube.store import ChangeBatch, Store
from rube.transport import Encoded

Responses = AsyncGenerator[EncodedResponse, None]


class _Progress:
    """The progress of one watch."""

    __slots__ = ("place", "reached", "told", "told_ns")

    def __init__(self, reached: int, told: int, told_ns: int) -> None:
        self.reached = reached
        """Everything up to this revision was looked at."""
        self.told = told
        """The revision that the client was told last, -1 before the first; and when."""
        self.told_ns = told_ns
        self.place: Subscription | None = None
        """Its place at the feed, once it has caught up."""


class Watches:
    """The running watches of one server.

    A watch that keeps up is fed by the one reader of the store. One that is behind reads the store's log, one batch at
    a time: a slow client never grows the server.
    """

    def __init__(
        self,
        clock: Clock,
        store: Store,
        types: KnownTypes,
        config: ApiServerConfig,
        beside: Callable[[], bytes] = bytes,
    ) -> None:
        """`beside` returns further fields of a watch's first WatchResponse that has a revision."""
        self._clock = clock
        self._store = store
        self._beside = beside
        self._types = types
        self._cache = EventCache(bytes_max=config.event_cache_bytes_max)
        self._bounds = WatchBounds.of(config)
        self.feed = ChangeFeed(clock, store, self._cache, config)
        self.selection = Selection(store, self.feed)
        """The objects that filters select now, found by what the watches' reader has seen."""
        self._scanned_objects_max = config.page_scanned_objects_max
        self._bookmark_interval_ns = round(config.bookmark_interval_s * NS_PER_S)
        self._stopping = False
        # A dict for its order: `stop` ends the waits in the order of their beginning.
        self._waits: dict[asyncio.Timeout, None] = {}

    def stop(self) -> None:
        """Ends every watch that waits for changes with UNAVAILABLE, now, and the others at their next step."""
        self._stopping = True
        self.feed.stop()
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stops, and waits until the store is not read any more."""
        self.stop()
        await self.selection.close()
        await self.feed.close()

    async def watch(self, request: WatchRequest, sight: Sight | None = None) -> AsyncGenerator[Encoded, None]:
        """Yields the responses to a WatchRequest. Ends only with an error: StoreChangedError, CompactedError,
        RevisionAheadError, InvalidArgumentError, or UnavailableError when the server stops."""
        wanted = ObjectFilter.of(request, await self._types.require((request.type,)))
        if sight is not None:
            wanted = replace(wanted, sight=sight)
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
                    yield self._first(response) if after else response.encode()
        elif not after:
            with _answers():
                after = (await self._store.range(wanted.start, None)).revision
        read = request.send_initial or not request.after_revision
        changes = self._changes(wanted, store_id, after, read=read, told=request.send_initial)
        first = not request.send_initial
        async with aclosing(changes):
            async for response in changes:
                yield self._first(response) if first else response.encode()
                first = False

    def _first(self, response: EncodedResponse) -> Encoded:
        encoded, beside = response.encode(), self._beside()
        return Encoded(encoded.data + beside) if beside else encoded

    async def _initial(self, wanted: ObjectFilter, store_id: str, min_revision: int) -> Responses:
        """Yields the objects as of one revision, not older than `min_revision`. The last response ends with the
        bookmark and has the revision; the others have revision 0, since they are incomplete, and may be empty if little
        matches: a sign of life."""
        silent_objects = 0
        async with aclosing(self.selection.pages(wanted, wanted.start, min_revision=min_revision)) as pages:
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
                    yield joined((response, bookmark(page.revision, store_id, initial_end=True)))
                elif response.count or silent_objects >= self._scanned_objects_max:
                    yield response
                    silent_objects = 0

    async def _changes(self, wanted: ObjectFilter, store_id: str, after: int, *, read: bool, told: bool) -> Responses:
        """Yields changes after the revision `after`, and bookmarks. `read`: the store has told that revision. `told`:
        the client has it already."""
        at = _Progress(after, after if told else -1, self._clock.monotonic_ns())
        try:
            while True:
                self._check_running()
                at.place = self.feed.join(wanted, at.reached, read=read)
                if at.place is not None and at.told < 0:
                    at.told = at.reached
                    yield bookmark(at.reached, store_id)
                if at.place is None:
                    with _answers():
                        at.place = await self.feed.rejoin(wanted, at.reached)
                if at.place is None:
                    async with aclosing(self._from_log(wanted, store_id, at)) as responses:
                        async for response in responses:
                            yield response
                assert at.place is not None, "it has caught up"
                while (fed := await at.place.take()) is not None:
                    yield fed
                self.feed.leave(at.place)
                at.reached = at.told = at.place.reached
                read = True
        finally:
            if at.place is not None:
                self.feed.leave(at.place)

    async def _from_log(self, wanted: ObjectFilter, store_id: str, at: _Progress) -> Responses:
        """Yields what the store's log has after `at.reached`, until the watch has a place at the feed."""
        changes = self._store.watch(wanted.start, wanted.end, after_revision=at.reached)
        async with aclosing(TimedIterator(changes)) as batches:
            while at.place is None:
                # A bookmark shows a revision without an event for this watch, but not more often than the interval.
                due_ns = at.told_ns + self._bookmark_interval_ns
                batch = await self._next(batches, due_ns if 0 <= at.told < at.reached else None)
                if batch is not None:
                    at.reached = batch.revision
                # Before anything is yielded, which takes as long as the client does: the feed would be ahead again.
                at.place = self.feed.join(wanted, at.reached, read=True)
                if batch is not None:
                    for response in responses_for(batch, wanted, self._cache, store_id, self._bounds):
                        yield response
                        at.told, at.told_ns = response.revision, self._clock.monotonic_ns()
                is_due = self._clock.monotonic_ns() >= at.told_ns + self._bookmark_interval_ns
                if at.told < at.reached and (at.told < 0 or at.place is not None or is_due):
                    yield bookmark(at.reached, store_id)
                    at.told, at.told_ns = at.reached, self._clock.monotonic_ns()

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
                raise stopping() from error
            with _answers():
                raise
        finally:
            del self._waits[wait]

    def _check_running(self) -> None:
        if self._stopping:
            raise stopping()


@contextmanager
def _answers() -> Iterator[None]:
    """Raises DeadlineExceededError in place of a TimeoutError of the store's."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"the store gave no answer in time ({error or 'it says no more'}): resume the watch"
        ) from error
