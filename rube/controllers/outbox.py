"""The outbox: a decision is committed before any of it is carried out, and the rest of it survives a crash.

One row a key, so that memory, actions and calls are atomic. A row is deleted when it is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from rube.api import Action, Decision, Entry, Written
from rube.api.keys import ObjectKey, prefix_end
from rube.host import Engine, Write

WRITTEN_MAX = 128
"""Acknowledged writes kept for one key; past it the oldest are forgotten (a stale decision is then ABORTED)."""


class Outbox:
    """The rows of one controller in a local engine, mirrored in memory.

    A change is visible here only once it is committed; a commit that raises changes nothing. Changes of one key are
    made one after the other.
    """

    def __init__(self, engine: Engine, controller: str, new_id: Callable[[], str]) -> None:
        self._engine = engine
        self._prefix = f"controller/{controller}/".encode()
        self._new_id = new_id
        self._entries: dict[ObjectKey, Entry] = {}
        # Held while a change of that key is under way.
        self._locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()

    def load(self) -> None:
        """Reads the rows that an earlier incarnation left."""
        self._entries.clear()
        for _, value in self._engine.scan(self._prefix, prefix_end(self._prefix)):
            entry = Entry.FromString(value)
            self._entries[ObjectKey.from_proto(entry.key)] = entry

    def known(self) -> list[ObjectKey]:
        """Returns every key that has a row, sorted."""
        return sorted(self._entries)

    def get(self, key: ObjectKey) -> Entry:
        """Returns a copy of the key's row; an empty one if it has none."""
        entry = Entry(key=key.to_proto())
        if (known := self._entries.get(key)) is not None:
            entry.CopyFrom(known)
        return entry

    def has_calls(self, key: ObjectKey) -> bool:
        entry = self._entries.get(key)
        return entry is not None and len(entry.left.calls) > 0

    async def record(self, key: ObjectKey, decision: Decision) -> Decision:
        """Commits a decision over the rest of the older one, and returns the new rest.

        Its calls replace the older calls. Its actions, if any, replace the older actions; one that equals an older one
        keeps its id. Without actions the older ones stay, since the memory may refer to them; without memory they go,
        too.
        """
        async with self._lock(key):
            entry = self.get(key)
            left = Decision()
            left.CopyFrom(decision)
            left.ClearField("wake_after")
            if left.actions:
                self._assign_ids(left.actions, entry.left.actions)
            elif left.HasField("memory"):
                left.actions.extend(entry.left.actions)
            entry.left.CopyFrom(left)
            await self._commit(key, entry)
        return left

    async def action_done(self, key: ObjectKey, action_id: str) -> None:
        async with self._lock(key):
            entry = self.get(key)
            assert [action.id for action in entry.left.actions][:1] == [action_id], "actions are carried out in order"
            del entry.left.actions[0]
            await self._commit(key, entry)

    async def call_done(self, key: ObjectKey, written: Iterable[Written]) -> None:
        """Notes that the first call was acknowledged, which wrote `written`."""
        async with self._lock(key):
            entry = self.get(key)
            del entry.left.calls[0]
            entry.written.extend(written)
            del entry.written[:-WRITTEN_MAX]
            await self._commit(key, entry)

    async def drop_calls(self, key: ObjectKey) -> None:
        async with self._lock(key):
            entry = self.get(key)
            del entry.left.calls[:]
            await self._commit(key, entry)

    async def forget_written(self, key: ObjectKey, seen: Callable[[Written], bool]) -> bool:
        """Forgets the writes that the cache shows by now; True if none are left."""
        known = self._entries.get(key)
        if known is None or not known.written:
            return True
        async with self._lock(key):
            entry = self.get(key)
            left = [written for written in entry.written if not seen(written)]
            if len(left) < len(entry.written):
                del entry.written[:]
                entry.written.extend(left)
                await self._commit(key, entry)
        return not left

    def _lock(self, key: ObjectKey) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def _assign_ids(self, actions: Iterable[Action], older: Iterable[Action]) -> None:
        ids = {(action.action.type_url, action.action.value): action.id for action in older}
        for action in actions:
            action.id = ids.pop((action.action.type_url, action.action.value), "") or self._new_id()

    async def _commit(self, key: ObjectKey, entry: Entry) -> None:
        empty = not (entry.left.HasField("memory") or entry.left.actions or entry.left.calls or entry.written)
        known = self._entries.get(key)
        value = None if empty else entry.SerializeToString(deterministic=True)
        if value == (None if known is None else known.SerializeToString(deterministic=True)):
            return
        await self._engine.commit([Write(self._prefix + key.to_bytes(), value)])
        if empty:
            self._entries.pop(key, None)
        else:
            self._entries[key] = entry
