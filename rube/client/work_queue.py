"""A queue of keys to work on, deduplicating and with delays (as client-go's)."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rube.api.errors import ResourceExhaustedError
from rube.api.times import NS_PER_S
from rube.host import Clock

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkQueueConfig:
    """Bounds of a queue."""

    keys_max: int = 100_000


class WorkQueueCore(Generic[Key]):
    """The queue without waiting: a synchronous state machine that takes the time as an argument.

    A key is ready, delayed, or being worked on, or being worked on and wanted again; one worker at a time gets it, and
    however often it was added, once.
    """

    def __init__(self, config: WorkQueueConfig) -> None:
        self._config = config
        # Dicts for their order.
        self._ready: dict[Key, None] = {}
        self._working: dict[Key, None] = {}
        # Keys that were added again while being worked on.
        self._again: dict[Key, None] = {}
        # The time at which each delayed key becomes ready; the heap may hold outdated entries.
        self._due_ns: dict[Key, int] = {}
        self._heap: list[tuple[int, int, Key]] = []
        self._added = 0

    def __len__(self) -> int:
        """Returns the number of keys that are ready, delayed or wanted again."""
        return len(self._ready) + len(self._again) + len(self._due_ns)

    def add(self, key: Key) -> None:
        """Makes the key ready; no effect if it is already. Raises ResourceExhaustedError past `keys_max`."""
        self._check_room(key)
        self._due_ns.pop(key, None)
        if key in self._working:
            self._again[key] = None
        else:
            self._ready[key] = None

    def add_at(self, key: Key, due_ns: int) -> None:
        """Makes the key ready at that time; no effect if it is ready or due earlier. Raises ResourceExhaustedError."""
        self._check_room(key)
        if key in self._ready or key in self._again or self._due_ns.get(key, due_ns + 1) <= due_ns:
            return
        self._due_ns[key] = due_ns
        self._added += 1
        heapq.heappush(self._heap, (due_ns, self._added, key))

    def take(self, now_ns: int) -> Key | None:
        """Returns the key that has been ready longest, now being worked on until `done`; None if there is none."""
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, _, key = heapq.heappop(self._heap)
            if self._due_ns.get(key) == due_ns:
                self.add(key)
        if not self._ready:
            return None
        key = next(iter(self._ready))
        del self._ready[key]
        self._working[key] = None
        return key

    def done(self, key: Key) -> None:
        """Ends the work on the key, well or not; a key added meanwhile is ready now."""
        del self._working[key]
        if key in self._again:
            del self._again[key]
            self._ready[key] = None

    def next_due_ns(self) -> int | None:
        """Returns when the first delayed key becomes ready."""
        while self._heap and self._due_ns.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _check_room(self, key: Key) -> None:
        if len(self) >= self._config.keys_max and not (key in self._ready or key in self._again or key in self._due_ns):
            raise ResourceExhaustedError(
                f"the work queue holds {self._config.keys_max} keys (keys_max) and has no room for {key}",
                limit=self._config.keys_max,
            )


class WorkQueue(Generic[Key]):
    """Keys to work on, for any number of workers: `get`, work, `done`."""

    def __init__(self, clock: Clock, config: WorkQueueConfig | None = None) -> None:
        self._clock = clock
        self._core: WorkQueueCore[Key] = WorkQueueCore(config or WorkQueueConfig())
        # One of the waiting workers, the keeper, waits for the next due time; the others wait, in order, to be woken.
        self._keeper: asyncio.Future[None] | None = None
        self._others: dict[asyncio.Future[None], None] = {}

    def __len__(self) -> int:
        """Returns the number of keys that wait for a worker, now or later."""
        return len(self._core)

    def add(self, key: Key) -> None:
        """Queues the key, once, for the next free worker. Raises ResourceExhaustedError past `keys_max`."""
        self._core.add(key)
        self._wake()

    def add_after(self, key: Key, delay_s: float) -> None:
        """Queues the key for `delay_s` from now, or earlier if it is added for an earlier time."""
        self._core.add_at(key, self._clock.monotonic_ns() + round(delay_s * NS_PER_S))
        self._wake()

    async def get(self) -> Key:
        """Returns the next key; no other worker gets it until `done`. Cancelling loses nothing."""
        while True:
            now_ns = self._clock.monotonic_ns()
            key = self._core.take(now_ns)
            if key is not None:
                self._pass_on()
                return key
            await self._wait(now_ns)

    def done(self, key: Key) -> None:
        """Ends the work on the key, well or not."""
        self._core.done(key)
        self._wake()

    async def _wait(self, now_ns: int) -> None:
        """Returns when it is this worker's turn to look: woken, or as the keeper when the next key is due."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wait_s: float | None = None
        if self._keeper is None:
            self._keeper = turn
            due_ns = self._core.next_due_ns()
            wait_s = None if due_ns is None else (due_ns - now_ns) / NS_PER_S
        else:
            self._others[turn] = None
        try:
            async with self._clock.timeout(wait_s):
                await turn
        except TimeoutError:
            self._keeper = None if self._keeper is turn else self._keeper
        except asyncio.CancelledError:
            if turn in self._others:
                del self._others[turn]
            else:  # the keeper, or woken already: another worker has to look instead
                self._keeper = None if self._keeper is turn else self._keeper
                self._pass_on()
            raise

    def _wake(self) -> None:
        """Lets the keeper look after a change. Without a keeper some worker is about to look anyway."""
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            if not keeper.done():
                keeper.set_result(None)

    def _pass_on(self) -> None:
        """Lets the next worker look: it takes another ready key, or becomes the keeper."""
        while self._keeper is None and self._others:
            turn = next(iter(self._others))
            del self._others[turn]
            if not turn.done():  # otherwise it is being cancelled itself
                turn.set_result(None)
                return
