"""How every write happens: read, check, decide, commit on condition that nothing moved; again if it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rube import api_pb2
from rube.api.errors import AbortedError
from rube.api.keys import ObjectKey
from rube.server.locks import KeyLocks
from rube.server.objects import decode, encode
from rube.server.preconditions import check_fence, check_preconditions, fence_key
from rube.server.validation import check_size
from rube.store import Compare, Op, Record, Store, Txn

__all__ = ["Current", "Decided", "Intent", "Outcome", "Writer"]

# What is stored now under each key that the intent names; None: nothing.
Current = Mapping[ObjectKey, api_pb2.Object | None]
# What to store in the place of what is there; None: delete it. Keys that are left out stay as they are.
Decided = Mapping[ObjectKey, api_pb2.Object | None]


class Intent(NamedTuple):
    """A write: on which keys, on what conditions, and a pure function that decides from what is stored."""

    keys: Sequence[ObjectKey]
    preconditions: Sequence[tuple[ObjectKey, api_pb2.Precondition]]
    fence: api_pb2.Fence | None
    decide: Callable[[Current], Decided]


class Outcome(NamedTuple):
    """The store's revision at which the write holds, and what it was decided from and changed."""

    revision: int
    current: Current
    decided: Decided


class Writer:
    """Carries out intents on a store that other servers may be writing to as well."""

    def __init__(self, store: Store, *, retries_max: int, waiters_per_key_max: int) -> None:
        self._store = store
        self._retries_max = retries_max
        self._locks = KeyLocks(waiters_per_key_max=waiters_per_key_max)

    async def write(self, intent: Intent) -> Outcome:
        """Durable when it returns. Raises AbortedError if a precondition or the fence is stale, and what decide raises.

        When another server has changed what was read, everything is read, checked and decided anew: so a
        precondition that still holds never fails for a race, and one that does not is reported as it is now.
        """
        async with self._locks.hold(map(str, intent.keys)):
            for attempt in range(self._retries_max + 1):
                try:
                    return await self._attempt(intent)
                except _LostRaceError as lost:
                    if attempt == self._retries_max:
                        raise AbortedError(
                            f"{lost.error.message} (and so {self._retries_max} times in a row: retries_max)",
                            **lost.error.metadata,
                        ) from lost.error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, intent: Intent) -> Outcome:
        read = _Read()
        current = {key: await self._read_object(key, read) for key in intent.keys}
        if intent.preconditions:
            others = {key: await self._read_object(key, read) for key, _ in intent.preconditions if key not in current}
            check_preconditions(intent.preconditions, {**current, **others})
        ops: list[Op] = []
        if intent.fence is not None:
            term = check_fence(intent.fence, await self._read(fence_key(intent.fence), read))
            ops += [term] if term else []
        decided = intent.decide(current)
        ops += [Op(key.to_bytes(), None if obj is None else encode(obj)) for key, obj in decided.items()]
        if not ops:
            return Outcome(revision=read.revision, current=current, decided=decided)
        check_size(ops, read.value_bytes, self._store.limits)
        try:
            revision = await self._store.commit(Txn(ops=tuple(ops), compares=tuple(read.compares)))
        except AbortedError as error:
            raise _LostRaceError(error) from error
        return Outcome(revision=revision, current=current, decided=decided)

    async def _read_object(self, key: ObjectKey, read: _Read) -> api_pb2.Object | None:
        record = await self._read(key.to_bytes(), read)
        return None if record is None else decode(record)

    async def _read(self, key: bytes, read: _Read) -> Record | None:
        page = await self._store.range(key, None)
        record = page.records[0] if page.records else None
        read.compares.append(Compare(key, record.mod_revision if record else 0))
        read.value_bytes[key] = len(record.value) if record else 0
        read.revision = max(read.revision, page.revision)
        return record


class _Read:
    """What an attempt has read: the commit's compares, sizes, and the revision up to which it has seen the store."""

    __slots__ = ("compares", "revision", "value_bytes")

    def __init__(self) -> None:
        self.compares: list[Compare] = []
        self.revision = 0
        self.value_bytes: dict[bytes, int] = {}


class _LostRaceError(Exception):
    """Somebody else wrote between the read and the commit."""

    def __init__(self, error: AbortedError) -> None:
        super().__init__(error.message)
        self.error = error
