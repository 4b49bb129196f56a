"""HTTP/2's flow control for one direction of one stream: a slow reader stops the writer."""

from __future__ import annotations

import asyncio

WINDOW_BYTES = 64 * 1024
"""The bytes that may be under way unread. A message is sent whole as soon as any of the window is left."""


class Signal:
    """Wakes its waiters, which check themselves for what they wait for. Costs nothing unused."""

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Lets all waiters go on."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self) -> None:
        """Waits for the next `wake`."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter


class SendWindow:
    """The writer's side."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = WINDOW_BYTES
        self._grown = Signal(loop)

    def take_now(self, size_bytes: int) -> bool:
        """Does what `take` does, if no caller has to wait."""
        if self._left <= 0:
            return False
        self._left -= size_bytes or 1
        return True

    async def take(self, size_bytes: int) -> None:
        """Waits until something of the window is left, and uses `size_bytes` of it (at least one)."""
        while not self.take_now(size_bytes):
            await self._grown.wait()

    def grow(self, size_bytes: int) -> None:
        """The reader has read so much."""
        self._left += size_bytes
        if self._left > 0:
            self._grown.wake()

    def abandon(self) -> None:
        """The call is over: lets go of all that wait."""
        self._left = WINDOW_BYTES
        self._grown.wake()


class ReceiveWindow:
    """The reader's side: tells the writer in large steps."""

    def __init__(self) -> None:
        self._read_bytes = 0

    def read(self, size_bytes: int) -> int:
        """Notes that so much was read; returns what to grant the writer now, mostly 0."""
        self._read_bytes += max(1, size_bytes)
        if self._read_bytes < WINDOW_BYTES // 2:
            return 0
        granted, self._read_bytes = self._read_bytes, 0
        return granted
