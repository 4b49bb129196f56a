"""Workers on a queue's keys; a worker that is held up is replaced, so that nothing waits behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rube.api.keys import ObjectKey
from rube.client import WorkQueue

HELD_S_MIN = 0.5
"""A worker that has been at one key for so long no longer counts: another takes its place."""


class Workers:
    """The workers on a queue's keys, `workers_max` of them at a time, without those that are held up.

    Something slow outside holds a worker up: a service that stops, a disk or a server that hangs. At most `held_max`
    are held up, and never more than there are keys; beyond that the others wait.
    """

    def __init__(
        self,
        queue: WorkQueue[ObjectKey],
        work: Callable[[ObjectKey], Awaitable[None]],
        *,
        workers_max: int,
        held_max: int,
    ) -> None:
        """`work` is awaited for each key; its error ends the workers' group."""
        self._queue = queue
        self._work = work
        self._workers_max = workers_max
        self._held_max = held_max
        self._held = 0

    def start(self, group: asyncio.TaskGroup) -> None:
        for _ in range(self._workers_max):
            group.create_task(self._run(group))

    async def _run(self, group: asyncio.TaskGroup) -> None:
        """Runs one worker, until it was held up and another has taken its place."""
        loop = asyncio.get_running_loop()
        while True:
            key = await self._queue.get()
            turn = _Turn()
            watch = loop.call_later(HELD_S_MIN, self._replace, group, turn)
            try:
                await self._work(key)
            finally:
                watch.cancel()
                self._queue.done(key)
            if turn.replaced:
                self._held -= 1
                return
            await asyncio.sleep(0)  # thousands of keys in a row must not hold up other tasks of this loop

    def _replace(self, group: asyncio.TaskGroup, turn: _Turn) -> None:
        if self._held >= self._held_max:
            return
        stand_in = self._run(group)
        try:
            group.create_task(stand_in)
        except RuntimeError:  # the group is ending, and with it all work
            stand_in.close()
        else:
            self._held += 1
            turn.replaced = True


class _Turn:
    """A worker's turn with one key, and whether another worker has taken its place."""

    replaced = False
