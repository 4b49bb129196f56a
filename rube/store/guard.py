"""The guard that notices when a store or an engine has lost durability, so that its process ends.

After a failed sync nothing shows what is on the disk, and another sync may seem to succeed
(https://wiki.postgresql.org/wiki/Fsync_Errors). A new process reads what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from rube.api.errors import DataLossError, ResourceExhaustedError, RubeError
from rube.host import Engine, Write
from rube.host.engine import Snapshot
from rube.store.forwarding import ForwardingStore
from rube.store.ports import Store, Txn


class Loss:
    """The first DataLossError of a write, if there is one."""

    def __init__(self) -> None:
        self._error: DataLossError | None = None
        self._noted = asyncio.Event()

    def note(self, error: DataLossError) -> None:
        if self._error is None:
            self._error = error
            self._noted.set()

    async def wait(self) -> DataLossError:
        """Waits for it, and returns an error of the same words."""
        await self._noted.wait()
        assert self._error is not None
        return DataLossError(self._error.message, **self._error.metadata)


class GuardedStore(ForwardingStore):
    """Forwards to another store, and calls `when_lost` before a caller gets the error of a loss.

    Damage that a read finds fails that read alone: everything else is served.
    """

    def __init__(self, inner: Store, when_lost: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._when_lost = when_lost
        self.loss = Loss()

    async def commit(self, txn: Txn) -> int:
        try:
            return await self._inner.commit(txn)
        except DataLossError as error:
            await self._lose(error)
            raise

    async def compact(self, revision: int) -> None:
        try:
            await self._inner.compact(revision)
        except DataLossError as error:
            await self._lose(error)
            raise

    async def failed(self) -> RubeError:
        """Returns also after the first lost write."""
        waiting = [asyncio.ensure_future(self.loss.wait()), asyncio.ensure_future(self._inner.failed())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await self._when_lost()
            return next(one.result() for one in waiting if one.done())
        finally:
            for one in waiting:
                one.cancel()

    async def _lose(self, error: DataLossError) -> None:
        try:
            await self._when_lost()
        finally:
            self.loss.note(error)


class GuardedEngine:
    """A `rube.host.Engine` that passes everything through."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self._full = ""
        self.loss = Loss()

    def why_full(self) -> str:
        """Returns the error of the last write if the disk was full; empty if not."""
        return self._full

    def get(self, key: bytes) -> bytes | None:
        return self._inner.get(key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._inner.scan(start, end, limit=limit, reverse=reverse)

    def snapshot(self) -> Snapshot:
        return self._inner.snapshot()

    async def commit(self, batch: Sequence[Write]) -> None:
        try:
            await self._inner.commit(batch)
        except DataLossError as error:
            self.loss.note(error)
            raise
        except ResourceExhaustedError as error:
            self._full = error.message
            raise
        self._full = ""

    async def checkpoint(self, path: str) -> None:
        await self._inner.checkpoint(path)

    def size_bytes(self) -> int:
        return self._inner.size_bytes()

    def inspect(self) -> Iterator[str]:
        return self._inner.inspect()

    async def close(self) -> None:
        await self._inner.close()


async def never_failed() -> RubeError:
    """Implements `Store.failed` for a store that fails only in calls."""
    await asyncio.Event().wait()
    raise AssertionError("it is never set")
