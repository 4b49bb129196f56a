"""An async iterator whose items are awaited for a bounded time, and not lost when they come later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

__all__ = ["TimedIterator"]

T = TypeVar("T")


class TimedIterator(Generic[T]):
    """Gives the items of `source` one by one. Close it: that ends the source too."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._step: asyncio.Future[T] | None = None

    async def next(self, wait_s: float | None) -> T | None:
        """The next item; None if it has not come within `wait_s`: then it is still awaited, and not lost.

        Raises what the source raises, StopAsyncIteration at its end.
        """
        if self._step is None:
            if wait_s is None:
                return await anext(self._source)
            self._step = asyncio.ensure_future(anext(self._source))
        if wait_s is not None:
            await asyncio.wait((self._step,), timeout=max(0.0, wait_s))
            if not self._step.done():
                return None
        step, self._step = self._step, None
        return await step

    async def aclose(self) -> None:
        if self._step is not None:
            self._step.cancel()
            await asyncio.gather(self._step, return_exceptions=True)  # whatever it is, nobody waits for it any more
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
