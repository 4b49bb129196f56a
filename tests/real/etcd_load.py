"""Load on a store and a watch beside it, and what must hold of both whatever happens to etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rube.api.errors import AbortedError, DeadlineExceededError, UnavailableError
from rube.cli.real_host import real_host
from rube.store import Op, Store, StoreConfig, Txn, open_store
from rube.store.ports import Compare

ALL = (b"", b"\xff" * 16)
WRITERS = 8


@asynccontextmanager
async def opened(url: str, config: StoreConfig | None = None) -> AsyncIterator[Store]:
    store = await open_store(real_host(), url, config)
    try:
        yield store
    finally:
        await store.close()


class Load:
    """Writers that count up one key each, with a compare on what they wrote last, and a watcher of all."""

    def __init__(self, store: Store, watched: Store | None = None) -> None:
        self._store = store
        self._watched = watched or store
        self._base = store.revision
        # (revision, key, value) as acknowledged, and as seen by the watch.
        self.acknowledged: list[tuple[int, bytes, bytes]] = []
        self.seen: list[tuple[int, bytes, bytes]] = []
        self.unknown = 0
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ends once the watch has seen all that was acknowledged."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            writers = [group.create_task(self._write(b"w%d" % number)) for number in range(WRITERS)]
            yield
            self._stopping = True
            await asyncio.wait(writers)
            await self.caught_up()
            watching.cancel()

    async def progress(self, commits: int, timeout_s: float = 20) -> None:
        """Returns after so many further acknowledged commits."""
        target = len(self.acknowledged) + commits
        async with asyncio.timeout(timeout_s):
            while len(self.acknowledged) < target:
                await asyncio.sleep(0.01)

    async def caught_up(self, timeout_s: float = 20) -> None:
        """Returns once the watch has seen all that is acknowledged by now."""
        last = max(revision for revision, _, _ in self.acknowledged)
        async with asyncio.timeout(timeout_s):
            while not self.seen or self.seen[-1][0] < last:
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        """No acknowledged write is lost or was made twice; the watch saw each revision once, in order, without gaps."""
        seen = [entry[0] for entry in self.seen]
        assert seen == sorted(set(seen))
        assert set(self.acknowledged) <= set(self.seen)
        for key in (b"w%d" % number for number in range(WRITERS)):
            # Each number once: a write repeated behind the writer's back would show here; one lost, too.
            values = [int(value) for _, at, value in self.seen if at == key]
            assert values == list(range(len(values)))
            record = (await self._store.range(key, None)).records[0]
            assert int(record.value) == values[-1]
        # The watch saw, beyond the acknowledged writes, those of unknown outcome.
        assert len(self.seen) - len(self.acknowledged) <= self.unknown

    async def _write(self, key: bytes) -> None:
        number, revision = 0, 0
        while not self._stopping:
            value = b"%d" % number
            try:
                revision = await self._store.commit(Txn((Op(key, value),), (Compare(key, revision),)))
            except (UnavailableError, DeadlineExceededError):
                self.unknown += 1
                number, revision = await self._look(key)
                continue
            except AbortedError:
                # No other client writes this key: a write of unknown outcome has come late, after it was looked for.
                assert self.unknown
                number, revision = await self._look(key)
                continue
            self.acknowledged.append((revision, key, value))
            number += 1

    async def _look(self, key: bytes) -> tuple[int, int]:
        """The next number and the revision to compare with, after a write of unknown outcome."""
        while True:
            try:
                records = (await self._store.range(key, None)).records
            except (UnavailableError, DeadlineExceededError):
                continue
            return (int(records[0].value) + 1, records[0].mod_revision) if records else (0, 0)

    async def _watch(self) -> None:
        async for batch in self._watched.watch(*ALL, after_revision=self._base):
            self.seen += [(c.record.mod_revision, c.record.key, c.record.value) for c in batch.changes]
