"""A member's log: every entry in memory, and durable on its engine some time later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rube.host import Engine, Write
from rube.sim.etcd.peer_pb2 import Entry

_INDEX_BYTES = 8
_END = b"\xff" * (_INDEX_BYTES + 1)


class Log:
    """Entries from index 1 on. Never cut at its beginning: a member that starts reads all of it again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.entries = [Entry.FromString(data) for _, data in engine.scan(b"", _END)]
        # Every entry up to here is on the disk as it is here.
        self.durable_index = self.last_index
        # Of what is being written, so much is still as it is here; and what the disk has in all.
        self._writing_index = self._stored_index = self.last_index
        self._changed = asyncio.Event()
        self._persisted = asyncio.Event()

    @property
    def last_index(self) -> int:
        return len(self.entries)

    @property
    def last_term(self) -> int:
        return self.term_of(self.last_index)

    def term_of(self, index: int) -> int:
        """0 for index 0, and for one that is not there."""
        return self.entries[index - 1].term if 0 < index <= len(self.entries) else 0

    def after(self, index: int, *, entries_max: int, bytes_max: int) -> list[Entry]:
        """The entries after an index, some at a time; at least one if there is any."""
        found: list[Entry] = []
        size_bytes = 0
        for entry in self.entries[index : index + entries_max]:
            size_bytes += entry.ByteSize()
            if found and size_bytes > bytes_max:
                break
            found.append(entry)
        return found

    def add(self, entry: Entry) -> None:
        """Takes up an entry at the end, which gives it its index."""
        entry.index = self.last_index + 1
        self.entries.append(entry)
        self._changed.set()

    def merge(self, entries: Sequence[Entry]) -> None:
        """Takes up a leader's entries: those that are here already stay, and one of another term ends what is here."""
        for entry in entries:
            if self.term_of(entry.index) == entry.term:
                continue
            del self.entries[entry.index - 1 :]
            self.durable_index = min(self.durable_index, entry.index - 1)
            self._writing_index = min(self._writing_index, entry.index - 1)
            self.entries.append(entry)
            self._changed.set()

    async def durable(self, index: int) -> None:
        """Returns once every entry up to the index is durable, or the log does not have it any more."""
        while self.durable_index < index <= self.last_index:
            await self._persisted.wait()

    async def persist(self) -> None:
        """Writes what is new, all of it with one sync; for ever. Raises what the engine raises."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            first, last = self.durable_index + 1, self.last_index
            writes = [
                Write(_key(entry.index), entry.SerializeToString(deterministic=True))
                for entry in self.entries[first - 1 : last]
            ]
            writes += [Write(_key(index), None) for index in range(last + 1, self._stored_index + 1)]
            self._writing_index = last
            await self._engine.commit(writes)
            self._stored_index, self.durable_index = last, self._writing_index
            waiting, self._persisted = self._persisted, asyncio.Event()
            waiting.set()


def _key(index: int) -> bytes:
    return index.to_bytes(_INDEX_BYTES, "big")
