"""A part of the server that keeps up what is in the store of one type."""

from __future__ import annotations

import asyncio


class Follower:
    """The keys of a type that have changed and were not taken yet: of each the newest change alone, so that what waits
    is bounded by what there is. Only `take` waits; it has one caller at a time."""

    def __init__(self) -> None:
        # Whether there is an object.
        self._changed: dict[bytes, bool] = {}
        self._over = False
        self._wake = asyncio.Event()

    async def take(self) -> dict[bytes, bool] | None:
        """Waits for changes, and returns their keys and whether each has an object now; None once nothing more will be
        given."""
        await self._wake.wait()
        if self._over:
            return None
        self._wake.clear()
        changed, self._changed = self._changed, {}
        return changed

    def give(self, key: bytes, *, exists: bool) -> None:
        self._changed[key] = exists
        self._wake.set()

    def end(self) -> None:
        self._over = True
        self._wake.set()
