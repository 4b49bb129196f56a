"""A member of a scripted cluster: a core, its storage, and a state machine that appends each command to its state."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rube.raft.confchange import ConfChangeError
from rube.raft.config import RaftConfig
from rube.raft.node import RawNode
from rube.raft.raft_pb2 import ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, Snapshot
from rube.raft.storage import MemoryStorage


class HistoryStorage(MemoryStorage):
    """A memory storage that has the state machine's states, the latest of which is its snapshot."""

    def __init__(self, first: Snapshot) -> None:
        """Starts from a snapshot; with index 0 it is the empty one of an empty log."""
        super().__init__()
        self.history = [first]
        if first.metadata.index:
            self.apply_snapshot(first)

    def snapshot(self) -> Snapshot:
        return self.history[-1]

    def persist(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Writes the parts of one Ready or MSG_STORAGE_APPEND. Raises SnapshotOutOfDateError."""
        if hard_state is not None and hard_state != HardState():
            self.set_hard_state(hard_state)
        if snapshot is not None and snapshot.metadata.index:
            assert not entries, "a snapshot and entries at the same time"
            self.apply_snapshot(snapshot)
        else:
            self.append(entries)


class Node:
    """A core, and the state that its driver holds for it."""

    def __init__(self, config: RaftConfig, storage: HistoryStorage) -> None:
        self.config = config
        self.storage = storage
        self.raw = RawNode(config)
        # Asynchronous storage writes: the work of the two storage threads, oldest first.
        self.append_work: deque[Message] = deque()
        self.apply_work: deque[Message] = deque()

    @property
    def id(self) -> int:
        return self.config.id

    def apply(self, entries: Sequence[Entry]) -> None:
        """Applies committed entries; the state after each one goes into the history."""
        for entry in entries:
            data, conf_state = self._apply_one(entry)
            last = self.storage.history[-1]
            state = Snapshot(data=last.data + data)
            state.metadata.index, state.metadata.term = entry.index, entry.term
            state.metadata.conf_state.CopyFrom(conf_state or last.metadata.conf_state)
            self.storage.history.append(state)

    def _apply_one(self, entry: Entry) -> tuple[bytes, ConfState | None]:
        if entry.type == EntryType.ENTRY_NORMAL:
            return entry.data, None
        v1 = entry.type == EntryType.ENTRY_CONF_CHANGE
        change = ConfChange.FromString(entry.data) if v1 else ConfChangeV2.FromString(entry.data)
        try:
            return change.context, self.raw.apply_conf_change(change)
        except ConfChangeError as error:  # only if validation is off
            raise AssertionError(f"member {self.id} cannot apply entry {entry.index}: {error.message}") from error
