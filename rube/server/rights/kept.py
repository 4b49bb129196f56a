"""The policy of a store: kept up by a watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from google.protobuf.message import DecodeError

from rube.api import Binding, Role
from rube.api.errors import NotDoneError, RubeError
from rube.api.keys import INTERNAL_PREFIX, ObjectKey, prefix_bytes, prefix_end
from rube.api.well_known import BINDING_TYPE, ROLE_TYPE
from rube.host import Clock
from rube.server.rights.policy import Policy
from rube.server.scan import scan
from rube.server.stored_object import decode_object
from rube.store import Record, Store

_LOG = logging.getLogger("rube.security")
_RETRY_S: Final = 1.0
REACH_S_MAX: Final = 5.0
"""A server begins to serve, and a write of rights is answered, after so long in any case."""
# Both types are neighbours in the order of keys.
_START: Final = prefix_bytes(BINDING_TYPE)
_END: Final = prefix_end(prefix_bytes(ROLE_TYPE))


class KeptPolicy:
    """The newest policy that this server knows. Without one, which is until the first read, no call gets in."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._policy: Policy | None = None
        self.since = 0
        """The policy has been this one since this revision, or longer."""
        self.revision = 0
        """It was looked at up to here."""
        self._moved = asyncio.Event()
        # In the order of their coming.
        self._told: dict[object, Callable[[], None]] = {}

    @property
    def now(self) -> Policy:
        """The policy. Raises NotDoneError before the first is read."""
        if self._policy is None:
            raise NotDoneError("this apiserver has not read the roles and bindings yet: ask again")
        return self._policy

    def hold(self, policy: Policy) -> None:
        """Takes a policy, and calls everything that was given to `told`."""
        self._policy = policy
        for changed in self._told.values():
            changed()

    async def run(self) -> None:
        """Follows the store until cancelled. Whatever fails, it begins again; meanwhile the last policy stands."""
        while True:
            try:
                await self._follow()
            except RubeError as error:
                _LOG.info("the roles and bindings are read again: %s", error.message)
            except Exception:
                _LOG.exception("the roles and bindings are read again after an unexpected error")
            await self._clock.sleep(_RETRY_S)

    async def loaded(self) -> None:
        """Returns once there is a policy, or after REACH_S_MAX."""
        await self._until(lambda: self._policy is not None, "not read")

    async def reach(self, revision: int) -> None:
        """Returns once the policy is not older than that revision, or after REACH_S_MAX."""
        await self._until(lambda: self.revision >= revision, f"older than revision {revision}")

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        try:
            async with self._clock.timeout(REACH_S_MAX):
                while not holds():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            _LOG.warning("the roles and bindings are %s after %g s", otherwise, REACH_S_MAX)

    @asynccontextmanager
    async def told(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        """Calls `changed` each time when the policy is another, for as long as the block runs."""
        place = object()
        self._told[place] = changed
        try:
            yield
        finally:
            del self._told[place]

    async def _follow(self) -> None:
        roles: dict[str, Role] = {}
        bindings: dict[str, Binding] = {}
        revision = 0
        async with aclosing(scan(self._store, _START, _END)) as pages:
            async for page in pages:
                revision = page.revision
                for record in page.records:
                    _take(record, deleted=False, roles=roles, bindings=bindings)
        self._set(roles, bindings, revision)
        changes = self._store.watch(_START, _END, after_revision=revision)
        async with aclosing(changes) as batches:  # type: ignore[type-var]  # stores give async generators
            async for batch in batches:
                changed = False
                for change in batch.changes:
                    changed |= _take(change.record, deleted=change.deleted, roles=roles, bindings=bindings)
                if changed:
                    self._set(roles, bindings, batch.revision)
                self._reached(batch.revision)

    def _set(self, roles: dict[str, Role], bindings: dict[str, Binding], revision: int) -> None:
        known = self._policy
        if known is None or known.roles != roles or known.bindings != bindings:
            self.since = revision
            self.hold(Policy(dict(roles), dict(bindings)))
        self._reached(revision)

    def _reached(self, revision: int) -> None:
        self.revision = revision
        self._moved.set()


def _take(record: Record, *, deleted: bool, roles: dict[str, Role], bindings: dict[str, Binding]) -> bool:
    """Takes one change; returns whether it is of a role or a binding. One that cannot be read allows nothing."""
    if record.key.startswith(INTERNAL_PREFIX):
        return False
    key = ObjectKey.from_bytes(record.key)
    if key.type not in (ROLE_TYPE, BINDING_TYPE):
        return False
    roles.pop(key.name, None) if key.type == ROLE_TYPE else bindings.pop(key.name, None)
    if deleted:
        return True
    try:
        value = decode_object(record).spec_value()
        if key.type == ROLE_TYPE:
            roles[key.name] = Role.FromString(value)
        else:
            bindings[key.name] = Binding.FromString(value)
    except DecodeError as error:
        _LOG.error("%s cannot be read, and allows nothing: %s", key, error)
    return True
