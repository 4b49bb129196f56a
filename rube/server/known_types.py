"""The types that an apiserver knows: those that are built in, and those that were pushed to its store.

A type that was pushed has two records: the object (api.Type), and its gate (api.TypeGate), which says what is being
done with it. Every write of an object's spec or status is committed with a compare on the gate's revision. So none
holds that was decided by another version of the type, or unseen by a check of all objects, on whatever server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, TypeVar, cast

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from rube.api import Object, Type, TypeGate, Veto
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, RubeError
from rube.api.keys import INTERNAL_PREFIX, TYPE_TYPE, ObjectKey, is_name_of, prefix_bytes, prefix_end
from rube.api.types import BUILTIN, Kind, Types
from rube.api.types.pushed import kind_of
from rube.host import Clock
from rube.server.feed import ChangeFeed
from rube.server.scan import scan
from rube.store import Compare, Lookup, Record, Store

_LOG = logging.getLogger("rube.server")
_GATE_PREFIX = INTERNAL_PREFIX + b"type/"
_PREFIX = prefix_bytes(TYPE_TYPE)
_RETRY_S = 1.0

CHANGES_MAX = 10
"""A write is begun anew so often because its types have changed."""

T = TypeVar("T")


class GuardChangedError(Exception):
    """A type has changed between the decision of a write and its commit."""


class Gate(NamedTuple):
    """The work at a type that was pushed, as of one revision of the store."""

    revision: int
    """The revision of the gate."""
    id: str
    deletion: bool
    candidate: Kind | None
    """The next version, while it is compared with all objects."""
    veto: Veto | None
    """The write that ended the last work."""
    unreadable: str = ""
    """The reason why this program cannot read the candidate that there is; empty: it can, or there is none."""

    @property
    def works(self) -> bool:
        return self.deletion or self.candidate is not None or bool(self.unreadable)


class Snapshot(NamedTuple):
    """The types that are known at one moment. A write is decided with one."""

    types: Types
    gates: Mapping[str, Gate]
    """By the names of the types that were pushed."""

    def guards(self, keys: Iterable[bytes]) -> list[Compare]:
        """Returns the conditions of a write under these keys."""
        if not self.gates:
            return []
        names = {key.partition(b"/")[0].decode() for key in keys}
        return [Compare(gate_key(name), self.gates[name].revision) for name in sorted(names & self.gates.keys())]


class KnownTypes:
    """The types of one store: kept up by a watch, and read anew where a name is not known or a compare fails."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.now = Snapshot(BUILTIN, {})
        self._store = store
        self._clock = clock
        # The revision of each api.Type.
        self._revisions: dict[str, int] = {}
        # The types that this program cannot read, with the reason.
        self._unreadable: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, feed: ChangeFeed) -> None:
        """Reads all types, and keeps them up until `stop`. Nothing waits for it: a type is read when it is needed."""
        self._task = asyncio.create_task(self._keep_up(feed), name="known types")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def with_newest(self, names: Iterable[str], attempt: Callable[[Snapshot], Awaitable[T]]) -> T:
        """Runs an attempt with the known types; again where one of these names turns out to have another type now, also
        if that may be why it was refused."""
        names = tuple(names)
        if not all(map(self.now.types.get, names)):
            await self.require(names)
        for _ in range(CHANGES_MAX):
            try:
                return await attempt(self.now)
            except GuardChangedError:
                await self.refresh(*names)
            except InvalidArgumentError:
                if not await self.refresh(*names):
                    raise
        raise AbortedError(f"the types {', '.join(names)} changed {CHANGES_MAX} times during this write: try again")

    def pools(self) -> list[DescriptorPool]:
        """Returns the pools of descriptors of the types that were pushed."""
        found = (kind.spec.DESCRIPTOR.file.pool for kind in self.now.types.kinds() if kind.source)
        return [cast(DescriptorPool, pool) for pool in found]

    async def require(self, names: Iterable[str]) -> Types:
        """Returns the known types, after a consistent read of each of these that is not known yet.

        Raises FailedPreconditionError for a type that this program cannot read. A name that no type has is no error
        here: `Types.kind` says so.
        """
        for name in names:
            if self.now.types.get(name) is None:
                await self.refresh(name)
                if name in self._unreadable:
                    raise FailedPreconditionError(
                        f"type {name} was pushed, but this apiserver cannot read it ({self._unreadable[name]}): "
                        "upgrade it, or push the type again",
                        field="type",
                    )
        return self.now.types

    async def refresh(self, *names: str) -> bool:
        """Reads types consistently. Returns whether any has changed since it was read last."""
        changed = False
        for name in names:
            if BUILTIN.get(name) is None and is_name_of(TYPE_TYPE, name):
                changed |= self._take(name, await self._store.get((type_key(name), gate_key(name))))
        return changed

    async def read_all(self) -> int:
        """Reads all types; returns the store's revision."""
        revision = 0
        names: set[str] = set()
        async with aclosing(scan(self._store, _PREFIX, prefix_end(_PREFIX))) as pages:
            async for page in pages:
                revision = page.revision
                names.update(ObjectKey.from_bytes(record.key).name for record in page.records)
        for name in sorted(names | self._revisions.keys()):
            await self.refresh(name)
        return revision

    async def _keep_up(self, feed: ChangeFeed) -> None:
        """Follows the changes. Whatever fails, it begins again."""
        while True:
            try:
                with feed.follow(TYPE_TYPE) as follower:
                    await self.read_all()
                    while (changed := await follower.take()) is not None:
                        for key in changed:
                            await self.refresh(ObjectKey.from_bytes(key).name)
            except RubeError as error:
                _LOG.info("the types are read again: %s", error.message)
            except Exception:
                _LOG.exception("the types are read again after an unexpected error")
            await self._clock.sleep(_RETRY_S)

    def _take(self, name: str, found: Lookup) -> bool:
        record, gate_record = found.records
        known = self._revisions.get(name), self.now.gates.get(name)
        if record is None:
            self._unreadable.pop(name, None)
            return self._forget(name)
        gate_revision = 0 if gate_record is None else gate_record.mod_revision
        if known[0] == record.mod_revision and known[1] is not None and known[1].revision == gate_revision:
            return False
        types = self.now.types
        try:
            types = types.with_kind(kind_of(name, unpack_type(Object.FromString(record.value))))
            self._unreadable.pop(name, None)
        except (InvalidArgumentError, DecodeError) as error:
            _LOG.error("type %s cannot be read: %s", name, error)
            self._unreadable[name] = str(error)
            types = types.without(name)
        self._revisions[name] = record.mod_revision
        self.now = Snapshot(types, {**self.now.gates, name: _gate(name, gate_record, gate_revision)})
        return True

    def _forget(self, name: str) -> bool:
        if self._revisions.pop(name, None) is None:
            return False
        gates = {known: gate for known, gate in self.now.gates.items() if known != name}
        self.now = Snapshot(self.now.types.without(name), gates)
        return True


def _gate(name: str, record: Record | None, revision: int) -> Gate:
    try:
        gate = TypeGate() if record is None else TypeGate.FromString(record.value)
        candidate = kind_of(name, gate.candidate) if gate.HasField("candidate") else None
    except (InvalidArgumentError, DecodeError) as error:
        return Gate(revision, "", False, None, None, str(error))
    return Gate(revision, gate.id, gate.deletion, candidate, gate.veto if gate.HasField("veto") else None)


def gate_key(name: str) -> bytes:
    return _GATE_PREFIX + name.encode()


def type_key(name: str) -> bytes:
    return ObjectKey(TYPE_TYPE, "", name).to_bytes()


def unpack_type(obj: Object) -> Type:
    return Type.FromString(obj.spec.value)


async def guards_hold(store: Store, guards: Sequence[Compare]) -> bool:
    """Returns whether these compares hold now."""
    found = await store.get([guard.key for guard in guards])
    revisions = [0 if record is None else record.mod_revision for record in found.records]
    return revisions == [guard.mod_revision for guard in guards]
