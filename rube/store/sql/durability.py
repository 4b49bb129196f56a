"""The barrier that hides commits which a crash of the server could still take back.

InnoDB shows a commit to others, and releases its locks, before the commit is in the log on disk; only the committing
client waits for that. If the server died in between, a reader would have seen a revision that is then used a second
time, for other changes. So a reader that sees a revision newer than the newest known durable one first commits a small
write of its own: InnoDB's log is one sequence, and everything before that write is on disk when it is.
"""

from __future__ import annotations

import asyncio

from rube.store.sql.errors import READ_ONLY_CODES, LostError, RefusedError, translate
from rube.store.sql.identity import Identity
from rube.store.sql.pool import Pool

SLOTS = 64
"""Processes mostly write to rows of their own, so that they don't wait for each other."""


class Barrier:
    """Makes a seen revision durable, unless it is known to be."""

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
                return  # the caller before this one flushed for both
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
    """The barrier of TiDB, which shows a commit when a majority has it, and of tools that read and pass nothing on."""

    async def reach(self, revision: int) -> None:
        self._identity.reached(revision)
