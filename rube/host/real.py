"""The real clock and the real randomness."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 (an adapter)
import secrets  # noqa: TID251 (an adapter)
import time  # noqa: TID251 (an adapter)


class RealClock:
    """This machine's clock (rube.host.Clock)."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        return asyncio.timeout(delay_s)


class RealRandomness:
    """The operating system's randomness (rube.host.Randomness)."""

    def __init__(self) -> None:
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        return self._streams.setdefault(name, random.Random(secrets.randbits(256)))

    def uid(self) -> str:
        return secrets.token_hex(16)
