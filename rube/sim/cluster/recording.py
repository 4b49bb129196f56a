"""A store that records its calls and acknowledgements: an apiserver gets it in place of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.sim.cluster.commit_log import CommitLog
from rube.sim.judges import Asked, Commit, History
from rube.store import ChangeBatch, Lookup, Page, Store, StoreLimits, Txn

# After these nothing was written.
_REFUSALS = (AbortedError, InvalidArgumentError, ResourceExhaustedError)


class RecordingStore:
    """Passes everything through to `inner` (rube.store.Store) and notes what each commit was to write, and its time."""

    def __init__(
        self,
        inner: Store,
        history: History,
        now_ns: Callable[[], int],
        server: str = "",
        commit_log: CommitLog | None = None,
    ) -> None:
        """`server` is the store's owner; `commit_log` keeps what the store compacts."""
        self._inner = inner
        self._history = history
        self._now_ns = now_ns
        self._server = server
        history.store_ids.add(inner.store_id)
        self._commit_log = commit_log or CommitLog(history.contents)

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
        if not txn.ops:
            return await self._inner.commit(txn)
        asked = Asked(server=self._server, begun_ns=self._now_ns(), changes=txn.ops)
        self._history.asked.append(asked)
        self._history.store_ids.add(self._inner.store_id)
        try:
            asked.revision = await self._inner.commit(txn)
        except _REFUSALS:
            asked.refused = True
            raise
        self._history.commits.append(Commit(self._now_ns(), asked.revision, asked.begun_ns))
        return asked.revision

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return self._inner.watch(start, end, after_revision=after_revision)

    async def compact(self, revision: int) -> None:
        await self._commit_log.keep(self._inner)
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()

    async def failed(self) -> RubeError:
        return await self._inner.failed()
