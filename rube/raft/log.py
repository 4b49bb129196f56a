"""The log, stable and unstable as one sequence, and how far it is committed and applied (paper section 5.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from rube.raft.entries import NO_LIMIT, EntryId, size_bytes
from rube.raft.errors import LogCompactedError
from rube.raft.raft_pb2 import Entry, Snapshot
from rube.raft.storage import Storage
from rube.raft.unstable import Unstable


class RaftLog:
    """The storage's entries, then the unstable ones.

    Invariants: `applied <= applying <= committed <= last_index()`; none of the three ever falls (paper figure 3,
    state-machine safety: committed entries stay).
    """

    def __init__(self, storage: Storage, applying_bytes_max: int = NO_LIMIT) -> None:
        """Loads the log as the storage has it: applied up to the last compaction."""
        self.storage = storage
        self.unstable = Unstable(storage.last_index() + 1)
        # Only `append` and `restore` change it: entries that become stable or compacted do not.
        self._last_index = storage.last_index()
        compacted = storage.first_index() - 1
        # The highest index known to be on a quorum.
        self.committed = compacted
        # The highest index that was handed out to be applied.
        self.applying = compacted
        # The highest index that the state machine has applied.
        self.applied = compacted
        # The bytes of entries that are handed out and not applied stay below this, or it is one entry.
        self.applying_bytes_max = applying_bytes_max
        self.applying_bytes = 0
        self.applying_paused = False
        # The pieces of those, oldest first: the last index of each, and its size.
        self._handed_out: deque[tuple[int, int]] = deque()

    def check(self) -> None:
        """Asserts the invariants."""
        self.unstable.check()
        order = (self.applied, self.applying, self.committed, self._last_index)
        assert list(order) == sorted(order), f"applied, applying, committed, last: {order}"
        assert self.applying_bytes == sum(size for _, size in self._handed_out), "entries handed out are counted"

    # Reading

    def first_index(self) -> int:
        """Returns the index of the oldest entry."""
        index = self.unstable.first_index()
        return self.storage.first_index() if index is None else index

    def last_index(self) -> int:
        """Returns the index of the newest entry."""
        return self._last_index

    def last_id(self) -> EntryId:
        """Returns the newest entry's identity: how up-to-date this log is (paper section 5.4.1)."""
        index = self.last_index()
        term = self.term(index)
        assert term is not None, f"the last entry, {index}, has no term"
        return EntryId(term, index)

    def term(self, index: int) -> int | None:
        """Returns the entry's term, even that of the last compacted one; None if it is compacted before that, or not
        here yet."""
        term = self.unstable.term(index)
        if term is not None:
            return term
        if not self.first_index() - 1 <= index <= self.last_index():
            return None
        try:
            return self.storage.term(index)
        except LogCompactedError:  # compacted between the two calls
            return None

    def matches(self, entry: EntryId) -> bool:
        """Returns whether this log has that entry, so that everything before it is equal, too (log matching, paper
        section 5.3)."""
        return self.term(entry.index) == entry.term

    def entries(self, low: int, bytes_max: int) -> list[Entry]:
        """Returns the entries from `low` on that fit, at least one if there is one. Raises LogCompactedError."""
        last = self.last_index()
        return [] if low > last else self.slice(low, last + 1, bytes_max)

    def slice(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Returns the entries from `low` until before `high` that fit, at least one. Raises LogCompactedError."""
        assert low <= high <= self.last_index() + 1, f"[{low}, {high}) is not in the log"
        if low < self.first_index():
            raise LogCompactedError(f"entry {low} is compacted; the first is {self.first_index()}")
        offset = self.unstable.offset
        if low == high:
            return []
        if low >= offset:
            return self.unstable.slice(low, high, bytes_max)
        cut = min(high, offset)
        stable = self.storage.entries(low, cut, bytes_max)
        if high <= offset or len(stable) < cut - low:
            return stable
        if bytes_max >= NO_LIMIT:
            return stable + self.unstable.slice(offset, high, bytes_max)
        left = bytes_max - size_bytes(stable)
        # The first entry is returned even if it does not fit.
        more = self.unstable.slice(offset, high, left) if left > 0 else []
        return stable + more if size_bytes(more) <= left else stable

    def pages(self, low: int, high: int, bytes_max: int) -> Iterator[list[Entry]]:
        """Yields the entries from `low` until before `high`, a bounded piece at a time. Raises LogCompactedError."""
        while low < high:
            page = self.slice(low, high, bytes_max)
            yield page
            low += len(page)

    def conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """Returns where this log may agree with one that has `term` at `index`: the last index up to there with no
        larger term, and its term, 0 if unknown.

        Terms never fall along a log, so everything above cannot agree, and a probe passes over a whole term (the
        optimisation that closes paper section 5.3).
        """
        while index > 0:
            ours = self.term(index)
            if ours is None:
                return index, 0
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    # Appending

    def append(self, entries: list[Entry]) -> int:
        """Puts the entries at their indexes, over what was there; returns the new last index."""
        if entries:
            assert entries[0].index > self.committed, f"entry {entries[0].index} is committed up to {self.committed}"
            self.unstable.truncate_and_append(entries)
            self._last_index = entries[-1].index
        return self._last_index

    def maybe_append(self, previous: EntryId, entries: list[Entry], committed: int) -> int | None:
        """Handles a follower's append (paper figure 2, AppendEntries, steps 2 to 5). Returns the last new index; None
        if refused.

        Equal entries stay; from the first conflict on, the leader's entries replace this log's.
        """
        last_new = previous.index + len(entries)
        assert not entries or (entries[0].index, entries[-1].index) == (previous.index + 1, last_new), (
            "entries with gaps"
        )
        if not self.matches(previous):
            return None
        conflict = self._first_difference(entries)
        if conflict is not None:
            assert conflict > self.committed, f"entry {conflict} conflicts with a committed one ({self.committed})"
            self.append(entries[conflict - previous.index - 1 :])
        self.commit_to(min(committed, last_new))
        return last_new

    def _first_difference(self, entries: list[Entry]) -> int | None:
        last = self.last_index()
        for entry in entries:
            index = entry.index
            if index > last or self.term(index) != entry.term:
                return index
        return None

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the log by the snapshot (paper section 7)."""
        assert snapshot.metadata.index > self.committed, "a snapshot never takes back what is committed"
        self.committed = self._last_index = snapshot.metadata.index
        self.unstable.restore(snapshot)

    # Committing and applying

    def commit_to(self, index: int) -> None:
        """Commits everything up to `index`; an older index is ignored."""
        if index > self.committed:
            last = self.last_index()
            assert index <= last, f"commit {index} is past the log's end, {last}: was the log lost or truncated?"
            self.committed = index

    def maybe_commit(self, entry: EntryId) -> bool:
        """Commits up to an entry on a quorum, if it is new and of that term (paper section 5.4.2, figure 8)."""
        if entry.index <= self.committed or not self.matches(entry):
            return False
        self.commit_to(entry.index)
        return True

    def has_next_committed(self, *, allow_unstable: bool) -> bool:
        """Returns whether there are committed entries to hand out. A waiting snapshot goes first."""
        if self.applying_paused or self.unstable.snapshot is not None:
            return False
        return self.applying < self._appliable(allow_unstable)

    def next_committed(self, *, allow_unstable: bool) -> list[Entry]:
        """Returns the committed entries to hand out that fit; with `allow_unstable` also those not durable here yet."""
        if not self.has_next_committed(allow_unstable=allow_unstable):
            return []
        room = self.applying_bytes_max - self.applying_bytes
        assert room > 0, f"{self.applying_bytes} bytes are being applied, the limit is {self.applying_bytes_max}"
        return self.slice(self.applying + 1, self._appliable(allow_unstable) + 1, room)

    def accept_applying(self, entries: list[Entry], *, allow_unstable: bool) -> None:
        """Notes that the entries, at least one, were handed out; pauses when no more fit."""
        index = entries[-1].index
        assert index <= self.committed, f"{index} is handed out, but only {self.committed} is committed"
        self.applying = index
        size = size_bytes(entries)
        self.applying_bytes += size
        self._handed_out.append((index, size))
        # If more was committed than was handed out, the size limit cut it.
        full = self.applying_bytes >= self.applying_bytes_max
        self.applying_paused = full or index < self._appliable(allow_unstable)

    def applied_to(self, index: int) -> None:
        """Notes that the state machine has applied everything up to `index`."""
        assert self.applied <= index <= self.committed, f"applied {self.applied}, then {index} of {self.committed}"
        self.applied = index
        self.applying = max(self.applying, index)
        while self._handed_out and self._handed_out[0][0] <= index:
            self.applying_bytes -= self._handed_out.popleft()[1]
        self.applying_paused = self.applying_bytes >= self.applying_bytes_max

    def _appliable(self, allow_unstable: bool) -> int:
        return self.committed if allow_unstable else min(self.committed, self.unstable.offset - 1)
