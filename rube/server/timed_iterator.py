"""The steps of an async iterator one at a time, with waits that may end before the step does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class TimedIterator(Generic[T]):
    """Yields the items of `source` one by one. Closing it ends the source too."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._step: asyncio.Future[T] | None = None

    async def next(self, wait_s: float | None) -> T | None:
        """Returns the next item; None if it has not come within `wait_s`: the next call then awaits the same item.

        Raises the source's errors, StopAsyncIteration at its end.
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
            await asyncio.gather(self._step, return_exceptions=True)  # the result is not needed any more
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
