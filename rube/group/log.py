"""The durable log: entries, hard state and the log's start, mirrored in memory for the Raft core to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api.errors import DataLossError
from rube.group.group_pb2 import LogStart
from rube.group.records import HARD_STATE_KEY, INDEX_MAX, LOG_START_KEY, entry_key, index_of, read, seal, unseal
from rube.host import EngineView, Write
from rube.raft.raft_pb2 import ConfState, Entry, HardState, Message, Snapshot, SnapshotMetadata
from rube.raft.storage import MemoryStorage


class DurableLog(MemoryStorage):
    """The `rube.raft.Storage` of a member. `writes_of` returns an append's writes; `written` applies them to the
    mirror."""

    def __init__(
        self, engine: EngineView, conf_state: ConfState, snapshot_point: Callable[[], SnapshotMetadata]
    ) -> None:
        """Reads the engine. `snapshot_point` returns the metadata of a snapshot that is taken now."""
        super().__init__(conf_state)
        self._snapshot_point = snapshot_point
        start = read(engine, LOG_START_KEY, LogStart) or LogStart()
        if start.index:
            metadata = SnapshotMetadata(index=start.index, term=start.term, conf_state=conf_state)
            self.apply_snapshot(Snapshot(metadata=metadata))
        entries: list[Entry] = []
        for key, value in engine.scan(entry_key(start.index + 1), entry_key(INDEX_MAX)):
            entry = unseal(key, value, Entry)
            expected = start.index + 1 + len(entries)
            if index_of(key) != expected:
                raise DataLossError(f"entry {expected} of the log of this member is missing: let it join again")
            entries.append(entry)
        self.append(entries)
        self.bytes = sum(len(entry.data) for entry in entries)
        hard_state = read(engine, HARD_STATE_KEY, HardState)
        if hard_state is not None:
            self.set_hard_state(hard_state)

    def snapshot(self) -> Snapshot:
        """Returns only metadata: the pairs are streamed beside Raft's messages."""
        return Snapshot(metadata=self._snapshot_point())

    def writes_of(self, appends: Sequence[Message]) -> list[Write]:
        """Returns the writes that make MSG_STORAGE_APPENDs durable, without their snapshots.

        What a later append takes back from an earlier one is not written.
        """
        writes: list[Write] = []
        last = self.last_index()
        for append in appends:
            if append.entries:
                writes += [seal(entry_key(entry.index), entry) for entry in append.entries]
                first_gone = append.entries[-1].index + 1
                writes += [Write(entry_key(index), None) for index in range(first_gone, last + 1)]
                last = first_gone - 1
            if append.term:
                writes.append(seal(HARD_STATE_KEY, _hard_state(append)))
        return writes

    def must_sync(self, append: Message) -> bool:
        """Returns whether anything depends on the append's durability: True unless only the commit index has moved."""
        stored = self.initial_state()[0]
        moved = bool(append.term) and (append.term, append.vote) != (stored.term, stored.vote)
        return bool(append.entries) or moved

    def written(self, append: Message) -> None:
        """Takes an append that is durable into the mirror."""
        if append.entries:
            self.append(append.entries)
            self.bytes += sum(len(entry.data) for entry in append.entries)
        if append.term:
            self.set_hard_state(_hard_state(append))

    def start_after(self, index: int, term: int) -> list[Write]:
        """Returns the writes of a log that begins after that entry and is empty."""
        writes = [Write(entry_key(old), None) for old in range(self.first_index(), self.last_index() + 1)]
        return [*writes, seal(LOG_START_KEY, LogStart(index=index, term=term))]

    def compaction(self, index: int) -> list[Write]:
        """Returns the writes that remove the entries up to and including `index`. Once they are durable, call
        `compact`."""
        writes = [Write(entry_key(old), None) for old in range(self.first_index(), index + 1)]
        return [*writes, seal(LOG_START_KEY, LogStart(index=index, term=self.term(index)))]

    def compact(self, index: int) -> None:
        low = self.first_index()
        self.bytes -= sum(len(entry.data) for entry in self.entries(low, index + 1, 1 << 62))
        super().compact(index)


def _hard_state(append: Message) -> HardState:
    return HardState(term=append.term, vote=append.vote, commit=append.commit)
