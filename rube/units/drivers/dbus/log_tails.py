"""The last lines of failed units: read from the journal beside everything else, once for each failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rube.units.drivers.dbus.journal import Journal

READS_MAX = 2
"""At the same time."""
SETTLE_S = 0.2
"""The journal may lag behind the unit's end by so much."""


class LogTails:
    """`of` returns the tail that is known by now, and starts to read it otherwise; the listener is called when it is
    there."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._known: dict[str, tuple[str, list[str]]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(READS_MAX)
        self._listener: Callable[[str], None] = lambda name: None

    def listen(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a unit's name once its tail has been read. The newest listener counts."""
        self._listener = listener

    def of(self, unit: str, invocation: str, failure: str) -> list[str]:
        """Returns the unit's last lines before this `failure`, whose text tells it from the one before."""
        known = self._known.get(unit)
        stamp = f"{invocation} {failure}"
        if (known is None or known[0] != stamp) and unit not in self._reading:
            self._reading[unit] = asyncio.create_task(self._read(unit, invocation, stamp))
        return known[1] if known is not None else []

    def forget(self, unit: str) -> None:
        """Drops the tail of a unit that is not failed."""
        self._known.pop(unit, None)

    async def close(self) -> None:
        tasks = tuple(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, unit: str, invocation: str, stamp: str) -> None:
        try:
            await asyncio.sleep(SETTLE_S)
            async with self._slots:
                lines = await self.journal.tail(unit, invocation)
            changed = self._known.get(unit, ("", []))[1] != lines
            self._known[unit] = (stamp, lines)
            if changed:
                self._listener(unit)
        finally:
            self._reading.pop(unit, None)
