"""Watches: a cursor that moves over the tail in memory or, behind it, over etcd's log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from rube.api.errors import DataLossError, UnavailableError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.store.etcd.log import LogReader, Revision
from rube.store.etcd.tail import RevisionTail
from rube.store.ports import Change, ChangeBatch

READERS_MAX = 16
"""Watches of one store that read the log at a time: each costs a stream, and holds one message."""
REOPENS_MAX = 10
"""A log reader that loses its member is opened again so often without a revision in between."""
REOPEN_PAUSE_S = 0.2
FIRST_BOOKMARK_S = 0.2
"""The first bookmark waits at most so long for a known revision that the tail has not met: mostly it is on its way, but
a revision of another prefix never comes."""


class LogSource(Protocol):
    """The part of the store that a watch uses."""

    @property
    def tail(self) -> RevisionTail: ...

    @property
    def places(self) -> ReaderPlaces: ...

    @property
    def revision(self) -> int:
        """The newest known revision."""
        ...

    async def check_resumable(self, after_revision: int) -> None:
        """Raises CompactedError or RevisionAheadError."""
        ...

    def check_kept(self, revision: int) -> None:
        """Raises CompactedError if the revision is known to be compacted, and UnavailableError once the store is
        closed."""
        ...

    async def reach_tail(self) -> None:
        """Makes sure that a log reader can tell when it has reached the tail."""
        ...

    async def open_log(self, after_revision: int) -> LogReader: ...


class WatchBounds(Protocol):
    """The limits of a batch, and the interval of bookmarks."""

    @property
    def watch_changes_max(self) -> int: ...

    @property
    def watch_bytes_max(self) -> int: ...

    @property
    def bookmark_interval_s(self) -> float: ...


async def follow(
    source: LogSource, clock: Clock, bounds: WatchBounds, start: bytes, end: bytes, after_revision: int
) -> AsyncGenerator[ChangeBatch]:
    """Runs the watch of `rube.store.Store`."""
    await source.check_resumable(after_revision)
    tail, cursor, newest = source.tail, after_revision, source.revision
    history = _History(source, clock, bounds)
    # The revision of the last bookmark or batch, -1 before the first; and when the next bookmark is due.
    told, due_ns = -1, clock.monotonic_ns() + _ns(FIRST_BOOKMARK_S)
    tail.followers += 1
    try:
        while True:
            source.check_kept(cursor)
            if cursor < tail.revision:
                if history.is_needed(cursor):
                    changes, cursor = await history.changes(start, end, cursor)
                else:
                    history.close()
                    changes, cursor = tail.changes(start, end, cursor, bounds.watch_changes_max)
                if changes:
                    history.rest()
                    yield ChangeBatch(changes, cursor)
                    if told >= 0:
                        told, due_ns = cursor, clock.monotonic_ns() + _ns(bounds.bookmark_interval_s)
                else:
                    await clock.sleep(0)
                continue
            history.close()
            if told < 0 and cursor >= newest:
                due_ns = 0
            wait_s = (due_ns - clock.monotonic_ns()) / NS_PER_S
            if told < cursor and wait_s <= 0:
                yield ChangeBatch([], cursor)
                told, due_ns = cursor, clock.monotonic_ns() + _ns(bounds.bookmark_interval_s)
                continue
            try:
                async with clock.timeout(wait_s if told < cursor else None):
                    await tail.advanced()
            except TimeoutError:
                pass
    finally:
        tail.followers -= 1
        history.close()


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


class ReaderPlaces:
    """The places of log readers. A watch whose consumer is slow loses its place when another watch needs one."""

    def __init__(self, places_max: int) -> None:
        self._free = asyncio.Semaphore(places_max)
        self._waiting = 0
        # The one that has rested longest comes first.
        self._resting: dict[_History, None] = {}

    async def take(self, history: _History) -> None:
        """Waits for a place, or keeps the one that it has."""
        if history.has_place:
            self._resting.pop(history, None)
            return
        self._waiting += 1
        try:
            if self._free.locked() and self._resting:
                next(iter(self._resting)).close()
            await self._free.acquire()
        finally:
            self._waiting -= 1
        history.has_place = True

    def rest(self, history: _History) -> None:
        """Offers the place to others while the consumer takes what is ready, which has no time limit."""
        if self._waiting:
            history.close()
        else:
            self._resting[history] = None

    def leave(self, history: _History) -> None:
        history.has_place = False
        self._resting.pop(history, None)
        self._free.release()


class _History:
    """The reads of a watch from the log while it is behind the tail."""

    def __init__(self, source: LogSource, clock: Clock, bounds: WatchBounds) -> None:
        self._source = source
        self._clock = clock
        self._bounds = bounds
        # Whether it has a place of `source.places`; without one it holds no stream and no data.
        self.has_place = False
        self._reader: LogReader | None = None
        # The rest of one message: read, and not yet passed on.
        self._ready: list[Revision] = []

    def is_needed(self, cursor: int) -> bool:
        """Returns whether the tail does not reach back to the cursor, or some data is still ready."""
        return bool(self._ready) or cursor < self._source.tail.start_revision

    async def changes(self, start: bytes, end: bytes, cursor: int) -> tuple[list[Change], int]:
        """Returns the next changes of that range, whole revisions, and the revision that they reach.

        Raises DataLossError if the next change is damaged; the changes before it come first.
        """
        await self._source.places.take(self)
        if not self._ready:
            self._ready = [entry for entry in await self._read(cursor) if entry.revision > cursor]
        found: list[Change] = []
        taken, seen, size_bytes = 0, 0, 0
        for entry in self._ready:
            if seen >= self._bounds.watch_changes_max or size_bytes >= self._bounds.watch_bytes_max:
                break
            try:
                found += entry.within(start, end)
            except DataLossError:
                if not taken:
                    raise
                break
            taken, cursor, seen = taken + 1, entry.revision, seen + len(entry.changes)
            size_bytes += sum(len(change.record.value) for change in entry.changes)
        del self._ready[:taken]
        return found, cursor

    async def _read(self, cursor: int) -> list[Revision]:
        await self._source.reach_tail()
        for _ in range(REOPENS_MAX):
            try:
                if self._reader is None:
                    self._reader = await self._source.open_log(cursor)
                return list(await self._reader.read())
            except UnavailableError:
                self._source.check_kept(cursor)
                self._close_reader()
                await self._clock.sleep(REOPEN_PAUSE_S)
        raise UnavailableError("etcd's log cannot be read: no member keeps a watch")

    def rest(self) -> None:
        if self.has_place:
            self._source.places.rest(self)

    def close(self) -> None:
        self._close_reader()
        self._ready.clear()
        if self.has_place:
            self._source.places.leave(self)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
