"""Compaction: deletes rows that only old revisions see, in steps that any number of apiservers may take at once."""

from __future__ import annotations

from rube.api.errors import RubeError
from rube.host import Clock
from rube.store.mvcc.log import SUB_BITS, position_of
from rube.store.sql.errors import PASSING_CODES, LostError, RefusedError, translate
from rube.store.sql.pool import Pool
from rube.store.sql.schema import Head

ROWS_PER_STEP_MAX = 1000
TRIES_MAX = 5
RETRY_DELAY_S = 0.05


async def mark(pool: Pool, clock: Clock, revision: int) -> None:
    """Refuses reads of older revisions from here on. Durable when it returns."""
    await _write(
        pool, clock, "UPDATE rube_head SET compact_revision = GREATEST(compact_revision, %s) WHERE id = 1", (revision,)
    )


async def sweep(pool: Pool, clock: Clock, head: Head) -> None:
    """Deletes the rows that no read at or after `head.compact_revision` can see, from where the last sweep ended.

    Each write up to that revision removes the row that it replaced; a delete removes itself too, in the same statement,
    so that no put comes back. A step taken twice changes nothing.
    """
    swept, end = position_of(head.swept_revision + 1) - 1, position_of(head.compact_revision + 1)
    while True:
        rows = await pool.read(
            "SELECT position, previous, value IS NULL FROM rube_log WHERE position > %s AND position < %s "
            f"ORDER BY position LIMIT {ROWS_PER_STEP_MAX}",
            (swept, end),
        )
        doomed = sorted({previous for _, previous, _ in rows if previous} | {row[0] for row in rows if row[2]})
        if doomed:
            places = ", ".join(["%s"] * len(doomed))
            await _write(pool, clock, f"DELETE FROM rube_log WHERE position IN ({places})", doomed)
        done = len(rows) < ROWS_PER_STEP_MAX
        swept = end - 1 if done else rows[-1][0]
        # The last revision of a step may go on in the next one.
        revision = head.compact_revision if done else (swept >> SUB_BITS) - 1
        await _write(
            pool, clock, "UPDATE rube_head SET swept_revision = GREATEST(swept_revision, %s) WHERE id = 1", (revision,)
        )
        if done:
            return


async def _write(pool: Pool, clock: Clock, statement: str, params: list[int] | tuple[int, ...]) -> None:
    """Runs one statement that may be carried out twice."""
    trouble: RubeError | None = None
    for _ in range(TRIES_MAX):
        try:
            async with pool.session() as session:
                await session.query(statement, params)
                return
        except (RefusedError, LostError) as error:
            trouble = translate(error, pool.target.place)
            if isinstance(error, RefusedError) and error.code not in PASSING_CODES:
                break
        await clock.sleep(RETRY_DELAY_S)
    assert trouble is not None
    raise trouble
