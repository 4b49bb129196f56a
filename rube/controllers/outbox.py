"""The outbox: a decision is committed before any of it is carried out, and the rest of it survives a crash.

One row a key, so that memory, actions and calls are atomic. A row is deleted when it is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakValueDictionary

from rube.api import Action, CoreEvent, Decision, Entry, UndoneEvent, Written
from rube.api.errors import ResourceExhaustedError
from rube.api.keys import ObjectKey, prefix_end
from rube.controllers.events import NOTHING_NOTED, Noted
from rube.host import Engine, Write

WRITTEN_MAX = 128
"""Acknowledged writes kept for one key; past it the oldest are forgotten (a stale decision is then ABORTED)."""
EVENTS_MAX = 32
"""Events of one key that wait for the apiserver; past it the oldest are lost."""


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

    def told(self, key: ObjectKey) -> Sequence[bytes]:
        """Returns the digests of the last decision's occurrences."""
        entry = self._entries.get(key)
        return () if entry is None else entry.told

    def next_event(self, key: ObjectKey) -> CoreEvent | None:
        """Returns the oldest event of that key that is to be reported. Read only."""
        entry = self._entries.get(key)
        return entry.events[0] if entry is not None and entry.events else None

    async def record(self, key: ObjectKey, decision: Decision, noted: Noted = NOTHING_NOTED) -> Decision:
        """Commits a decision over the rest of the older one, and returns the new rest.

        Its calls replace the older calls. Its actions, if any, replace the older actions; one that equals an older one
        keeps its id. Without actions the older ones stay, since the memory may refer to them; without memory they go,
        too.

        Its events happen with the last of its calls that do something, at once if it has none: a status says what is
        so already. Those of an older decision whose calls it replaces have not happened. Where there is no room for
        them, they are lost and the decision is not.
        """
        async with self._lock(key):
            entry = self.get(key)
            left = Decision()
            left.CopyFrom(decision)
            left.ClearField("wake_after")
            left.ClearField("events")
            if left.actions:
                self._assign_ids(left.actions, entry.left.actions)
            elif left.HasField("memory"):
                left.actions.extend(entry.left.actions)
            entry.left.CopyFrom(left)
            await self._commit_noted(key, entry, noted)
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
            if not _is_waited_for(entry.left):
                undone = list(entry.undone_events)
                del entry.undone_events[:]
                _happen(entry, undone)
            await self._commit(key, entry)

    async def drop_calls(self, key: ObjectKey) -> None:
        """Drops the calls, and with them the events that waited for them."""
        async with self._lock(key):
            entry = self.get(key)
            del entry.left.calls[:]
            del entry.undone_events[:]
            await self._commit(key, entry)

    async def event_done(self, key: ObjectKey, report: str) -> None:
        """Forgets an event that was reported, or never will be."""
        async with self._lock(key):
            entry = self.get(key)
            if entry.events and entry.events[0].report == report:  # else it was the oldest of too many
                del entry.events[0]
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

    async def _commit_noted(self, key: ObjectKey, entry: Entry, noted: Noted) -> None:
        if not (noted.still or noted.fresh or entry.told or entry.undone_events):
            await self._commit(key, entry)
            return
        bare = Entry()
        bare.CopyFrom(entry)
        entry.told[:] = noted.still
        del entry.undone_events[:]
        if _is_waited_for(entry.left):
            entry.undone_events.extend(noted.fresh)
        else:
            _happen(entry, noted.fresh)
        try:
            await self._commit(key, entry)
        except ResourceExhaustedError:
            await self._commit(key, bare)

    async def _commit(self, key: ObjectKey, entry: Entry) -> None:
        work = entry.left.HasField("memory") or entry.left.actions or entry.left.calls or entry.written
        empty = not (work or entry.undone_events or entry.events or entry.told)
        known = self._entries.get(key)
        value = None if empty else entry.SerializeToString(deterministic=True)
        if value == (None if known is None else known.SerializeToString(deterministic=True)):
            return
        await self._engine.commit([Write(self._prefix + key.to_bytes(), value)])
        if empty:
            self._entries.pop(key, None)
        else:
            self._entries[key] = entry


def _is_waited_for(left: Decision) -> bool:
    """Returns whether the events of what is left of a decision wait for its calls."""
    return any(call.WhichOneof("call") != "update_status" for call in left.calls)


def _happen(entry: Entry, undone: Iterable[UndoneEvent]) -> None:
    for each in undone:
        entry.events.append(each.event)
        entry.told.append(each.digest)
    del entry.events[:-EVENTS_MAX]
