"""The end of the log that is not durable yet: entries and perhaps a snapshot, waiting for the storage."""

from __future__ import annotations

from rube.raft.entries import EntryId, fitting
from rube.raft.raft_pb2 import Entry, Snapshot


class Unstable:
    """Entries from `offset` on, and before them the snapshot that replaces the whole log, if one was received.

    First they wait to be handed out for writing (`next_entries`); then they are in progress, and stay here, until the
    storage is known to show them (`stable_to`). `offset` may lie inside the storage's log: its entries from `offset` on
    are then out of date, and about to be overwritten.

    Invariants: `entries[i].index == offset + i`; `offset <= offset_in_progress <= offset + len(entries)`; entries
    before `offset_in_progress` are in progress.
    """

    __slots__ = ("entries", "offset", "offset_in_progress", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: int) -> None:
        self.snapshot: Snapshot | None = None
        self.entries: list[Entry] = []
        self.offset = offset
        self.snapshot_in_progress = False
        self.offset_in_progress = offset

    def check(self) -> None:
        """Asserts the invariants."""
        end = self.offset + len(self.entries)
        assert self.offset <= self.offset_in_progress <= end, f"{self.offset}, {self.offset_in_progress}, {end}"
        for index, entry in enumerate(self.entries, start=self.offset):
            assert entry.index == index, f"entry {entry.index} stands at {index}"

    def first_index(self) -> int | None:
        """Returns the log's first index, if the snapshot decides it."""
        return self.snapshot.metadata.index + 1 if self.snapshot is not None else None

    def term(self, index: int) -> int | None:
        """Returns the term of the entry, if it is here."""
        position = index - self.offset
        if 0 <= position < len(self.entries):
            return self.entries[position].term
        if self.snapshot is not None and self.snapshot.metadata.index == index:
            return self.snapshot.metadata.term
        return None

    def has_next_entries(self) -> bool:
        """Returns whether there are entries to write that were not handed out."""
        return self.offset + len(self.entries) > self.offset_in_progress

    def next_entries(self) -> list[Entry]:
        """Returns the entries to write that were not handed out."""
        return self.entries[self.offset_in_progress - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        """Returns the snapshot to write, if it was not handed out."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Notes that everything here has been handed out."""
        self.offset_in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, last: EntryId) -> bool:
        """Notes that the storage has every entry up to `last`. Returns False if that is not of this log any more.

        Call it only when no write under way can overwrite them again: see `append_response` in ready.py.
        """
        count = last.index + 1 - self.offset
        if not 0 < count <= len(self.entries) or self.entries[count - 1].term != last.term:
            return False
        self.entries = self.entries[count:]
        self.offset += count
        self.offset_in_progress = max(self.offset_in_progress, self.offset)
        return True

    def stable_snapshot_to(self, index: int) -> None:
        """Notes that the storage has the snapshot of `index`."""
        if self.snapshot is not None and self.snapshot.metadata.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the log by the snapshot (paper section 7)."""
        self.snapshot = snapshot
        self.snapshot_in_progress = False
        self.entries = []
        self.offset = self.offset_in_progress = snapshot.metadata.index + 1

    def truncate_and_append(self, entries: list[Entry]) -> None:
        """Puts the entries at their indexes, and drops all that was there or after (paper section 5.3)."""
        first = entries[0].index
        end = self.offset + len(self.entries)
        assert first <= end, f"gap in the log: {end - 1}, then {first}"
        if first == end:
            self.entries.extend(entries)
        elif first <= self.offset:
            self.entries = list(entries)
            self.offset = self.offset_in_progress = first
        else:
            self.entries = self.entries[: first - self.offset] + entries
            self.offset_in_progress = min(self.offset_in_progress, first)

    def slice(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Returns the entries from `low` until before `high`, all of which are here, as many as fit; at least one."""
        assert self.offset <= low <= high <= self.offset + len(self.entries), f"[{low}, {high}) is not unstable"
        return fitting(self.entries, low - self.offset, high - self.offset, bytes_max)
