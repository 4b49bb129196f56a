"""The loader that fills a new store with a copy of another store's records."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Engine, Randomness, Write
from rube.store.mvcc.log import (
    OPS_PER_REVISION_MAX,
    REVISION_MAX,
    Row,
    encode_rows,
    position_of,
)
from rube.store.mvcc.recovery import FORMAT_KEY, LOADING, LOG_RANGE, Header, check_empty, header_rows
from rube.store.ports import Record

ROWS_PER_BATCH_MAX = 1000


class MvccLoader:
    """A `rube.store.backends.Loader` on an engine. Records keep their revisions; earlier revisions count as compacted.

    The format's mark says "loading" from before the first record until the one commit of `finish`.
    """

    def __init__(self, engine: Engine, random: Randomness) -> None:
        self._engine = engine
        self._random = random
        # The number of keys of each revision. The store's server will need several times as much memory.
        self._subs: dict[int, int] = {}

    @classmethod
    async def open(cls, engine: Engine, random: Randomness, name: str) -> MvccLoader:
        """Starts a copy. If there is a store already it closes the engine and raises FailedPreconditionError."""
        try:
            stored_format = engine.get(FORMAT_KEY)
            if stored_format is None:
                check_empty(engine)
            elif stored_format != LOADING:
                raise FailedPreconditionError(f"{name} holds a store already: move it away, or choose another place")
            await engine.commit([Write(FORMAT_KEY, LOADING)])
            await _remove_rows(engine)
        except BaseException:
            await engine.close()
            raise
        return cls(engine, random)

    async def load(self, records: Sequence[Record]) -> None:
        rows: list[Row] = []
        for record in records:
            self._check(record)
            revision = record.mod_revision
            sub = self._subs.get(revision, 0)
            if sub == OPS_PER_REVISION_MAX:
                raise FailedPreconditionError(
                    f"more than {OPS_PER_REVISION_MAX} keys were last written at revision {revision}: "
                    "this kind of store cannot hold them; choose another"
                )
            self._subs[revision] = sub + 1
            rows.append(Row(position_of(revision, sub), record.key, record.value, record.create_revision))
        await self._engine.commit(encode_rows(rows))

    async def finish(self, revision: int) -> str:
        newest = max(self._subs, default=0)
        if revision < newest:
            raise DataLossError(f"the copy is of revision {revision} and holds records of {newest}")
        _check_revision(revision)
        store_id = self._random.uid()
        await self._engine.commit(header_rows(Header(store_id, revision)))
        return store_id

    async def close(self) -> None:
        await self._engine.close()

    def _check(self, record: Record) -> None:
        _check_revision(record.mod_revision)
        if not record.key or not 0 < record.create_revision <= record.mod_revision:
            raise DataLossError(
                f"the record of key {record.key[:256]!r} says created at revision {record.create_revision} and "
                f"written at {record.mod_revision}, which cannot be: verify where it comes from"
            )


def _check_revision(revision: int) -> None:
    if revision >= REVISION_MAX:
        raise FailedPreconditionError(
            f"revision {revision} is past {REVISION_MAX - 1}, the last that this kind of store can keep: choose another"
        )


async def _remove_rows(engine: Engine) -> None:
    """Removes the rows that an interrupted copy had loaded."""
    while rows := [Write(key, None) for key, _ in engine.scan(*LOG_RANGE, limit=ROWS_PER_BATCH_MAX)]:
        await engine.commit(rows)
