"""A relay's copy with the promises of a store: it is as new as upstream, which is asked for its revision first.

This is Kubernetes' consistent reads from cache and etcd's read index, with the relay as a follower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from rube.api.errors import NotDoneError, RevisionAheadError, UnavailableError
from rube.host import Clock
from rube.server.relay.upstream import Upstream
from rube.store import ChangeBatch, Lookup, Page
from rube.store.embedded.replica import ReplicaStore
from rube.store.forwarding import ForwardingStore


class BehindError(UnavailableError):
    """Upstream has a revision that the copy does not get to in time."""


class RelayStore(ForwardingStore):
    """The `rube.store.Store` of one copy.

    A read that names a revision never shows an older one. One that names none shows the newest, and what the copy has
    while upstream is away or too far ahead: `catch_up` first, where that will not do.
    """

    def __init__(self, replica: ReplicaStore, upstream: Upstream, clock: Clock, catch_up_s_max: float) -> None:
        super().__init__(replica)
        self._replica = replica
        self._upstream = upstream
        self._clock = clock
        self._catch_up_s_max = catch_up_s_max

    async def catch_up(self) -> int:
        """Makes the copy as new as upstream was when this call began; returns its revision. Raises UnavailableError,
        and BehindError."""
        await self._reach(0)
        return self._replica.revision

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        if min_revision or not serializable:
            await self._be_new_enough(min_revision)
        return await self._replica.get(keys, min_revision=min_revision)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        await self._be_new_enough(max(revision, min_revision))
        return await self._replica.range(start, end, revision=revision, min_revision=min_revision, limit=limit)

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        await self._be_new_enough(after_revision)
        changes = self._replica.watch(start, end, after_revision=after_revision)
        async with aclosing(changes):  # type: ignore[type-var]  # it is an async generator
            async for batch in changes:
                yield batch

    async def _be_new_enough(self, revision: int) -> None:
        """Waits until the copy has that revision; 0: upstream's newest, if upstream says it."""
        if revision > self._replica.revision:
            await self._reach(revision)
        elif not revision and not self._upstream.away:
            try:
                await self._reach(0)
            except NotDoneError:
                raise  # upstream has another store
            except UnavailableError:
                pass

    async def _reach(self, revision: int) -> None:
        """Waits until the copy has that revision of upstream's; 0: the newest. Raises RevisionAheadError."""
        replica = self._replica
        newest = await self._upstream.newest()
        if newest.store_id != replica.store_id:
            raise other_store(newest.store_id)
        if revision > newest.revision:
            raise RevisionAheadError(
                f"revision {revision} is ahead of the store, which is at {newest.revision}: was it restored?",
                revision=newest.revision,
            )
        wanted = revision or newest.revision
        try:
            async with self._clock.timeout(self._catch_up_s_max):
                await replica.reached(wanted)
        except TimeoutError as error:
            raise BehindError(
                f"this relay is at revision {replica.revision}, behind the apiservers, which are at {wanted}: ask one "
                "of them, or try again",
                revision=replica.revision,
            ) from error


def other_store(store_id: str) -> NotDoneError:
    return NotDoneError(
        f"the apiservers have another store now, {store_id}, which this relay has still to copy: try again, or ask "
        "one of them"
    )
