"""The poller that reads the commits of other processes, and the one tail that serves all watches of this process."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rube.api.errors import CompactedError, RevisionAheadError, RubeError, UnavailableError
from rube.host import Clock
from rube.store.config import StoreConfig
from rube.store.ports import Change
from rube.store.sql.identity import Identity
from rube.store.sql.reads import Reads
from rube.store.sql.rows import EVERYTHING, where_range
from rube.store.sql.schema import Head

_LOG = logging.getLogger("rube.store")

ERROR_DELAY_S = 0.5
"""The pause after an error."""
# Bytes of a change besides its keys and values.
_CHANGE_OVERHEAD_BYTES = 400


class ChangeTail:
    """The newest changes, oldest first, up to `bytes_max`: all of every revision after `start_revision`."""

    def __init__(self, start_revision: int, bytes_max: int) -> None:
        self.start_revision = start_revision
        self.revision = start_revision
        self._bytes_max = bytes_max
        self._bytes = 0
        self._changes: deque[Change] = deque()

    def extend(self, changes: list[Change], revision: int) -> None:
        self._changes.extend(changes)
        self._bytes += sum(map(_cost_bytes, changes))
        self.revision = revision
        while self._bytes > self._bytes_max:
            self.start_revision = self._changes[0].record.mod_revision
            while self._changes and self._changes[0].record.mod_revision == self.start_revision:
                self._bytes -= _cost_bytes(self._changes.popleft())

    def after(self, revision: int, start: bytes, end: bytes, changes_max: int) -> tuple[list[Change], int]:
        """Returns what `Reads.changes` would; the tail must reach back to `revision`."""
        newer = []
        for change in reversed(self._changes):
            if change.record.mod_revision <= revision:
                break
            newer.append(change)
        found: list[Change] = []
        for change in reversed(newer):
            if len(found) >= changes_max and change.record.mod_revision != found[-1].record.mod_revision:
                return found, change.record.mod_revision - 1
            if start <= change.record.key < end:
                found.append(change)
        return found, self.revision


def _cost_bytes(change: Change) -> int:
    previous_bytes = len(change.previous.value) if change.previous else 0
    return len(change.record.key) + len(change.record.value) + previous_bytes + _CHANGE_OVERHEAD_BYTES


class Poller:
    """Keeps the tail up with the database while there are watches. A `rube.store.mvcc.watch.ChangeSource`."""

    def __init__(self, reads: Reads, identity: Identity, clock: Clock, config: StoreConfig, head: Head) -> None:
        self._reads = reads
        self._identity = identity
        self._clock = clock
        self._config = config
        self._tail = ChangeTail(head.revision, config.tail_bytes_max)
        self._compact_revision = head.compact_revision
        self._watches = 0
        # Set when a poll is to begin at once; set when the tail has grown since a watch last looked.
        self._wanted = asyncio.Event()
        self._advanced = asyncio.Event()
        # One poll at a time.
        self._polling = asyncio.Lock()
        self._failure: RubeError | None = None
        self._trouble = ""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store poller")
        self._task.add_done_callback(self._ended)

    @property
    def revision(self) -> int:
        return self._tail.revision

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Keeps polling while any caller is inside."""
        self._check_alive()
        self._watches += 1
        self._wanted.set()
        try:
            if self._watches == 1:
                await self._begin_anew()
            yield
        finally:
            self._watches -= 1

    def wake(self) -> None:
        """Starts a poll, since there is, or will be, something new."""
        self._wanted.set()

    def compacted(self, revision: int) -> None:
        self._compact_revision = max(self._compact_revision, revision)

    async def check_resumable(self, after_revision: int) -> None:
        self._check_alive()
        if after_revision > self._tail.revision:
            await self._poll()
            self._check_alive()
        if after_revision > self._tail.revision:
            raise RevisionAheadError(
                f"revision {after_revision} is ahead of the store, which is at {self._tail.revision}: was it restored?",
                revision=self._tail.revision,
            )
        if after_revision < self._compact_revision:
            raise CompactedError(
                f"revision {after_revision} is compacted; the oldest is {self._compact_revision}: list again",
                oldest_revision=self._compact_revision,
            )

    async def changes(self, start: bytes, end: bytes, after_revision: int) -> tuple[list[Change], int]:
        changes_max = self._config.watch_changes_max
        if after_revision >= self._tail.start_revision:
            return self._tail.after(after_revision, start, end, changes_max)
        upto = self._tail.revision
        head, changes, reached = await self._reads.changes(
            where_range(start, end), after_revision, changes_max, self._config.watch_bytes_max
        )
        self.compacted(head.compact_revision)
        if reached > upto:  # the tail has, or will have, the later changes; a watch is never ahead of it
            return [change for change in changes if change.record.mod_revision <= upto], upto
        return changes, reached

    async def advanced(self, revision: int) -> None:
        while self._tail.revision <= revision and self._failure is None:
            await self._advanced.wait()

    async def close(self) -> None:
        self._fail(UnavailableError("the store is closed"))
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _begin_anew(self) -> None:
        """Empties the tail after a time without watches: later watches read older changes from the log."""
        async with self._polling:
            head = await self._reads.head()
            if head.revision > self._tail.revision:
                self._tail = ChangeTail(head.revision, self._config.tail_bytes_max)
                self._wake_watches()
            self.compacted(head.compact_revision)

    async def _run(self) -> None:
        # asyncio.wait_for of 3.11, with which asyncmy connects, can lose a cancellation: it drops one that comes with
        # the answer (https://github.com/python/cpython/issues/86296).
        while self._failure is None:
            try:
                async with self._clock.timeout(self._config.poll_interval_s if self._watches else None):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            if not self._watches:
                continue
            try:
                await self._poll()
            except RubeError as error:
                if self._identity.is_over:
                    self._fail(error)
                    return
                self._note(error)
                await self._clock.sleep(ERROR_DELAY_S)

    async def _poll(self) -> None:
        """Reads everything that was committed before this call."""
        async with self._polling:
            while True:
                before = self._tail.revision
                try:
                    head, changes, reached = await self._reads.changes(
                        EVERYTHING, before, self._config.watch_changes_max, self._config.watch_bytes_max
                    )
                except CompactedError as error:  # a long gap: watches behind it get the error from the log
                    head, changes, reached = await self._reads.head(), [], 0
                    self._tail = ChangeTail(head.revision, self._config.tail_bytes_max)
                    _LOG.info("the history between two polls was compacted: %s", error.message)
                else:
                    self._tail.extend(changes, reached)
                self.compacted(head.compact_revision)
                if self._tail.revision > before:
                    self._wake_watches()
                self._note(None)
                if self._tail.revision >= head.revision:
                    return

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fails the watches, which would wait for a poller that has ended."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOG.error("the poller has failed", exc_info=error)
            self._fail(
                UnavailableError(f"watches have ended with an unexpected error ({error!r}): restart this process")
            )

    def _wake_watches(self) -> None:
        waiting, self._advanced = self._advanced, asyncio.Event()
        waiting.set()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(self._failure.message, **self._failure.metadata)

    def _fail(self, error: RubeError) -> None:
        self._failure = self._failure or error
        self._wake_watches()

    def _note(self, error: RubeError | None) -> None:
        """Logs a change between failure and success, once."""
        trouble = error.message if error else ""
        if trouble and trouble != self._trouble:
            _LOG.error("watches stand still: %s", trouble)
        elif self._trouble and not trouble:
            _LOG.info("watches go on")
        self._trouble = trouble
