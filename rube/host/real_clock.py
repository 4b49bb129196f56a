"""The real clock."""

from __future__ import annotations

import asyncio
import math
import time  # noqa: TID251 (an adapter)

from rube.api.times import NS_PER_S

TIMER_S = 0.002
"""uvloop's timers count whole milliseconds and may end one and a half early: the port's may not."""


class RealClock:
    """This machine's clock (rube.host.Clock)."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, delay_s: float) -> None:
        end_ns = time.monotonic_ns() + math.ceil(delay_s * NS_PER_S)
        await asyncio.sleep(delay_s)
        if time.monotonic_ns() < end_ns:
            await asyncio.sleep(TIMER_S)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        return asyncio.timeout(None if delay_s is None else delay_s + TIMER_S)
