"""The store's log, kept for the judges where the store itself forgets it."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api import Object
from rube.api.errors import CompactedError
from rube.api.keys import INTERNAL_PREFIX, ObjectKey
from rube.sim.judges import Contents, LogEntry, Term
from rube.store import Record, Store

_FENCE_PREFIX = b"!fence/"
_START, _END = b"\0", b"\xff"


class CommitLog:
    """The log of commits, one for all apiservers of a store. A restored store starts over, with the backup's
    content."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.store_id = ""
        # Everything up to here is in `log` and `terms`.
        self.revision = 0
        self.log: list[LogEntry] = []
        self.terms: list[Term] = []

    async def keep(self, store: Store) -> None:
        """Reads the store's commits up to now. Raises the errors of its watch."""
        if store.store_id != self.store_id:
            self.store_id, self.revision, self.log, self.terms = store.store_id, 0, [], []
        try:
            await self._follow(store)
        except CompactedError as error:
            if self.revision:
                raise
            await self._begin(store, int(error.metadata["oldest_revision"]))
            await self._follow(store)

    async def _follow(self, store: Store) -> None:
        newest = store.revision
        async for batch in store.watch(_START, _END, after_revision=self.revision):
            for change in batch.changes:
                if change.record.mod_revision > self.revision:  # another apiserver may have kept it meanwhile
                    self._add(change.record, deleted=change.deleted)
            self.revision = max(self.revision, batch.revision)
            if batch.revision >= newest:
                break

    async def _begin(self, store: Store, revision: int) -> None:
        """Begins at the oldest revision: the existing objects, without their history."""
        page = await store.range(_START, _END, revision=revision)
        for record in sorted(page.records, key=lambda item: item.mod_revision):
            self._add(record, deleted=False)
        self.revision = revision

    def _add(self, record: Record, *, deleted: bool) -> None:
        self.terms.extend(_terms(record))
        if not record.key.startswith(INTERNAL_PREFIX):
            self.log.append(self._entry(record, deleted=deleted))

    def _entry(self, record: Record, *, deleted: bool) -> LogEntry:
        key = str(ObjectKey.from_bytes(record.key))
        if deleted:
            return LogEntry(record.mod_revision, key, None)
        obj = Object.FromString(record.value)
        obj.metadata.create_revision, obj.metadata.revision = record.create_revision, record.mod_revision
        return LogEntry(record.mod_revision, key, self._contents.of(obj))


def _terms(record: Record) -> Iterator[Term]:
    if record.key.startswith(_FENCE_PREFIX):
        group = record.key.removeprefix(_FENCE_PREFIX).decode()
        yield Term(record.mod_revision, group, int(record.value))
