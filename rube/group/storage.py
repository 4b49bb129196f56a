"""The one writer of a member's engine: what the core wants durable and what the state machine has changed, together.

Everything that waits is written with one commit, so that log, votes and state share one sync. A state that changed
alone waits a moment for the log to go with: it can be made again from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from rube.api.errors import ResourceExhaustedError
from rube.api.times import NS_PER_S
from rube.group.config import MemberConfig
from rube.group.group_pb2 import Applied
from rube.group.log import DurableLog
from rube.group.machine import StateMachine
from rube.group.pending import Work
from rube.group.records import APPLIED_KEY, HARD_STATE_KEY, seal
from rube.group.snapshots import Staging, install
from rube.host import Clock, Engine, Write
from rube.raft.raft_pb2 import Message

_LOG = logging.getLogger("rube.group")

# While the disk is full nothing is acknowledged; so often it is tried again.
FULL_RETRY_S = 0.5
# The log is compacted by at least so many entries at once (fewer if it keeps fewer), and at most.
COMPACTION_ENTRIES_MIN = 200
COMPACTION_ENTRIES_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageParts:
    """What the writer works on."""

    engine: Engine
    clock: Clock
    config: MemberConfig
    machine: StateMachine
    group_id: str
    log: DurableLog
    staging: Staging
    # The log keeps what comes after this entry.
    kept_from: Callable[[], int]
    # What the machine's state rests on, as of all its writes so far.
    newest: Callable[[], Applied]


class Answered(Protocol):
    """Who is told what became durable. `rube.group.core.Core` is."""

    def restored(self, applied: Applied) -> None:
        """A snapshot was put into place."""
        ...

    def answer(self, append: Message) -> None:
        """What waited for that append may go."""
        ...

    def advance(self) -> None:
        """All is told."""
        ...


class StorageWriter:
    """Carries out MSG_STORAGE_APPENDs in order; keeps the machine's writes until they are durable."""

    def __init__(self, parts: StorageParts, applied: Applied) -> None:
        self._parts = parts
        self._engine = parts.engine
        self._clock = parts.clock
        self._config = parts.config
        self._machine = parts.machine
        self._log = parts.log
        self._staging = parts.staging
        # What is durable of the machine's state.
        self.durable = applied
        # What is not, in order; there may be a change without writes.
        self._writes: list[Write] = []
        self._bytes = 0
        self._changed = False
        # The log's hard state has a commit index that is not durable.
        self._commit_moved = False
        # When the oldest change that is not written was made.
        self._changed_ns = 0
        self._appends: list[Message] = []
        self._work = Work()
        # The changes have waited long enough.
        self._due = False
        # A commit is under way; a snapshot is on its way into its place.
        self._writing = False
        self._installing = False
        self._ending = False
        # Since when the disk has been full; 0: it is not.
        self.full_since_ns = 0

    def append(self, message: Message) -> bool:
        """Takes a MSG_STORAGE_APPEND. True: it is carried out, for nothing rests on its being durable."""
        idle = not (self._appends or self._writing or self._installing)
        if idle and not message.HasField("snapshot") and not self._log.must_sync(message):
            self._note_commit(message)
            return True
        self._appends.append(message)
        self._work.wake()
        return False

    def changed(self, writes: Sequence[Write]) -> None:
        """The machine has applied more."""
        self._note_change()
        self._writes += writes
        self._bytes += sum(len(key) + len(value or b"") for key, value in writes)
        if self._bytes >= self._config.flush_bytes_max:
            self._work.wake()

    def tick(self) -> None:
        """Time has passed: what changed at least `flush_s` ago is written."""
        if self._changed and self._clock.monotonic_ns() - self._changed_ns >= self._config.flush_s * NS_PER_S:
            self._due = True
            self._work.wake()

    def _note_change(self) -> None:
        if not self._changed:
            self._changed = True
            self._changed_ns = self._clock.monotonic_ns()

    async def run(self, core: Answered) -> None:
        """Writes until cancelled, also in the middle of a commit: what `flush` does then begins with it again.

        Raises what the disk fails with.
        """
        while True:
            await self._wait()
            appends = self._take()
            if appends and appends[0].HasField("snapshot"):
                core.restored(await self._install(appends[0]))
                core.answer(appends[0])
            else:
                await self._commit(appends, core.answer)
            core.advance()

    async def flush(self) -> None:
        """Writes what waits, up to the first snapshot, if there is room: nothing that was promised rests on it.

        Once, after `run`. Raises ResourceExhaustedError.
        """
        self._ending = True
        if not self._installing:  # it is begun again at the next start
            waiting = takewhile(lambda append: not append.HasField("snapshot"), self._appends)
            await self._commit(list(waiting), lambda append: None)

    async def _wait(self) -> None:
        """Until there is something for the log, or the machine's changes have waited long enough."""
        while not (self._appends or self._due) and self._bytes < self._config.flush_bytes_max:
            await self._work.wait()
        self._due = False

    def _take(self) -> list[Message]:
        """The appends up to the next snapshot, or that one alone."""
        snapshots = (place for place, append in enumerate(self._appends) if append.HasField("snapshot"))
        count = next(snapshots, len(self._appends)) or min(1, len(self._appends))
        taken, self._appends = self._appends[:count], self._appends[count:]
        return taken

    async def _commit(self, appends: Sequence[Message], answer: Callable[[Message], None]) -> None:
        """Each append is answered as if the next one were still to be written: it may take back what this one wrote."""
        if appends and not any(self._log.must_sync(append) for append in appends):
            for append in appends:
                self._note_commit(append)
                answer(append)
            return
        batch = self._log.writes_of(appends)
        if self._commit_moved:
            batch.insert(0, seal(HARD_STATE_KEY, self._log.initial_state()[0]))
        writes, changed, newest = self._writes, self._changed, self.durable
        self._writes, self._bytes, self._changed, self._commit_moved = [], 0, False, False
        batch += writes
        if changed:
            newest = self._parts.newest()
            batch.append(seal(APPLIED_KEY, newest))
        compacted = self._compactable()
        if compacted:
            batch += self._log.compaction(compacted)
        try:
            await self._write(batch)
        except asyncio.CancelledError:  # nobody knows whether it is durable; twice does no harm
            self._appends, self._writes = [*appends, *self._appends], [*writes, *self._writes]
            self._changed = self._commit_moved = True
            raise
        if compacted:
            self._log.compact(compacted)
        self.durable = newest
        self._machine.durable(len(writes))
        for append in appends:
            self._log.written(append)
            answer(append)

    def _note_commit(self, append: Message) -> None:
        """Only the commit index has moved: it is written with what comes next."""
        self._log.written(append)
        self._commit_moved = True
        self._note_change()

    async def _install(self, append: Message) -> Applied:
        """Makes a staged snapshot the state; the log starts after it."""
        metadata = append.snapshot.metadata
        applied = self._staging.complete(metadata)
        assert applied is not None, "the core hears of a snapshot only when all of it has arrived"
        self._installing = True
        await self._staging.check(self._clock)
        self._machine.suspend()
        batch = self._log.start_after(metadata.index, metadata.term)
        await self._write(
            [*batch, *self._log.writes_of([append]), seal(APPLIED_KEY, applied), self._staging.installation()]
        )
        self._log.apply_snapshot(append.snapshot)
        self._log.bytes = 0
        self._log.written(append)
        await install(self._engine, self._machine.ranges, self._clock, self._write)
        self._writes, self._bytes, self._changed, self._commit_moved = [], 0, False, False
        self.durable = applied
        await self._machine.reload(self._parts.group_id)
        self._staging.installed()  # last: from here on another one may arrive
        self._installing = False
        return applied

    async def _write(self, batch: Sequence[Write]) -> None:
        """Commits, however long the disk is full."""
        self._writing = True
        while batch:
            try:
                await self._engine.commit(batch)
                break
            except ResourceExhaustedError as error:
                if self._ending:
                    raise
                if not self.full_since_ns:
                    _LOG.error(
                        "member %s acknowledges nothing until there is room: %s", self._config.name, error.message
                    )
                    self.full_since_ns = self._clock.monotonic_ns()
                await self._clock.sleep(FULL_RETRY_S)
        self.full_since_ns = 0
        self._writing = False

    def _compactable(self) -> int:
        """Up to where the log can go; 0: nowhere yet."""
        log = self._log
        over_entries = self.durable.index - log.first_index() + 1 - self._config.log_entries_kept
        at_once_min = min(COMPACTION_ENTRIES_MIN, self._config.log_entries_kept)
        if over_entries < at_once_min and log.bytes < self._config.log_bytes_kept:
            return 0
        kept = self._config.log_entries_kept if log.bytes < self._config.log_bytes_kept else COMPACTION_ENTRIES_MIN
        index = min(self.durable.index - kept, self._parts.kept_from(), log.first_index() + COMPACTION_ENTRIES_MAX)
        return index if index >= log.first_index() else 0
