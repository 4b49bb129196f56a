"""A store that records its calls and acknowledgements: an apiserver gets it in place of its own."""

from __future__ import annotations

from collections.abc import Callable

from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError
from rube.sim.cluster.commit_log import CommitLog
from rube.sim.judges import Asked, Commit, History
from rube.store import Store, Txn
from rube.store.forwarding import ForwardingStore

# After these nothing was written.
_REFUSALS = (AbortedError, InvalidArgumentError, ResourceExhaustedError)


class RecordingStore(ForwardingStore):
    """Forwards to `inner` and notes what each commit was to write, and its time."""

    def __init__(
        self,
        inner: Store,
        history: History,
        now_ns: Callable[[], int],
        server: str = "",
        commit_log: CommitLog | None = None,
    ) -> None:
        """`server` is the store's owner; `commit_log` keeps what the store compacts."""
        super().__init__(inner)
        self._history = history
        self._now_ns = now_ns
        self._server = server
        history.store_ids.add(inner.store_id)
        self._commit_log = commit_log or CommitLog(history.contents)

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

    async def compact(self, revision: int) -> None:
        await self._commit_log.keep(self._inner)
        await self._inner.compact(revision)
