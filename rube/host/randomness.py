"""The port to randomness."""

from __future__ import annotations

import random  # noqa: TID251 (the type of the streams that the port hands out)
from typing import Protocol


class Randomness(Protocol):
    """Named streams: in a simulation each is derived from the seed and its name, in production from the OS."""

    def stream(self, name: str) -> random.Random:
        """Returns the stream of that name; a second call continues the same stream."""
        ...

    def uid(self) -> str:
        """Returns a new identifier of 32 hexadecimal digits; unique, not ordered."""
        ...
