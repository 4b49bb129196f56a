"""Watches: a cursor that moves over the log, from the tail in memory or, behind it, from the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.store.ports import Change, ChangeBatch


class ChangeSource(Protocol):
    """The part of the store that a watch uses."""

    @property
    def revision(self) -> int: ...

    async def check_resumable(self, after_revision: int) -> None:
        """Raises CompactedError, RevisionAheadError, or UnavailableError once the store is closed."""
        ...

    async def changes(self, start: bytes, end: bytes, after_revision: int) -> tuple[list[Change], int]:
        """Returns some of the changes after that revision, whole revisions, and the revision that they reach."""
        ...

    async def advanced(self, revision: int) -> None:
        """Returns when the store's revision is past `revision`, or when the store is closed."""
        ...


async def follow(
    source: ChangeSource, clock: Clock, start: bytes, end: bytes, after_revision: int, bookmark_interval_s: float
) -> AsyncGenerator[ChangeBatch]:
    """Runs the watch of `rube.store.Store`."""
    cursor = after_revision
    # The revision of the last bookmark or batch, -1 before the first; and its time.
    told = -1
    told_at_ns = 0
    while True:
        await source.check_resumable(cursor)
        if cursor < source.revision:
            changes, cursor = await source.changes(start, end, cursor)
            if changes:
                yield ChangeBatch(changes, cursor)
                told_at_ns = clock.monotonic_ns()
                told = cursor if told >= 0 else -1
            else:
                await clock.sleep(0)
            continue
        wait_s = bookmark_interval_s - (clock.monotonic_ns() - told_at_ns) / NS_PER_S
        if told < 0 or (told < cursor and wait_s <= 0):
            yield ChangeBatch([], cursor)
            told, told_at_ns = cursor, clock.monotonic_ns()
            continue
        if told == cursor:
            await source.advanced(cursor)
            continue
        try:
            async with clock.timeout(wait_s):
                await source.advanced(cursor)
        except TimeoutError:
            pass
