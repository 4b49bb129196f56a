"""A store that writes down what it acknowledged: handed to an apiserver in place of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from rube.api.errors import RubeError
from rube.api.keys import ObjectKey
from rube.sim.checkers import Commit, LogEntry
from rube.store import ChangeBatch, Lookup, Page, Store, StoreLimits, Txn


class RecordingStore:
    """Passes everything through to `inner` (rube.store.Store) and notes the time of each commit."""

    def __init__(self, inner: Store, commits: list[Commit], now_ns: Callable[[], int]) -> None:
        self._inner = inner
        self._commits = commits
        self._now_ns = now_ns

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
        begun_ns = self._now_ns()
        revision = await self._inner.commit(txn)
        if txn.ops:
            self._commits.append(Commit(self._now_ns(), revision, begun_ns))
        return revision

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return self._inner.watch(start, end, after_revision=after_revision)

    async def compact(self, revision: int) -> None:
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()

    async def failed(self) -> RubeError:
        return await self._inner.failed()


async def read_log(store: Store, start: bytes, end: bytes) -> list[LogEntry]:
    """Every change of start <= key < end that the store has. Raises CompactedError if it forgot the first ones."""
    log: list[LogEntry] = []
    newest = store.revision
    changes = store.watch(start, end, after_revision=0)
    async for batch in changes:
        for change in batch.changes:
            key = str(ObjectKey.from_bytes(change.record.key))
            log.append(LogEntry(change.record.mod_revision, key, change.deleted))
        if batch.revision >= newest:
            break
    return log
