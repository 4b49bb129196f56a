"""The way of every write: read, check, decide, commit on condition that nothing has changed; again if it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from rube.api import Fence, Precondition
from rube.api.errors import AbortedError, RubeError
from rube.server.known_types import GuardChangedError, Snapshot, guards_hold
from rube.server.locks import KeyLocks
from rube.server.namespaces import Namespaces
from rube.server.owners import decode_owners, encode_owners, owners_key
from rube.server.preconditions import check_fence, check_preconditions, fence_key
from rube.server.stored_object import StoredObject, decode_object, encode_object
from rube.server.type_checks import vetoes
from rube.server.validation import check_key_count, check_size
from rube.store import Compare, Lookup, Op, Record, Store, Txn

T = TypeVar("T", Op, Compare)

Current = Mapping[bytes, StoredObject | None]
"""The stored object under each key (`ObjectKey.to_bytes`) that the intent names; None if there is none."""
Decided = Mapping[bytes, StoredObject | None]
"""The objects to store under their keys; None deletes. Keys that are left out stay as they are."""


class ReadOwners(Enum):
    """The objects of a write whose field owners it reads, and writes."""

    NONE = auto()
    KEPT = auto()
    """Those whose owners are kept: another read where there is one."""
    ALL = auto()


class Intent(NamedTuple):
    """A write: its keys, its conditions, and a pure function that decides from the stored objects."""

    keys: Sequence[bytes]
    preconditions: Sequence[tuple[bytes, Precondition]]
    fence: Fence | None
    decide: Callable[[Current], Decided]
    validate_only: bool = False
    """Everything but the commit: the outcome is what would be written, at the revision that was read."""
    owners: ReadOwners = ReadOwners.NONE
    now: Snapshot | None = None
    """The types that it was decided with: GuardChangedError if one of its objects' has changed when it is committed."""
    guards: Sequence[Compare] = ()
    """Further conditions, on keys that hold no objects: GuardChangedError, likewise."""
    also: Sequence[Op] = ()
    """Writes of keys that hold no objects, in the same transaction."""
    admit: Callable[[Current], None] | None = None
    """Raises PermissionDeniedError, before an error of the write shows anything of an object."""
    remember: Callable[[Outcome], Op] | None = None
    """Returns a write that is made in any case, also where nothing else is, from the outcome (its revision is 0)."""


class Outcome(NamedTuple):
    """The store's revision at which the write holds, the objects that it was decided from, and its changes."""

    revision: int
    current: Current
    decided: Decided


class IntentWriter(Protocol):
    """The way of every write."""

    async def write(self, intent: Intent) -> Outcome: ...


class Writer:
    """Carries out intents on a store that other servers may write to as well."""

    def __init__(self, store: Store, namespaces: Namespaces, *, retries_max: int, waiters_per_key_max: int) -> None:
        self._store = store
        self._namespaces = namespaces
        self._retries_max = retries_max
        self._locks = KeyLocks(waiters_per_key_max=waiters_per_key_max)

    async def write(self, intent: Intent) -> Outcome:
        """Carries out the intent; durable when it returns. Raises AbortedError if a precondition or the fence is stale,
        GuardChangedError, and the errors of `decide`.

        When another server has changed what was read, everything is read, checked and decided again: so a precondition
        that still holds never fails for a race, and one that does not is reported as it is now.
        """
        held = await self._locks.acquire(intent.keys)
        try:
            # The keys of preconditions are not locked, since they are not written: a lost race is decided again.
            keys = list(dict.fromkeys([*intent.keys, *(key for key, _ in intent.preconditions)]))
            races, serializable = 0, True
            while True:
                try:
                    return await self._attempt(intent, keys, serializable=serializable)
                except _LostRaceError as lost:
                    if lost.guards and not await guards_hold(self._store, lost.guards):
                        raise GuardChangedError from lost.error
                    if races == self._retries_max:
                        raise AbortedError(
                            f"{lost.error.message} ({self._retries_max} times in a row: retries_max)",
                            **lost.error.metadata,
                        ) from lost.error
                    races += 1
                except _MaybeStaleError:
                    pass
                serializable = False
        finally:
            self._locks.release(held)

    async def _attempt(self, intent: Intent, keys: Sequence[bytes], *, serializable: bool) -> Outcome:
        """`keys` are those of all objects that the decision depends on.

        A serializable read is enough for a write, since the commit compares everything that was read. It is not enough
        to return that nothing has to be written, or an error: those need a consistent read.
        """
        read, found, current = await self._read(intent, keys, serializable=serializable)
        try:
            decided, ops = self._decide(intent, found.records, current)
        except RubeError as error:
            if found.serializable:
                raise _MaybeStaleError from error
            raise
        created = [key for key, obj in decided.items() if obj is not None and current[key] is None]
        try:
            opened = await self._namespaces.guard(created, serializable=serializable) if created else ()
        except RubeError as error:
            if serializable:
                raise _MaybeStaleError from error
            raise
        if not ops or intent.validate_only:
            if found.serializable:
                raise _MaybeStaleError
            return Outcome(found.revision, current, decided)
        guards = [*intent.guards, *(intent.now.guards(decided) if intent.now else ())]
        compares = _tuples(Compare, read, (0 if record is None else record.mod_revision for record in found.records))
        try:
            revision = await self._store.commit(Txn(tuple(ops), (*compares, *opened, *guards)))
        except AbortedError as error:
            raise _LostRaceError(error, guards) from error
        return Outcome(revision, current, decided)

    async def _read(
        self, intent: Intent, keys: Sequence[bytes], *, serializable: bool
    ) -> tuple[Sequence[bytes], Lookup, Current]:
        """Returns the keys of all that was read, at one revision, and the objects, with their field owners where the
        intent wants them."""
        wants = intent.owners
        owned = list(intent.keys) if wants is ReadOwners.ALL else []
        fence = [] if intent.fence is None else [fence_key(intent.fence)]
        while True:
            read = [*keys, *map(owners_key, owned), *fence]
            check_key_count(len(read), len(owned), self._store.limits)
            found = await self._store.get(read, serializable=serializable)
            current = {
                key: None if record is None else decode_object(record)
                for key, record in zip(keys, found.records, strict=False)
            }
            if wants is not ReadOwners.KEPT:
                break
            kept = [key for key in intent.keys if (obj := current[key]) is not None and obj.metadata.field_owners]
            if owned == kept:
                break
            owned = kept  # bounded: it was another one because another client applied
        for key, record in zip(owned, found.records[len(keys) :], strict=False):
            if record is not None and (obj := current[key]) is not None and obj.metadata.field_owners:
                obj.owners = decode_owners(key, record.value)
        return read, found, current

    def _decide(
        self, intent: Intent, records: Sequence[Record | None], current: Current
    ) -> tuple[Decided, Sequence[Op]]:
        """Returns the decision and its writes. Raises AbortedError, the errors of `decide`, ResourceExhaustedError."""
        ops: list[Op] = []
        if intent.fence is not None and (term := check_fence(intent.fence, records[-1])) is not None:
            ops.append(term)
        if intent.admit is not None:
            intent.admit(current)
        check_preconditions(intent.preconditions, current)  # after the fence: a former leader gets the fence's error
        decided = intent.decide(current)
        owners = list(_owner_ops(decided, current))
        if owners:  # what differs in its owners alone stays as it is stored
            decided = {key: obj for key, obj in decided.items() if obj is None or not _is_stored(obj, current[key])}
        ops += _tuples(Op, decided, (None if obj is None else encode_object(obj) for obj in decided.values()))
        ops += owners
        if ops:
            ops += intent.also
            if intent.now is not None and intent.now.gates:
                ops += vetoes(intent.now, decided, current)
        if intent.remember is not None:
            ops.append(intent.remember(Outcome(0, current, decided)))
        if ops:
            check_size(ops, records, self._store.limits)
        return decided, ops


def _owner_ops(decided: Decided, current: Current) -> Iterator[Op]:
    """Yields the writes of field owners that come with those of the objects."""
    for key, obj in decided.items():
        before = current[key]
        if obj is None:
            if before is not None and before.metadata.field_owners:
                yield Op(owners_key(key), None)
        elif obj.owners is not None and (before is None or obj.owners != before.owners):
            yield Op(owners_key(key), encode_owners(obj.owners))


def _is_stored(obj: StoredObject, before: StoredObject | None) -> bool:
    return before is not None and obj.metadata is before.metadata


def _tuples(kind: type[T], *columns: Iterable[object]) -> Iterator[T]:
    """Yields named tuples of the columns' items, at a third of what calling their class costs."""
    return map(partial(tuple.__new__, kind), zip(*columns, strict=True))


class _LostRaceError(Exception):
    """Another server wrote between the read and the commit."""

    def __init__(self, error: AbortedError, guards: Sequence[Compare]) -> None:
        super().__init__(error.message)
        self.error = error
        self.guards = guards


class _MaybeStaleError(Exception):
    """A decision from a serializable read has to be made again from a consistent one."""
