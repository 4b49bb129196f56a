"""The one reader of a store for all watches of a server, and for what the server itself keeps up.

It reads every change once and gives it to the watches that it concerns. A watch joins with the revision that it has
reached, at the reader's own or past it, and leaves when it ends. A watch that is a little behind the reader (it resumes
from an older revision, or its client is slow) joins with those of the newest changes that concern it. One that is
further behind, or that comes while there is no reader, reads the store's log by itself until it can join.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from itertools import islice

from rube.api.errors import CompactedError, RubeError, UnavailableError
from rube.api.keys import INTERNAL_PREFIX
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.config import ApiServerConfig
from rube.server.events import EncodedResponse, EventCache, WatchBounds, bookmark, joined, responses_for
from rube.server.filters import ObjectFilter
from rube.server.follower import Follower
from rube.server.object_index import ObjectIndex
from rube.server.recent_changes import RecentChanges
from rube.server.watch_index import Labels, Topic, WatchIndex
from rube.store import Change, ChangeBatch, Store

_LOG = logging.getLogger("rube.server")

_START, _END = b"\0", b"\xff"
BOOKMARKS_PER_STEP_MAX = 50
"""Others run once in so many bookmarks."""
EARLY_PART = 100
"""A bookmark may come early by the interval divided by this, together with others."""
LOOKBACK_S_MAX = 2.0
"""A watch that resumes waits so long for what was written before the reader began."""


class Subscription:
    """The place of one watch at the feed. Only `take` waits; it has one caller at a time.

    Invariant: all events that the watch sees in (reached, feed.revision] are in `_ready`, unless it is over.
    """

    __slots__ = (
        "_bookmark",
        "_bounds",
        "_bytes_max",
        "_loop",
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
        # Up to Python 3.11 each question for the running loop is a system call.
        self._loop = asyncio.get_running_loop()

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
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise stopping()

    def give(self, responses: list[EncodedResponse], size_bytes: int) -> bool:
        """Adds responses, of so many bytes; False if there is no room, since the client is behind: then it is over."""
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
        if len(ready) == 1:
            self._ready_bytes = 0
            return ready.pop()
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

    def __init__(self, cache: EventCache, change: Change) -> None:
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
        self._recent = RecentChanges(partial(_ChangedLabels, cache), bytes_max=config.recent_bytes_max)
        self._lookback_revisions = config.recent_lookback_revisions
        # Adds what was written before the reader began; once, when the first watch asks.
        self._lookback: asyncio.Task[None] | None = None
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
        return self._place(wanted, after)

    async def rejoin(self, wanted: ObjectFilter, after: int) -> Subscription | None:
        """Returns the place of a watch that has everything up to `after`, in the past, with what has come since or a
        bookmark; None if the feed has not kept that, or if it is more than may wait for one client.

        Raises CompactedError for a revision from which the store does not resume.
        """
        if not await self._looked_back(after):
            return None
        await self._store.range(wanted.start, None, revision=after)
        # Nothing else runs from here on.
        if not self.runs() or after > self.revision:
            return None
        changes = self._recent.since(wanted, after, self._buffer_bytes_max)
        if changes is None:
            return None
        store_id, missed = self._store.store_id, ChangeBatch(changes, self.revision)
        responses = list(responses_for(missed, wanted, self._cache, store_id, self._bounds))
        subscription = self._place(wanted, self.revision)
        subscription.reached = after
        if responses:
            subscription.give(responses, _bytes_of(responses))
        else:
            subscription.give_bookmark(bookmark(self.revision, store_id))
        return subscription

    def _place(self, wanted: ObjectFilter, joined_at: int) -> Subscription:
        subscription = Subscription(joined_at, self._bounds, self._buffer_bytes_max)
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
        for task in self._tasks():
            task.cancel()

    async def close(self) -> None:
        """Stops, and waits for the end of what runs."""
        self.stop()
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._reader, self._teller, self._lookback) if task is not None]

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
            self._recent.begin(self.revision)
            self._lookback = None
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
            if self._lookback is not None:
                self._lookback.cancel()
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
        shared_bytes, now_ns = _bytes_of(shared), self._clock.monotonic_ns()
        for subscription in list(topic.members):
            if subscription.joined_at <= before:
                responses, size_bytes = shared, shared_bytes
            else:
                responses = self._rest(part, topic, subscription)
                size_bytes = _bytes_of(responses)
            if not responses:
                continue
            if subscription.give(responses, size_bytes):
                self._note_told(subscription, now_ns)
            else:
                self.leave(subscription)

    def _sorted(self, batch: ChangeBatch) -> dict[Topic[Subscription], list[Change]]:
        """Returns the changes that each filter may be concerned with."""
        found: dict[Topic[Subscription], list[Change]] = {}
        changes = _of_objects(batch)
        self._recent.add(changes)
        for change in changes:
            key = change.record.key
            for follower in self._followers.get(key.partition(b"/")[0], ()):
                follower.give(key, exists=not change.deleted)
            labels = _ChangedLabels(self._cache, change)
            self.objects.note(change, labels)
            for topic in self._index.concerned(key, labels):
                found.setdefault(topic, []).append(change)
        return found

    def _rest(self, part: ChangeBatch, topic: Topic[Subscription], subscription: Subscription) -> list[EncodedResponse]:
        """Returns what is new to a watch that had already read a part of these changes by itself."""
        changes = [change for change in part.changes if change.record.mod_revision > subscription.joined_at]
        rest = ChangeBatch(changes, part.revision)
        return list(responses_for(rest, topic.wanted, self._cache, self._store.store_id, self._bounds))

    def _note_told(self, subscription: Subscription, now_ns: int) -> None:
        del self._silent[subscription]
        subscription.told_ns = now_ns
        self._silent[subscription] = None

    # What was written before the reader began

    async def _looked_back(self, after: int) -> bool:
        """Returns whether the newest changes reach back to a revision: waits for those before the reader began."""
        if not self.runs() or after > self.revision:
            return False
        if after < self._recent.oldest:
            if self._lookback is None:
                self._lookback = asyncio.create_task(self._look_back(), name="watches' lookback")
            await asyncio.wait((self._lookback,), timeout=LOOKBACK_S_MAX)
        return after >= self._recent.oldest

    async def _look_back(self) -> None:
        """Adds the changes of some revisions before the oldest that there is."""
        until = self._recent.oldest
        after = max(0, until - self._lookback_revisions)
        found: list[Change] = []
        try:
            try:
                await self._store.range(_START, None, revision=after)
            except CompactedError as error:
                after = int(error.metadata["oldest_revision"])
            changes = self._store.watch(_START, _END, after_revision=after)
            async with aclosing(changes) as batches:  # type: ignore[type-var]  # stores give async generators
                async for batch in batches:
                    found += [change for change in _of_objects(batch) if change.record.mod_revision <= until]
                    if batch.revision >= until:
                        break
                    await self._clock.sleep(0)
        except RubeError as error:
            _LOG.info("watches that resume read the log by themselves: %s", error.message)
            return
        if self._recent.oldest == until:
            self._recent.prepend(found, after)

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
            self._note_told(subscription, now_ns)
        return 0 if some else None


def _bytes_of(responses: list[EncodedResponse]) -> int:
    return sum([len(response.events) for response in responses])


def _of_objects(batch: ChangeBatch) -> list[Change]:
    return [change for change in batch.changes if not change.record.key.startswith(INTERNAL_PREFIX)]


def stopping() -> UnavailableError:
    return UnavailableError("this apiserver is stopping: resume the watch on another one, or when it is back")
