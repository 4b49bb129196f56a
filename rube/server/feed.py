"""The one reader of a store for all watches of a server, and for what the server itself keeps up.

It reads every change once and gives it to the watches that it concerns. A watch joins with the revision that it has
reached, at the reader's own or past it, and leaves when it ends. A watch that is behind the reader (it resumes from an
older revision, its client is slow, or the reader itself begins anew) reads the store's log by itself until it can join.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from itertools import islice

from rube.api.errors import RubeError, UnavailableError
from rube.api.keys import INTERNAL_PREFIX
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.config import ApiServerConfig
from rube.server.events import EncodedResponse, EventCache, WatchBounds, bookmark, joined, responses_for
from rube.server.filters import ObjectFilter
from rube.server.follower import Follower
from rube.server.object_index import ObjectIndex
from rube.server.watch_index import Labels, Topic, WatchIndex
from rube.store import Change, ChangeBatch, Store

_LOG = logging.getLogger("rube.server")

_START, _END = b"\0", b"\xff"
BOOKMARKS_PER_STEP_MAX = 50
"""Others run once in so many bookmarks."""
EARLY_PART = 100
"""A bookmark may come early by the interval divided by this, together with others."""


class Subscription:
    """The place of one watch at the feed. Only `take` waits; it has one caller at a time.

    Invariant: all events that the watch sees in (reached, feed.revision] are in `_ready`, unless it is over.
    """

    __slots__ = (
        "_bookmark",
        "_bounds",
        "_bytes_max",
        "_ready",
        "_ready_bytes",
        "_waiter",
        "joined_at",
        "over",
        "reached",
        "stopped",
        "told",
        "told_ns",
        "topic",
    )

    def __init__(self, joined_at: int, bounds: WatchBounds, bytes_max: int) -> None:
        self.joined_at = joined_at
        """Changes up to this revision are not given."""
        self.reached = joined_at
        """Everything up to this revision was taken."""
        self.told = joined_at
        """The newest revision that was given, taken or not; and when."""
        self.told_ns = 0
        self.over = False
        """Nothing more will be given: the watch goes on by itself after `reached`."""
        self.stopped = False
        self.topic: Topic[Subscription] | None = None
        self._bounds = bounds
        self._bytes_max = bytes_max
        self._ready: list[EncodedResponse] = []
        self._ready_bytes = 0
        self._bookmark: EncodedResponse | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def take(self) -> EncodedResponse | None:
        """Waits for the next response; None once it is over. Raises UnavailableError when the server stops."""
        while not self.stopped:
            if self._ready:
                response = self._take_ready()
                self.reached = response.revision
                return response
            if self._bookmark is not None:
                response, self._bookmark = self._bookmark, None
                self.reached = response.revision
                return response
            if self.over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise stopping()

    def give(self, responses: list[EncodedResponse]) -> bool:
        """Adds responses; False if there is no room, since the client is behind: then it is over."""
        size_bytes = sum([len(response.events) for response in responses])
        if self._ready and self._ready_bytes + size_bytes > self._bytes_max:
            # The bookmark too: it would tell that what is dropped was delivered.
            self._ready, self._bookmark = [], None
            self.end()
            return False
        self._ready += responses
        self._ready_bytes += size_bytes
        self._bookmark = None
        self.told = responses[-1].revision
        self._wake()
        return True

    def give_bookmark(self, mark: EncodedResponse) -> None:
        """Adds a bookmark, after what is ready; a newer one or newer events take its place."""
        self.told = mark.revision
        self._bookmark = mark
        self._wake()

    def end(self) -> None:
        self.over = True
        self._wake()

    def stop(self) -> None:
        self.stopped = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_ready(self) -> EncodedResponse:
        """Removes and returns the oldest response, joined with those after it up to the bounds."""
        ready = self._ready
        count, events, size_bytes = 1, ready[0].count, len(ready[0].events)
        for response in ready[1:]:
            events, size_bytes = events + response.count, size_bytes + len(response.events)
            if events > self._bounds.events_max or size_bytes > self._bounds.bytes_max:
                break
            count += 1
        taken = ready[0] if count == 1 else joined(ready[:count])
        del ready[:count]
        self._ready_bytes -= len(taken.events)
        return taken


class _ChangedLabels:
    """The labels of an object before and after a change, of each state that there is: read once, when they are asked
    for."""

    __slots__ = ("_cache", "_change", "_labels")

    def __init__(self, change: Change, cache: EventCache) -> None:
        self._change = change
        self._cache = cache
        self._labels: tuple[Labels | None, Labels | None] | None = None

    def __call__(self) -> tuple[Labels | None, Labels | None]:
        if self._labels is None:
            change, update = self._change, self._cache.update
            before = None if change.previous is None else update(change.previous).labels()
            self._labels = before, None if change.deleted else update(change.record).labels()
        return self._labels


class ChangeFeed:
    """Reads a store from the first watch on until `stop`."""

    def __init__(self, clock: Clock, store: Store, cache: EventCache, config: ApiServerConfig) -> None:
        self._clock = clock
        self._store = store
        self._cache = cache
        self._bounds = WatchBounds.of(config)
        self._buffer_bytes_max = config.watch_buffer_bytes_max
        self._bookmark_interval_ns = round(config.bookmark_interval_s * NS_PER_S)
        self.revision = 0
        """Everything up to here was given."""
        self._index: WatchIndex[Subscription] = WatchIndex()
        # All that have joined, the one that was told something longest ago first.
        self._silent: dict[Subscription, None] = {}
        self.objects = ObjectIndex(clock, keys_max=config.index_keys_max)
        """As of `revision`."""
        # By type, as its keys begin.
        self._followers: dict[bytes, list[Follower]] = {}
        self._moved = asyncio.Event()
        # Those that wait for a further revision.
        self._waiting: list[asyncio.Future[None]] = []
        self._reader: asyncio.Task[None] | None = None
        self._teller: asyncio.Task[None] | None = None
        self._pause_ns = round(config.watch_reader_pause_s * NS_PER_S)
        # The reader is not begun anew before.
        self._retry_ns = 0
        self._stopping = False

    def __len__(self) -> int:
        """The number of watches that it feeds."""
        return len(self._silent)

    def join(self, wanted: ObjectFilter, after: int, *, read: bool) -> Subscription | None:
        """Returns the place of a watch that has everything up to `after`; None if the feed has given something later.

        `read`: the store has told that revision. One that a client names may be ahead of the store: None, unless it is
        the feed's own.
        """
        if not self.runs() or after < self.revision or (after > self.revision and not read):
            return None
        subscription = Subscription(after, self._bounds, self._buffer_bytes_max)
        subscription.told_ns = self._clock.monotonic_ns()
        subscription.topic = self._index.add(wanted, subscription)
        self._silent[subscription] = None
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Ends a watch's place; nothing of it stays."""
        assert subscription.topic is not None, "it has joined"
        self._index.discard(subscription.topic, subscription)
        self._silent.pop(subscription, None)

    def stop(self) -> None:
        """Ends all places with UnavailableError."""
        self._stopping = True
        for subscription in self._silent:
            subscription.stop()
        for task in (self._reader, self._teller):
            if task is not None:
                task.cancel()

    async def close(self) -> None:
        """Stops, and waits for the end of what runs."""
        self.stop()
        tasks = [task for task in (self._reader, self._teller) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def follow(self, type_name: str) -> Iterator[Follower]:
        """Gives what changes of a type after the reader's revision; a follower that is over if the reader has failed
        only now."""
        follower = Follower()
        if not self.runs():
            follower.end()
        others = self._followers.setdefault(type_name.encode(), [])
        others.append(follower)
        try:
            yield follower
        finally:
            others.remove(follower)

    async def reached(self, revision: int, wait_s_max: float) -> bool:
        """Waits until everything up to `revision` was given. Returns whether that is so."""
        try:
            async with self._clock.timeout(wait_s_max):
                while self.runs() and self.revision < revision:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiting.append(waiter)
                    await waiter
        except TimeoutError:
            pass
        return self.runs() and self.revision >= revision

    def runs(self) -> bool:
        """Returns whether the reader runs. Begins it, unless it has failed only now."""
        if self._stopping:
            return False
        if self._reader is None or self._reader.done():
            if self._clock.monotonic_ns() < self._retry_ns:
                return False
            # Another server's store may be ahead of this process: then the reader begins a little further back.
            self.revision = self._store.revision
            self._reader = asyncio.create_task(self._read(), name="watches' reader")
            if self._teller is None:
                self._teller = asyncio.create_task(self._tell_silent(), name="watches' bookmarks")
        return True

    async def _read(self) -> None:
        """Gives everything after `revision`. However it ends, the watches go on by themselves: each meets the error, if
        it concerns it."""
        try:
            changes = self._store.watch(_START, _END, after_revision=self.revision)
            async with aclosing(changes) as batches:  # type: ignore[type-var]  # stores give async generators
                async for batch in batches:
                    self._give(batch)
        except RubeError as error:
            _LOG.info("the watches' reader begins again: %s", error.message)
        except Exception:
            _LOG.exception("the watches' reader begins again after an unexpected error")
        finally:
            self._retry_ns = self._clock.monotonic_ns() + self._pause_ns
            self.objects.clear()
            for followers in self._followers.values():
                for follower in followers:
                    follower.end()
            for subscription in list(self._silent):
                self.leave(subscription)
                subscription.end()
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def _give(self, batch: ChangeBatch) -> None:
        before, self.revision = self.revision, batch.revision
        for topic, changes in self._sorted(batch).items():
            try:
                self._give_topic(topic, ChangeBatch(changes, batch.revision), before)
            except Exception:
                _LOG.exception("watches of %s go on by themselves after an unexpected error", topic.wanted)
                for subscription in list(topic.members):
                    self.leave(subscription)
                    subscription.end()
        self._moved.set()
        self._wake()

    def _give_topic(self, topic: Topic[Subscription], part: ChangeBatch, before: int) -> None:
        shared = list(responses_for(part, topic.wanted, self._cache, self._store.store_id, self._bounds))
        for subscription in list(topic.members):
            responses = shared if subscription.joined_at <= before else self._rest(part, topic, subscription)
            if responses:
                self._give_to(subscription, responses)

    def _sorted(self, batch: ChangeBatch) -> dict[Topic[Subscription], list[Change]]:
        """Returns the changes that each filter may be concerned with."""
        found: dict[Topic[Subscription], list[Change]] = {}
        for change in batch.changes:
            key = change.record.key
            if key.startswith(INTERNAL_PREFIX):
                continue
            for follower in self._followers.get(key.partition(b"/")[0], ()):
                follower.give(key, exists=not change.deleted)
            labels = _ChangedLabels(change, self._cache)
            self.objects.note(change, labels)
            for topic in self._index.concerned(key, labels):
                found.setdefault(topic, []).append(change)
        return found

    def _rest(self, part: ChangeBatch, topic: Topic[Subscription], subscription: Subscription) -> list[EncodedResponse]:
        """Returns what is new to a watch that had already read a part of these changes by itself."""
        changes = [change for change in part.changes if change.record.mod_revision > subscription.joined_at]
        rest = ChangeBatch(changes, part.revision)
        return list(responses_for(rest, topic.wanted, self._cache, self._store.store_id, self._bounds))

    def _give_to(self, subscription: Subscription, responses: list[EncodedResponse]) -> None:
        if subscription.give(responses):
            self._note_told(subscription)
        else:
            self.leave(subscription)

    def _note_told(self, subscription: Subscription) -> None:
        del self._silent[subscription]
        subscription.told_ns = self._clock.monotonic_ns()
        self._silent[subscription] = None

    # Bookmarks

    async def _tell_silent(self) -> None:
        """Gives a bookmark to each watch that has been told nothing for the interval, though the revision has grown."""
        while True:
            self._moved.clear()
            wait_ns = self._tell_some()
            if wait_ns is None:
                await self._moved.wait()
            else:
                await self._clock.sleep(wait_ns / NS_PER_S)

    def _tell_some(self) -> int | None:
        """Gives the bookmarks that are due, some at a time. Returns when to come back; None: when the revision has
        grown."""
        behind = (subscription for subscription in self._silent if subscription.told < self.revision)
        some = list(islice(behind, BOOKMARKS_PER_STEP_MAX))
        now_ns = self._clock.monotonic_ns()
        for subscription in some:
            wait_ns = subscription.told_ns + self._bookmark_interval_ns - now_ns
            if wait_ns > self._bookmark_interval_ns // EARLY_PART:
                return wait_ns
            subscription.give_bookmark(bookmark(self.revision, self._store.store_id))
            self._note_told(subscription)
        return 0 if some else None


def stopping() -> UnavailableError:
    return UnavailableError("this apiserver is stopping: resume the watch on another one, or when it is back")
