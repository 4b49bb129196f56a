"""The one writer of a member's engine: commits the Raft core's appends and the state machine's writes together.

One commit takes everything that waits, so that log, votes and state share one sync. State changes alone wait up to
`flush_s` for an append to go with: they can be made again from the log.
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

FULL_RETRY_S = 0.5
"""A full disk is tried again once in so many seconds; until then nothing is acknowledged."""
# A compaction drops at least so many entries (fewer if the log keeps fewer), and at most so many.
COMPACTION_ENTRIES_MIN = 200
COMPACTION_ENTRIES_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageParts:
    """The parts that the writer works on."""

    engine: Engine
    clock: Clock
    config: MemberConfig
    machine: StateMachine
    group_id: str
    log: DurableLog
    staging: Staging
    log_needed_after: Callable[[], int]
    """Returns the entry after which the log must keep everything."""
    newest: Callable[[], Applied]
    """Returns what the machine's state rests on after all its writes so far."""


class Answered(Protocol):
    """The receiver of the writer's results; `rube.group.core.Core` is one."""

    def restored(self, applied: Applied) -> None:
        """Notes that a snapshot has replaced the state."""
        ...

    def answer(self, append: Message) -> None:
        """Sends the responses that waited for that append."""
        ...

    def advance(self) -> None:
        """Goes on, since all results are delivered."""
        ...


class StorageWriter:
    """Carries out MSG_STORAGE_APPENDs in order, and holds the machine's writes until they are durable."""

    def __init__(self, parts: StorageParts, applied: Applied) -> None:
        self._parts = parts
        self._engine = parts.engine
        self._clock = parts.clock
        self._config = parts.config
        self._machine = parts.machine
        self._log = parts.log
        self._staging = parts.staging
        # The durable part of the machine's state.
        self.durable = applied
        # Writes that are not durable yet, in order. `_changed` may be set without any.
        self._writes: list[Write] = []
        self._bytes = 0
        self._changed = False
        # The log's hard state has a commit index that is not durable.
        self._commit_moved = False
        # When the oldest unwritten change was made.
        self._changed_ns = 0
        self._appends: list[Message] = []
        self._work = Work()
        # The oldest change has waited for `flush_s`.
        self._due = False
        # A commit is under way; a snapshot is being installed.
        self._writing = False
        self._installing = False
        self._ending = False
        # When the disk became full; 0 while it is not.
        self.full_since_ns = 0

    def append(self, message: Message) -> bool:
        """Takes a MSG_STORAGE_APPEND. Returns True if it is done already, since nothing depends on its durability."""
        idle = not (self._appends or self._writing or self._installing)
        if idle and not message.HasField("snapshot") and not self._log.must_sync(message):
            self._note_commit(message)
            return True
        self._appends.append(message)
        self._work.wake()
        return False

    def changed(self, writes: Sequence[Write]) -> None:
        """Takes the writes of commands that the machine has applied."""
        self._note_change()
        self._writes += writes
        self._bytes += sum(len(key) + len(value or b"") for key, value in writes)
        if self._bytes >= self._config.flush_bytes_max:
            self._work.wake()

    def tick(self) -> None:
        """Starts a commit if the oldest change was made at least `flush_s` ago."""
        if self._changed and self._clock.monotonic_ns() - self._changed_ns >= self._config.flush_s * NS_PER_S:
            self._due = True
            self._work.wake()

    def _note_change(self) -> None:
        if not self._changed:
            self._changed = True
            self._changed_ns = self._clock.monotonic_ns()

    async def run(self, core: Answered) -> None:
        """Writes until cancelled, possibly during a commit, which `flush` then repeats.

        Raises the engine's errors.
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
        """Writes what waits, up to the first snapshot. No acknowledgement depends on it.

        Call it once, after `run`. Raises ResourceExhaustedError on a full disk.
        """
        self._ending = True
        if not self._installing:  # the next start repeats the installation
            waiting = takewhile(lambda append: not append.HasField("snapshot"), self._appends)
            await self._commit(list(waiting), lambda append: None)

    async def _wait(self) -> None:
        """Waits for an append, for changes as old as `flush_s`, or for `flush_bytes_max` of them."""
        while not (self._appends or self._due) and self._bytes < self._config.flush_bytes_max:
            await self._work.wait()
        self._due = False

    def _take(self) -> list[Message]:
        """Takes the appends before the next snapshot, or that snapshot alone."""
        snapshots = (place for place, append in enumerate(self._appends) if append.HasField("snapshot"))
        count = next(snapshots, len(self._appends)) or min(1, len(self._appends))
        taken, self._appends = self._appends[:count], self._appends[count:]
        return taken

    async def _commit(self, appends: Sequence[Message], answer: Callable[[Message], None]) -> None:
        """Commits the appends together with the machine's writes, and answers each append.

        Each is answered as if the next one were still to be written, since that one may take back what this one wrote.
        """
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
        except asyncio.CancelledError:  # it may be durable or not; a second write does no harm
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
        """Notes that only the commit index has moved; the next commit writes it."""
        self._log.written(append)
        self._commit_moved = True
        self._note_change()

    async def _install(self, append: Message) -> Applied:
        """Makes a staged snapshot the state, with a log that starts after it."""
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
        self._staging.installed()  # last: from here on another snapshot may arrive
        self._installing = False
        return applied

    async def _write(self, batch: Sequence[Write]) -> None:
        """Commits; while the disk is full it tries again every FULL_RETRY_S, until `flush` has begun."""
        self._writing = True
        while batch:
            try:
                await self._engine.commit(batch)
                break
            except ResourceExhaustedError as error:
                if self._ending or self._config.ends_when_full:
                    raise
                if not self.full_since_ns:
                    _LOG.error(
                        "member %s acknowledges nothing while its disk is full; free some space: %s",
                        self._config.name,
                        error.message,
                    )
                    self.full_since_ns = self._clock.monotonic_ns()
                await self._clock.sleep(FULL_RETRY_S)
        self.full_since_ns = 0
        self._writing = False

    def _compactable(self) -> int:
        """Returns the index up to which the log can be compacted; 0 if not yet."""
        log = self._log
        over_entries = self.durable.index - log.first_index() + 1 - self._config.log_entries_kept
        at_once_min = min(COMPACTION_ENTRIES_MIN, self._config.log_entries_kept)
        if over_entries < at_once_min and log.bytes < self._config.log_bytes_kept:
            return 0
        entries = self._config.log_entries_kept if log.bytes < self._config.log_bytes_kept else COMPACTION_ENTRIES_MIN
        index = min(
            self.durable.index - entries, self._parts.log_needed_after(), log.first_index() + COMPACTION_ENTRIES_MAX
        )
        return index if index >= log.first_index() else 0
