"""A store that forwards to another one: the base of those that add something to some calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from rube.api.errors import RubeError
from rube.store.ports import ChangeBatch, Lookup, Page, Store, StoreLimits, Txn


class ForwardingStore:
    """A `rube.store.Store` that passes every call to `inner`."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    @property
    def limits(self) -> StoreLimits:
        return self._inner.limits

    @property
    def store_id(self) -> str:
        return self._inner.store_id

    @property
    def revision(self) -> int:
        return self._inner.revision

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        return await self._inner.get(keys, min_revision=min_revision, serializable=serializable)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        return await self._inner.range(start, end, revision=revision, min_revision=min_revision, limit=limit)

    async def commit(self, txn: Txn) -> int:
        return await self._inner.commit(txn)

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return self._inner.watch(start, end, after_revision=after_revision)

    async def compact(self, revision: int) -> None:
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()

    async def failed(self) -> RubeError:
        return await self._inner.failed()
