"""A lock for each key while writers want it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from rube.api.errors import ResourceExhaustedError


class KeyLocks:
    """Writers of one server queue up for a key in order of arrival instead of failing each other's compares."""

    def __init__(self, *, waiters_per_key_max: int) -> None:
        # The keys that are held, and their waiters.
        self._waiters: dict[bytes, deque[asyncio.Future[None]] | None] = {}
        self._waiters_per_key_max = waiters_per_key_max

    def __len__(self) -> int:
        """Returns the number of held keys."""
        return len(self._waiters)

    async def acquire(self, keys: Iterable[bytes]) -> list[bytes]:
        """Holds all the keys, taken in sorted order, so that two holders never wait for each other: release the result.

        Raises ResourceExhaustedError, holding nothing, if too many wait for one of them.
        """
        wanted = sorted(set(keys))
        if self._waiters.keys().isdisjoint(wanted):
            self._waiters.update(dict.fromkeys(wanted))
            return wanted
        for count, key in enumerate(wanted):
            if key not in self._waiters:
                self._waiters[key] = None
                continue
            try:
                await self._turn(key)
            except BaseException:
                self.release(wanted[:count])
                raise
        return wanted

    def release(self, keys: Iterable[bytes]) -> None:
        """Gives the keys to their next waiters. Invariant: a key is held while there are waiters, so no newcomer
        overtakes."""
        for key in keys:
            if self._waiters[key] is None:
                del self._waiters[key]
            else:
                self._pass_on(key)

    async def _turn(self, key: bytes) -> None:
        """Waits for a held key."""
        waiters = self._waiters[key]
        if waiters is None:
            waiters = self._waiters[key] = deque()
        if len(waiters) >= self._waiters_per_key_max:
            raise ResourceExhaustedError(
                f"{self._waiters_per_key_max} writes wait for {key.decode()} already (waiters_per_key_max): "
                "write it less often",
                limit=self._waiters_per_key_max,
            )
        turn = asyncio.get_running_loop().create_future()
        waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # The turn came together with the cancellation: pass it on.
                self._pass_on(key)
            elif turn in waiters:
                waiters.remove(turn)
            raise

    def _pass_on(self, key: bytes) -> None:
        waiters = self._waiters[key]
        while waiters:
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiters[key]
