"""The tail: whole revisions, the newest, within a bound that grows with the store."""

from __future__ import annotations

import asyncio

from rube.host import RealClock, RealRandomness
from rube.store import Op, StoreConfig, Txn
from rube.store.embedded import MvccStore
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from rube.store.mvcc import versions
from rube.store.mvcc.log import Row, position_of
from rube.store.mvcc.tail import RowTail


def rows_of(revision: int, count: int, value_bytes: int = 100) -> list[Row]:
    return [Row(position_of(revision, sub), b"%d" % sub, bytes(value_bytes), revision) for sub in range(count)]


def test_the_newest_whole_revisions_stay_within_the_bound() -> None:
    tail = RowTail(0)
    for revision in range(1, 20):
        tail.extend(rows_of(revision, count=3), 3000)
    assert 10 < tail.start_revision < 19
    assert tail.row(position_of(tail.start_revision, 2)) is None
    for revision in range(tail.start_revision + 1, 20):
        assert [tail.row(position_of(revision, sub)) for sub in range(3)] == rows_of(revision, 3)
    tail.extend(rows_of(20, count=3), 100)
    assert tail.start_revision == 20, "a revision that is past the bound by itself is not kept in part"


def test_the_tail_grows_with_the_number_of_keys() -> None:
    value_bytes = 100_000

    async def held(keys: int) -> int:
        """The number of newest revisions that a store of so many keys has in memory."""
        engine = await MemoryEngine.open(VolatileDisk(), "memory:")
        config = StoreConfig(tail_bytes_max=3_000_000)
        store = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness(), config=config)
        for first in range(0, keys, 1000):
            await store.commit(Txn(tuple(Op(b"%d" % number, b"") for number in range(first, first + 1000))))
        for number in range(40):
            await store.commit(Txn((Op(b"%d" % number, bytes(value_bytes)),)))
        start = store._versions._tail.start_revision  # nothing shows it from outside but memory and time
        await store.close()
        return store.revision - start

    async def main() -> None:
        assert await held(1000) == versions.TAIL_BYTES_MIN // value_bytes
        assert await held(8000) == versions.TAIL_BYTES_PER_KEY_MAX * 8000 // value_bytes - 1
        assert await held(20_000) == 3_000_000 // value_bytes - 1, "and never past what the store may use"

    asyncio.run(main())
