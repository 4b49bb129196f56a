"""The real randomness. It needs no asyncio, which costs a short command more than all else that it does."""

from __future__ import annotations

import os
import random  # noqa: TID251 (an adapter)
import secrets  # noqa: TID251 (an adapter)


class RealRandomness:
    """The operating system's randomness (rube.host.Randomness)."""

    def __init__(self) -> None:
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        return self._streams.setdefault(name, random.Random(secrets.randbits(256)))

    def uid(self) -> str:
        return os.urandom(16).hex()  # noqa: TID251 (an adapter)
