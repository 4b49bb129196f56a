"""The durable log and the latest snapshot, as the core reads them. The core never writes here; its driver does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rube.raft.entries import entry_id, fitting
from rube.raft.errors import LogCompactedError, LogUnavailableError, SnapshotOutOfDateError
from rube.raft.raft_pb2 import ConfState, Entry, HardState, Snapshot, SnapshotMetadata


class Storage(Protocol):
    """The stable part of a member's log. Entries are shared, not copied, and must not be changed.

    Reads must show every write whose completion the core was told of (`advance`, or the responses of a
    MSG_STORAGE_APPEND), and may show writes that are under way.
    """

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Returns the persisted states; both are empty on a new member. The configuration is that of the applied
        index."""
        ...

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Returns the entries from `low` until before `high`, as many as fit, at least one; the caller may keep the
        list.

        Raises LogCompactedError, LogUnavailableError.
        """
        ...

    def term(self, index: int) -> int:
        """Returns the entry's term; also that of the one before the first. Raises LogCompactedError,
        LogUnavailableError."""
        ...

    def first_index(self) -> int:
        """Returns the index of the oldest entry: one past the compacted ones."""
        ...

    def last_index(self) -> int:
        """Returns the index of the newest entry; the snapshot's if there is none."""
        ...

    def snapshot(self) -> Snapshot:
        """Returns a snapshot at or past `first_index() - 1`. Raises SnapshotUnavailableError if that takes time.

        A newly added member takes only a snapshot whose configuration has it: return the state applied now, or a recent
        one.
        """
        ...


class MemoryStorage:
    """A Storage in memory, and the writes that a driver makes to it.

    Invariants: `_ids[0]` belongs to the last compacted entry, or is (0, 0); `_entries[i]` follows it by i + 1.
    """

    def __init__(self, conf_state: ConfState | None = None) -> None:
        """An empty storage; with `conf_state` that of a member of that cluster, whose log starts at 1.

        To found a cluster that may grow, call `apply_snapshot` with the same snapshot, past index 0, on every member: a
        later member cannot use a log that lacks the first configuration.
        """
        self._hard_state = HardState()
        self._snapshot = Snapshot(metadata=SnapshotMetadata(conf_state=conf_state))
        self._compacted = entry_id(Entry())
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.metadata.conf_state

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        offset = self.first_index()
        if low < offset:
            raise LogCompactedError(f"entry {low} is compacted; the first is {offset}")
        if high > self.last_index() + 1:
            raise LogUnavailableError(f"entry {high - 1} is not here; the last is {self.last_index()}")
        return fitting(self._entries, low - offset, high - offset, bytes_max)

    def term(self, index: int) -> int:
        offset = self._compacted.index + 1
        position = index - offset
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        if position == -1:
            return self._compacted.term
        if position < -1:
            raise LogCompactedError(f"the term of entry {index} is compacted; the first is that of {offset - 1}")
        raise LogUnavailableError(f"entry {index} is not here; the last is {self.last_index()}")

    def first_index(self) -> int:
        return self._compacted.index + 1

    def last_index(self) -> int:
        return self._compacted.index + len(self._entries)

    def snapshot(self) -> Snapshot:
        copy = Snapshot()
        copy.CopyFrom(self._snapshot)
        return copy

    def set_hard_state(self, hard_state: HardState) -> None:
        """Stores the hard state."""
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Writes the entries at their indexes and drops all that was there and after. Compacted ones are skipped."""
        first = self.first_index()
        fresh = entries
        if entries and entries[0].index < first:
            fresh = [entry for entry in entries if entry.index >= first]
        if not fresh:
            return
        kept = fresh[0].index - first
        assert kept <= len(self._entries), f"gap in the log: {self.last_index()}, then {fresh[0].index}"
        if kept < len(self._entries):
            del self._entries[kept:]
        self._entries.extend(fresh)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replaces everything by the snapshot. Raises SnapshotOutOfDateError."""
        current, metadata = self._snapshot.metadata.index, snapshot.metadata
        if current and current >= metadata.index:
            raise SnapshotOutOfDateError(f"snapshot {metadata.index} is not newer than {current}")
        self._snapshot = Snapshot()
        self._snapshot.CopyFrom(snapshot)
        self._compacted = entry_id(Entry(term=metadata.term, index=metadata.index))
        self._entries = []

    def create_snapshot(self, index: int, conf_state: ConfState | None, data: bytes) -> Snapshot:
        """Makes the snapshot as of `index`; None keeps the configuration. Raises SnapshotOutOfDateError."""
        if index <= self._snapshot.metadata.index:
            raise SnapshotOutOfDateError(f"snapshot {index} is not newer than {self._snapshot.metadata.index}")
        metadata = SnapshotMetadata(
            index=index, term=self.term(index), conf_state=conf_state or self._snapshot.metadata.conf_state
        )
        self._snapshot = Snapshot(data=data, metadata=metadata)
        return self.snapshot()

    def compact(self, index: int) -> None:
        """Drops the entries up to and including `index`, which are applied. Raises LogCompactedError the second
        time."""
        if index <= self._compacted.index:
            raise LogCompactedError(f"entries up to {self._compacted.index} are compacted already")
        assert index <= self.last_index(), f"compaction at {index} is past the end of the log, {self.last_index()}"
        compacted = entry_id(Entry(term=self.term(index), index=index))
        self._entries = self._entries[index - self._compacted.index :]
        self._compacted = compacted
