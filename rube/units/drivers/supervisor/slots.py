"""A bound on concurrent work that does not count work that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLOT_S_MAX = 1.0
"""A holder that takes longer no longer counts: it waits for something, and others must not wait behind it."""


class Slots:
    """`async with slots.take():` waits until fewer than `slots_max` others work, those that hang left out."""

    def __init__(self, slots_max: int) -> None:
        self._free = asyncio.Semaphore(slots_max)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        await self._free.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(SLOT_S_MAX, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
