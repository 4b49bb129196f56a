"""The news that a store keeps nothing more: its receivers, their order, and what is no news."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rube.api.errors import DataLossError, ResourceExhaustedError, RubeError
from rube.host import RealClock, RealRandomness, Write
from rube.store import Op, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import MemoryEngine, VolatileDisk
from rube.store.guard import GuardedEngine, GuardedStore

PUT = Txn((Op(b"key", b"value"),))


class FailingEngine(MemoryEngine):
    """Fails as it is told to."""

    failure: RubeError | None = None

    async def commit(self, batch: Sequence[Write]) -> None:
        if self.failure is not None:
            raise self.failure
        await super().commit(batch)

    def get(self, key: bytes) -> bytes | None:
        if isinstance(self.failure, DataLossError):
            raise self.failure
        return super().get(key)


async def engine_of() -> FailingEngine:
    disk = VolatileDisk()
    return FailingEngine("memory:", disk, disk.open("memory:"))


def test_callers_and_whoever_waits_are_told_once_the_health_has_turned() -> None:
    async def main() -> None:
        engine = await engine_of()
        inner = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())
        order: list[str] = []

        async def health() -> None:
            await asyncio.sleep(0)
            order.append("health")

        store = GuardedStore(inner, health)

        async def wait() -> None:
            error = await store.loss.wait()
            order.append(f"waiting: {error.message}")

        waiting = asyncio.create_task(wait())
        await store.commit(PUT)
        engine.failure = DataLossError("the disk failed")
        with pytest.raises(DataLossError, match="the disk failed"):
            await store.commit(PUT)
        order.append("caller")
        await waiting
        assert order == ["health", "caller", "waiting: the disk failed"]
        engine.failure = None
        with pytest.raises(DataLossError, match="the disk failed"):
            await store.commit(PUT)  # for good
        await store.close()

    asyncio.run(main())


def test_a_failed_compaction_is_a_loss_and_a_full_disk_is_none() -> None:
    async def main() -> None:
        engine = await engine_of()
        inner = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())

        async def health() -> None: ...

        store = GuardedStore(inner, health)
        waiting = asyncio.create_task(store.loss.wait())
        await store.commit(PUT)
        engine.failure = ResourceExhaustedError("full")
        with pytest.raises(ResourceExhaustedError):
            await store.commit(PUT)
        await asyncio.sleep(0)
        assert not waiting.done()
        engine.failure = DataLossError("gone")
        with pytest.raises(DataLossError):
            await store.compact(store.revision)
        assert (await waiting).message == "gone"
        engine.failure = None
        await store.close()

    asyncio.run(main())


def test_a_damaged_row_is_the_trouble_of_its_reader_alone() -> None:
    async def main() -> None:
        engine = await engine_of()
        guarded = GuardedEngine(engine)
        waiting = asyncio.create_task(guarded.loss.wait())
        engine.failure = DataLossError("this row is damaged")
        with pytest.raises(DataLossError):
            guarded.get(b"key")
        await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(DataLossError):
            await guarded.commit([Write(b"key", b"")])
        assert (await waiting).message == "this row is damaged"

    asyncio.run(main())
