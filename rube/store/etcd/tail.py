"""The newest revisions of a store, in memory: one watch on etcd delivers them for all watches of this server."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from rube.api.errors import DataLossError
from rube.store.etcd.log import Revision
from rube.store.ports import Change

CHANGE_BYTES = 200
"""Bytes of a change besides its keys and values."""


class RevisionTail:
    """Everything after `start_revision` up to `revision`; bounded in bytes."""

    def __init__(self, revision: int, bytes_max: int) -> None:
        self.start_revision = revision
        # The revision up to which all was delivered.
        self.revision = revision
        # Whether `revision` changed something under the prefix, so that every reader of the log meets it.
        self.is_met = False
        # Watches that wait for the tail.
        self.followers = 0
        self._bytes_max = bytes_max
        self._bytes = 0
        self._revisions: list[int] = []
        self._entries: list[tuple[Revision, int]] = []
        self._advanced = asyncio.Event()

    def extend(self, revisions: Sequence[Revision]) -> None:
        for entry in revisions:
            assert entry.revision > self.revision
            size_bytes = sum(_size_of(change) for change in entry.changes)
            self._revisions.append(entry.revision)
            self._entries.append((entry, size_bytes))
            self._bytes += size_bytes
            self.revision = entry.revision
        self.is_met = True
        self._trim()
        self.wake()

    def restart(self, revision: int) -> None:
        """Drops everything and goes on after that newer revision: the tail misses the revisions before it."""
        assert revision > self.revision
        self._revisions.clear()
        self._entries.clear()
        self._bytes = 0
        self.start_revision = self.revision = revision
        self.is_met = False
        self.wake()

    def changes(self, start: bytes, end: bytes, after_revision: int, changes_max: int) -> tuple[list[Change], int]:
        """Returns changes of that range after a revision, whole revisions, and the revision that they reach.

        Raises DataLossError if the next change is damaged; the changes before it come first.
        """
        found: list[Change] = []
        seen = 0
        first = bisect_right(self._revisions, after_revision)
        for index in range(first, len(self._revisions)):
            entry, _ = self._entries[index]
            try:
                found += entry.within(start, end)
            except DataLossError:
                if index == first:
                    raise
                return found, self._revisions[index - 1]
            seen += len(entry.changes)
            if seen >= changes_max:
                return found, self._revisions[index]
        return found, self.revision

    async def advanced(self) -> None:
        """Returns once there is more, or `wake` was called."""
        await self._advanced.wait()

    def wake(self) -> None:
        waiting, self._advanced = self._advanced, asyncio.Event()
        waiting.set()

    def _trim(self) -> None:
        count = 0
        while self._bytes > self._bytes_max and count < len(self._entries):
            self._bytes -= self._entries[count][1]
            self.start_revision = self._revisions[count]
            count += 1
        del self._revisions[:count], self._entries[:count]


def _size_of(change: Change) -> int:
    previous = len(change.previous.value) if change.previous else 0
    return CHANGE_BYTES + 2 * len(change.record.key) + len(change.record.value) + previous
