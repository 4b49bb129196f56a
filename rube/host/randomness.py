"""The port to randomness."""

from __future__ import annotations

import random  # noqa: TID251 (the type of the streams that the port hands out)
from typing import Protocol


class Randomness(Protocol):
    """Named streams: in a simulation each is derived from the seed and its name, in production from the OS."""

    def stream(self, name: str) -> random.Random:
        """The stream of that name. Asked for twice, it goes on where it was."""
        ...

    def uid(self) -> str:
        """A new identifier of 32 hexadecimal digits; unique, not ordered."""
        ...
