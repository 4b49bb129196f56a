"""Commits: one SQL transaction for a group of Rube's, under the lock on the head row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rube.api.errors import UnavailableError
from rube.host import Clock, Randomness
from rube.host.backoff import Backoff
from rube.store.mvcc.evaluate import Group
from rube.store.mvcc.index import Current
from rube.store.mvcc.log import Row
from rube.store.mvcc.writer import Committed
from rube.store.ports import Txn
from rube.store.sql.durability import Barrier
from rube.store.sql.errors import PASSING_CODES, DatabasePlace, LostError, RefusedError, translate
from rube.store.sql.identity import Identity
from rube.store.sql.pool import Pool
from rube.store.sql.rows import LogRow, checksum, split_key, tail_hash, where_keys
from rube.store.sql.schema import HEAD_COLUMNS, NO_HEAD, Head, check_format, decode_head
from rube.store.sql.session import Session

TRIES_MAX = 6
"""Attempts for a group that lost a conflict, or whose connection was lost before COMMIT."""
# The pause between the attempts.
RETRY_S_INITIAL = 0.05
RETRY_S_MAX = 1.0
# Attempts to find out the outcome of an unanswered COMMIT, and the pause between them.
SETTLE_TRIES_MAX = 20
SETTLE_DELAY_S = 0.5

KEYS_PER_STATEMENT_MAX = 256
ROWS_PER_STATEMENT_MAX = 1000
STATEMENT_BYTES_MAX = 4 * 1024 * 1024
ROW_OVERHEAD_BYTES = 256
"""Bytes of a row in a statement besides its key and value, which quoting may double."""


class Known(NamedTuple):
    """A `rube.store.mvcc.evaluate.Newest`: the state of a group's keys before it."""

    found: dict[bytes, Current]

    def current(self, key: bytes) -> Current | None:
        return self.found.get(key)


class Committer:
    """Commits groups of transactions, one after the other."""

    def __init__(self, pool: Pool, clock: Clock, random: Randomness, identity: Identity, barrier: Barrier) -> None:
        self._pool = pool
        self._identity = identity
        self._barrier = barrier
        self._clock = clock
        self._uid = random.uid
        self._chance = random.stream("store.sql.retries")
        self._place: DatabasePlace = pool.target.place

    async def commit(self, txns: Sequence[Txn]) -> Committed:
        """Commits a group. Raises UnavailableError if that failed or its outcome is unknown, and the server's other
        errors."""
        backoff = Backoff(self._chance, initial_s=RETRY_S_INITIAL, max_s=RETRY_S_MAX)
        for tries in range(1, TRIES_MAX + 1):
            try:
                return await self._attempt(txns, token=bytes.fromhex(self._uid()))
            except RefusedError as error:
                if error.code not in PASSING_CODES or tries == TRIES_MAX:
                    raise translate(error, self._place) from error
            except LostError as error:
                self._pool.drop_free()
                if tries == TRIES_MAX:
                    raise translate(error, self._place) from error
            await self._clock.sleep(backoff.next_s())
        raise AssertionError("the last try returns or raises")

    async def _attempt(self, txns: Sequence[Txn], token: bytes) -> Committed:
        """Commits once. Raises RefusedError or LostError if nothing was written, UnavailableError if that is
        unknown."""
        async with self._pool.session() as session:
            await session.query("START TRANSACTION")
            head = await lock_head(session, self._identity, self._place)
            known = await _read_known(session, txns)
            group = Group(known, head.revision)
            outcomes = [group.add(txn) for txn in txns]
            if not group.rows:
                await session.query("ROLLBACK")
                await self._barrier.reach(head.revision)
                return Committed(outcomes, wrote=False)
            await insert_rows(session, with_previous(group.rows, known), token)
            await _update_current(session, group.rows)
            await session.query("UPDATE rube_head SET revision = %s WHERE id = 1", (group.revision,))
            try:
                await session.query("COMMIT")
                self._identity.reached(group.revision)
                return Committed(outcomes, wrote=True)
            except (RefusedError, LostError) as error:
                unanswered = error
                session.close()
        if await self._took_effect(token, group.rows[0]):
            return Committed(outcomes, wrote=True)
        raise LostError(f"a commit failed: {unanswered}") from unanswered

    async def _took_effect(self, token: bytes, first: Row) -> bool:
        """Returns whether a transaction whose COMMIT was not answered was committed: its rows carry its token.

        It held the lock on the head row, so the next holder of that lock knows that it has ended. Raises
        UnavailableError if the server cannot be asked in time, or if compaction has already swept over the rows.
        """
        for tries in range(1, SETTLE_TRIES_MAX + 1):
            self._pool.drop_free()
            try:
                async with self._pool.session() as session:
                    await session.query("START TRANSACTION")
                    head = await lock_head(session, self._identity, self._place)
                    found = await session.query("SELECT token FROM rube_log WHERE position = %s", (first.position,))
                    if not found:
                        # TiDB can lose a lock when a TiKV fails, but never a write: the other transaction could now
                        # only fail.
                        await session.query("UPDATE rube_head SET settled = settled + 1 WHERE id = 1")
                    await session.query("ROLLBACK" if found else "COMMIT")
                if not found and head.compact_revision >= first.revision:
                    break
                if not found or found[0][0] != token:
                    return False
                await self._barrier.reach(head.revision)  # data that is visible under the lock need not be on disk
                return True
            except (RefusedError, LostError, UnavailableError) as error:
                if tries == SETTLE_TRIES_MAX:
                    raise UnavailableError(
                        f"the database server at {self._place.server} did not answer a commit and cannot be asked "
                        f"({error}): the write may have happened"
                    ) from error
            await self._clock.sleep(SETTLE_DELAY_S)
        raise UnavailableError(f"a commit was not answered by {self._place.server}: the write may have happened")


async def lock_head(session: Session, identity: Identity, place: DatabasePlace) -> Head:
    """Waits for every transaction before this one, and keeps those after it waiting.

    Raises the errors of `Identity.check`, and FailedPreconditionError for a store that this version cannot use.
    """
    known_revision = identity.revision
    rows = await session.query(f"SELECT format, state, {HEAD_COLUMNS} FROM rube_head WHERE id = 1 FOR UPDATE")
    head = decode_head(rows[0][2:]) if rows else NO_HEAD
    identity.check(head.store_id, head.revision, known_revision)
    check_format(place, rows[0][0], rows[0][1])
    return head


async def _read_known(session: Session, txns: Sequence[Txn]) -> Known:
    keys = sorted({op.key for txn in txns for op in txn.ops} | {one.key for txn in txns for one in txn.compares})
    found: dict[bytes, Current] = {}
    for first in range(0, len(keys), KEYS_PER_STATEMENT_MAX):
        where = where_keys(keys[first : first + KEYS_PER_STATEMENT_MAX])
        rows = await session.query(
            f"SELECT c.head, c.tail, c.position, c.create_revision FROM rube_current c WHERE {where.sql.format('c')}",
            where.params,
        )
        found |= {head + tail: Current(position, created) for head, tail, position, created in rows}
    return Known(found)


def with_previous(rows: Sequence[Row], known: Known) -> list[LogRow]:
    """Returns the rows with the position of the row that each replaces, in the store or earlier in the group."""
    newest = {key: current.position for key, current in known.found.items()}
    result = []
    for row in rows:
        result.append(LogRow(row, newest.get(row.key, 0)))
        newest[row.key] = row.position if row.value is not None else 0
    return result


async def insert_rows(session: Session, rows: Sequence[LogRow], token: bytes) -> None:
    for part in _parts(rows):
        params: list[int | bytes | None] = []
        for row, previous in part:
            size_bytes = len(row.key) + len(row.value or b"")
            params += [row.position, *split_key(row.key), row.value, size_bytes, row.create_revision]
            params += [previous, checksum(row, previous), token]
        await session.query(
            "INSERT INTO rube_log (position, head, tail, value, size, create_revision, previous, checksum, token)"
            " VALUES " + ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(part)),
            params,
        )


async def put_current(session: Session, rows: Sequence[LogRow]) -> None:
    """Makes these rows the newest of their keys."""
    for part in _parts([LogRow(row._replace(value=b""), 0) for row, _ in rows]):
        params: list[int | bytes] = []
        for row, _ in part:
            head, tail = split_key(row.key)
            params += [head, tail_hash(tail), tail, row.position, row.create_revision]
        await session.query(
            "INSERT INTO rube_current (head, tail_hash, tail, position, create_revision) VALUES "
            + ", ".join(["(%s, %s, %s, %s, %s)"] * len(part))
            + " ON DUPLICATE KEY UPDATE position = VALUES(position), create_revision = VALUES(create_revision)",
            params,
        )


async def _update_current(session: Session, rows: Sequence[Row]) -> None:
    newest = {row.key: row for row in rows}
    await put_current(session, [LogRow(row, 0) for row in newest.values() if row.value is not None])
    deleted = [key for key, row in newest.items() if row.value is None]
    for first in range(0, len(deleted), KEYS_PER_STATEMENT_MAX):
        where = where_keys(deleted[first : first + KEYS_PER_STATEMENT_MAX])
        await session.query(f"DELETE FROM rube_current WHERE {where.sql.format('rube_current')}", where.params)


def _parts(rows: Sequence[LogRow]) -> Iterator[Sequence[LogRow]]:
    """Yields the rows in parts that fit into a statement each."""
    start, size_bytes = 0, 0
    for number, (row, _) in enumerate(rows):
        cost_bytes = 2 * (len(row.key) + len(row.value or b"")) + ROW_OVERHEAD_BYTES
        if number > start and (
            size_bytes + cost_bytes > STATEMENT_BYTES_MAX or number - start == ROWS_PER_STATEMENT_MAX
        ):
            yield rows[start:number]
            start, size_bytes = number, 0
        size_bytes += cost_bytes
    if start < len(rows):
        yield rows[start:]
