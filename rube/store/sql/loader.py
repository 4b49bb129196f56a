"""The loader that fills an empty database with a copy of a store's records."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError
from rube.store.mvcc.log import OPS_PER_REVISION_MAX, REVISION_MAX, SUB_BITS, Row, position_of
from rube.store.ports import Record
from rube.store.sql.errors import NO_SUCH_TABLE, LostError, RefusedError, translate
from rube.store.sql.pool import Pool
from rube.store.sql.rows import LogRow
from rube.store.sql.schema import FORMAT, LOADING, READY, Server, check_format, create_tables, value_bytes_max
from rube.store.sql.session import Session
from rube.store.sql.transaction import insert_rows, put_current

ROWS_PER_TRANSACTION_MAX = 500


class SqlLoader:
    """A `rube.store.backends.Loader`. Records keep their revisions; earlier revisions count as compacted.

    The head row has the state "loading", and the copy's id, from before the first record until `finish`.
    """

    def __init__(self, pool: Pool, server: Server, store_id: str) -> None:
        self._pool = pool
        self._store_id = store_id
        self._value_bytes_max = value_bytes_max(server)
        self._newest_revision = 0

    @classmethod
    async def open(cls, pool: Pool, server: Server, store_id: str) -> SqlLoader:
        """Raises FailedPreconditionError if there is a store already."""
        place = pool.target.place
        try:
            async with pool.session() as session:
                await _check_free(session, pool)
                await create_tables(session)
                await session.query(
                    "INSERT INTO rube_head (id, format, state, store_id, revision, compact_revision, swept_revision)"
                    " VALUES (1, %s, %s, %s, 0, 0, 0)"
                    " ON DUPLICATE KEY UPDATE store_id = IF(state = %s, VALUES(store_id), store_id)",
                    (FORMAT, LOADING, store_id.encode(), LOADING),
                )
                await _check_free(session, pool)
                for table in ("rube_log", "rube_current"):  # rows that an interrupted copy had loaded
                    await session.query(f"TRUNCATE TABLE {table}")
        except (RefusedError, LostError) as error:
            raise translate(error, place) from error
        return cls(pool, server, store_id)

    async def load(self, records: Sequence[Record]) -> None:
        for record in records:
            self._check(record)
        for first in range(0, len(records), ROWS_PER_TRANSACTION_MAX):
            await self._load(records[first : first + ROWS_PER_TRANSACTION_MAX])

    async def finish(self, revision: int) -> str:
        if revision < self._newest_revision:
            raise DataLossError(f"the copy is of revision {revision} and holds records of {self._newest_revision}")
        _check_revision(revision)
        try:
            async with self._pool.session() as session:
                await session.query("START TRANSACTION")
                await self._lock(session)
                await session.query(
                    "UPDATE rube_head SET state = %s, revision = %s, compact_revision = %s, swept_revision = %s"
                    " WHERE id = 1",
                    (READY, revision, revision, revision),
                )
                await session.query("COMMIT")
        except (RefusedError, LostError) as error:
            raise translate(error, self._pool.target.place) from error
        return self._store_id

    async def close(self) -> None:
        self._pool.close()

    async def _load(self, records: Sequence[Record]) -> None:
        try:
            async with self._pool.session() as session:
                await session.query("START TRANSACTION")
                await self._lock(session)
                subs = await _subs(session, sorted({record.mod_revision for record in records}))
                rows = []
                for record in records:
                    revision, sub = record.mod_revision, subs.get(record.mod_revision, 0)
                    if sub == OPS_PER_REVISION_MAX:
                        raise FailedPreconditionError(
                            f"more than {OPS_PER_REVISION_MAX} keys were last written at revision {revision}: "
                            "this kind of store cannot hold them; choose another"
                        )
                    subs[revision] = sub + 1
                    row = Row(position_of(revision, sub), record.key, record.value, record.create_revision)
                    rows.append(LogRow(row, 0))
                await insert_rows(session, rows, b"")
                await put_current(session, rows)
                await session.query("COMMIT")
        except (RefusedError, LostError) as error:
            raise translate(error, self._pool.target.place) from error
        self._newest_revision = max(self._newest_revision, *(record.mod_revision for record in records))

    async def _lock(self, session: Session) -> None:
        """Raises FailedPreconditionError if another copy into this database has begun since."""
        rows = await session.query("SELECT state, store_id FROM rube_head WHERE id = 1 FOR UPDATE")
        if not rows or tuple(rows[0]) != (LOADING, self._store_id.encode()):
            place = self._pool.target.place
            raise FailedPreconditionError(
                f"another copy into database {place.database!r} at {place.server} has begun since: let it finish"
            )

    def _check(self, record: Record) -> None:
        _check_revision(record.mod_revision)
        if not record.key or not 0 < record.create_revision <= record.mod_revision:
            raise DataLossError(
                f"the record of key {record.key[:256]!r} says created at revision {record.create_revision} and "
                f"written at {record.mod_revision}, which cannot be: verify where it comes from"
            )
        if len(record.value) > self._value_bytes_max:
            raise ResourceExhaustedError(
                f"the value of key {record.key[:256]!r} has {len(record.value)} bytes, and this server takes "
                f"{self._value_bytes_max}: raise max_allowed_packet on the server",
                limit="value_bytes_max",
                value=self._value_bytes_max,
            )


async def _check_free(session: Session, pool: Pool) -> None:
    """Raises FailedPreconditionError unless the database holds no store, or an interrupted copy."""
    try:
        rows = await session.query("SELECT format, state FROM rube_head WHERE id = 1")
    except RefusedError as error:
        if error.code == NO_SUCH_TABLE:
            return
        raise
    place = pool.target.place
    if rows and rows[0][1] != LOADING:
        check_format(place, *rows[0])
        raise FailedPreconditionError(
            f"database {place.database!r} at {place.server} holds a store already: choose another database"
        )


async def _subs(session: Session, revisions: Sequence[int]) -> dict[int, int]:
    """Returns the first free position in each revision, whose keys may have come with earlier records."""
    ranges = " OR ".join(["position BETWEEN %s AND %s"] * len(revisions))
    bounds = [bound for revision in revisions for bound in (position_of(revision), position_of(revision + 1) - 1)]
    rows = await session.query(
        f"SELECT MAX(position) FROM rube_log WHERE {ranges} GROUP BY position >> {SUB_BITS}", bounds
    )
    return {position >> SUB_BITS: (position & (OPS_PER_REVISION_MAX - 1)) + 1 for (position,) in rows}


def _check_revision(revision: int) -> None:
    if revision >= REVISION_MAX:
        raise FailedPreconditionError(
            f"revision {revision} is past {REVISION_MAX - 1}, the last that this kind of store can keep: choose another"
        )
