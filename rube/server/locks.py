"""A lock for each key, as long as somebody wants it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from rube.api.errors import ResourceExhaustedError

__all__ = ["KeyLocks"]


class KeyLocks:
    """Writers of one server queue up for a key in order of arrival instead of failing each other's compares."""

    def __init__(self, *, waiters_per_key_max: int) -> None:
        # The keys that are held, and who waits for them.
        self._waiters: dict[bytes, deque[asyncio.Future[None]] | None] = {}
        self._waiters_per_key_max = waiters_per_key_max

    def __len__(self) -> int:
        """How many keys are held."""
        return len(self._waiters)

    def hold(self, keys: Iterable[bytes]) -> _Hold:
        """`async with` holds all the keys' locks, taken in sorted order, so that two holders never wait for each other.

        Entering raises ResourceExhaustedError if too many wait for one of them.
        """
        return _Hold(self, sorted(set(keys)))

    def take(self, key: bytes) -> bool:
        """Holds the key from now on, unless it is held already."""
        if key in self._waiters:
            return False
        self._waiters[key] = None
        return True

    async def wait_for(self, key: bytes) -> None:
        """Holds a key that is held already, when its turn has come."""
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
                self.release(key)
            elif turn in waiters:
                waiters.remove(turn)
            raise

    def release(self, key: bytes) -> None:
        """The next waiter's turn. Invariant: a key is held until nobody wants it, so no newcomer overtakes."""
        waiters = self._waiters[key]
        while waiters:
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiters[key]


class _Hold:
    """What `KeyLocks.hold` gives: a plain class, because every write passes here."""

    __slots__ = ("_held", "_keys", "_locks")

    def __init__(self, locks: KeyLocks, keys: list[bytes]) -> None:
        self._locks = locks
        self._keys = keys
        self._held = 0

    async def __aenter__(self) -> None:
        try:
            for key in self._keys:
                if not self._locks.take(key):
                    await self._locks.wait_for(key)
                self._held += 1
        except BaseException:
            self._release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        for key in self._keys[: self._held]:
            self._locks.release(key)
