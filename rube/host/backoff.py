"""Delays before the next attempt."""

from __future__ import annotations

from random import Random  # noqa: TID251 (the type of the streams that a host hands out)


class Backoff:
    """Delays that double up to a maximum, each between half of itself and itself, so that a herd spreads out."""

    def __init__(self, random: Random, *, initial_s: float, max_s: float) -> None:
        self._random = random
        self._initial_s = initial_s
        self._max_s = max_s
        self._bound_s = initial_s

    def reset(self) -> None:
        """Begins with the first delay again, after a success."""
        self._bound_s = self._initial_s

    def next_s(self) -> float:
        bound_s = self._bound_s
        self._bound_s = min(bound_s * 2, self._max_s)
        return bound_s * (0.5 + self._random.random() / 2)
