"""A lock for each key, as long as somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from rube.api.errors import ResourceExhaustedError

__all__ = ["KeyLocks"]


class _Lock:
    __slots__ = ("lock", "wanted")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0


class KeyLocks:
    """Writers of one server queue up for a key in order of arrival instead of failing each other's compares."""

    def __init__(self, *, waiters_per_key_max: int) -> None:
        self._locks: dict[str, _Lock] = {}
        self._waiters_per_key_max = waiters_per_key_max

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Holds all the keys' locks, taken in sorted order, so that two holders cannot wait for each other.

        Raises ResourceExhaustedError if too many wait for one of them.
        """
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await self._acquire(key)
                stack.callback(self._release, key)
            yield

    async def _acquire(self, key: str) -> None:
        held = self._locks.get(key)
        if held is None:
            held = self._locks[key] = _Lock()
        if held.wanted > self._waiters_per_key_max:
            raise ResourceExhaustedError(
                f"{self._waiters_per_key_max} writes wait for {key} already (waiters_per_key_max): write it less often",
                limit=self._waiters_per_key_max,
            )
        held.wanted += 1
        try:
            await held.lock.acquire()
        except BaseException:
            self._forget(key, held)
            raise

    def _release(self, key: str) -> None:
        held = self._locks[key]
        held.lock.release()
        self._forget(key, held)

    def _forget(self, key: str, held: _Lock) -> None:
        held.wanted -= 1
        if not held.wanted:
            del self._locks[key]
