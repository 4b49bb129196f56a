"""A store that writes down what it was asked for and acknowledged: handed to an apiserver in place of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from rube import api_pb2
from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.api.keys import ObjectKey
from rube.sim.checkers import Asked, Commit, Contents, History, LogEntry, Term
from rube.store import Change, ChangeBatch, Lookup, Page, Store, StoreLimits, Txn

_FENCE_PREFIX = b"!fence/"
# After these nothing was written.
_REFUSALS = (AbortedError, InvalidArgumentError, ResourceExhaustedError)


class RecordingStore:
    """Passes everything through to `inner` (rube.store.Store) and notes what each commit was to write, and its time."""

    def __init__(self, inner: Store, history: History, now_ns: Callable[[], int], server: str = "") -> None:
        """`server` is whose store it is."""
        self._inner = inner
        self._history = history
        self._now_ns = now_ns
        self._server = server

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
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()

    async def failed(self) -> RubeError:
        return await self._inner.failed()


async def read_log(store: Store, contents: Contents) -> tuple[list[LogEntry], list[Term]]:
    """Every change of an object, and every new term of a fence, that the store has.

    Raises CompactedError if it forgot the first ones.
    """
    log: list[LogEntry] = []
    terms: list[Term] = []
    newest = store.revision
    async for batch in store.watch(b"\0", b"\xff", after_revision=0):
        for change in batch.changes:
            record = change.record
            if record.key.startswith(_FENCE_PREFIX):
                group = record.key.removeprefix(_FENCE_PREFIX).decode()
                terms.append(Term(record.mod_revision, group, int(record.value)))
            else:
                log.append(_entry(change, contents))
        if batch.revision >= newest:
            break
    return log, terms


def _entry(change: Change, contents: Contents) -> LogEntry:
    record = change.record
    key = str(ObjectKey.from_bytes(record.key))
    if change.deleted:
        return LogEntry(record.mod_revision, key, None)
    obj = api_pb2.Object.FromString(record.value)
    obj.metadata.create_revision, obj.metadata.revision = record.create_revision, record.mod_revision
    return LogEntry(record.mod_revision, key, contents.of(obj))
