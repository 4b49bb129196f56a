"""The real clock and the real randomness."""

from __future__ import annotations

import asyncio
import math
import os
import random  # noqa: TID251 (an adapter)
import secrets  # noqa: TID251 (an adapter)
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


class RealRandomness:
    """The operating system's randomness (rube.host.Randomness)."""

    def __init__(self) -> None:
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        return self._streams.setdefault(name, random.Random(secrets.randbits(256)))

    def uid(self) -> str:
        return os.urandom(16).hex()  # noqa: TID251 (an adapter)
