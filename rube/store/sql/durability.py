"""Nothing is shown that a crash of the server could take back.

InnoDB shows a commit to others, and gives its locks away, before the commit is in the log on disk; only the one who
commits waits for that. If the server died in between, a reader would have seen a revision that is then given out a
second time, for something else. So a reader that sees a revision newer than what it knows to be durable first commits
a small write of its own: InnoDB's log is one sequence, and what is before that write is on disk when it is.
"""

from __future__ import annotations

import asyncio

from rube.store.sql.errors import READ_ONLY_CODES, LostError, RefusedError, translate
from rube.store.sql.identity import Identity
from rube.store.sql.pool import Pool

# Processes write to rows of their own, mostly, so that they don't wait for each other.
SLOTS = 64


class Barrier:
    """Makes durable what was seen, unless it is known to be."""

    def __init__(self, pool: Pool, identity: Identity, slot: int) -> None:
        self._pool = pool
        self._identity = identity
        self._slot = slot % SLOTS
        self._seen_revision = 0
        self._flushing = asyncio.Lock()

    async def reach(self, revision: int) -> None:
        """Returns when that revision, which was seen, is durable. Raises RubeErrors."""
        self._seen_revision = max(self._seen_revision, revision)
        if revision <= self._identity.revision:
            return
        async with self._flushing:
            if revision <= self._identity.revision:
                return  # the one before this flushed for both
            seen = self._seen_revision
            await self._flush()
            self._identity.reached(seen)

    async def _flush(self) -> None:
        try:
            async with self._pool.session() as session:
                await session.query(
                    "INSERT INTO rube_flush (slot, number) VALUES (%s, 1) ON DUPLICATE KEY UPDATE number = number + 1",
                    (self._slot,),
                )
        except RefusedError as error:
            # A server becomes read-only when the last commit has ended, and then there are no new ones.
            if error.code not in READ_ONLY_CODES:
                raise translate(error, self._pool.target.place) from error
        except LostError as error:
            raise translate(error, self._pool.target.place) from error


class NoBarrier(Barrier):
    """For TiDB, which shows a commit when a majority has it, and for tools that read and tell nobody else."""

    async def reach(self, revision: int) -> None:
        self._identity.reached(revision)
