"""A disk that is really full: what is refused was not stored, compaction makes room, and writes go on."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import ResourceExhaustedError
from rube.host import RealClock, RealRandomness
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore
from tests.real.full_disk import mounted, take_all

SCHEMES = ("rocksdb", "sqlite")
DISK_MB = 128
SMALL_DISK_MB = 16
KEYS = 40


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with mounted(tmp_path / "disk", getattr(request, "param", DISK_MB)) as disk:
        yield disk


async def opened(scheme: str, disk: Path) -> MvccStore:
    return await MvccStore.open(
        await RealStorage().open(f"{scheme}:///{disk}/store"), clock=RealClock(), random=RealRandomness()
    )


async def overwrite_until_full(store: MvccStore, keys: int = KEYS, value_bytes: int = 100_000) -> dict[bytes, int]:
    """The same keys again and again, in no order; what was acknowledged of each."""
    stored: dict[bytes, int] = {}
    chance = random.Random(keys)
    for _ in range(10_000):
        some = [b"%d" % number for number in chance.sample(range(keys), 1 + 10_000 // value_bytes)]
        try:
            revision = await store.commit(Txn(tuple(Op(key, os.urandom(value_bytes)) for key in some)))
            stored |= dict.fromkeys(some, revision)
        except ResourceExhaustedError as error:
            assert "/disk/store is full: free some space; nothing of this" in error.message  # noqa: PT017 (the loop's end)
            return stored
    raise AssertionError("the disk was never full")


async def compact_and_commit(store: MvccStore, txn: Txn) -> int:
    """Tries as servers do: again and again. RocksDB merges its tables in the background, and takes room for that."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.compact(store.revision)
                return await store.commit(txn)
            except ResourceExhaustedError:
                await asyncio.sleep(0.05)


async def revisions(store: MvccStore) -> dict[bytes, int]:
    return {record.key: record.mod_revision for record in (await store.range(b"", b"\xff")).records}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compaction_frees_a_full_disk(disk: Path, scheme: str) -> None:
    async def main() -> None:
        store = await opened(scheme, disk)
        stored = await overwrite_until_full(store)
        try:
            stored[b"more"] = await store.commit(Txn((Op(b"more", os.urandom(100_000)),)))
        except ResourceExhaustedError:
            pass
        else:
            assert scheme == "rocksdb", "it may have found room, by merging tables meanwhile"
        stored[b"after"] = await compact_and_commit(store, Txn((Op(b"after", os.urandom(100_000)),)))
        assert await revisions(store) == stored
        await store.close()
        store = await opened(scheme, disk)
        assert await revisions(store) == stored
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("value_bytes", [500, 50_000])
@pytest.mark.parametrize("disk", [SMALL_DISK_MB], indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_compaction_frees_a_small_disk_again_and_again(disk: Path, scheme: str, value_bytes: int) -> None:
    """A fourth of it is what the objects take. Deletes of small ones touch as many pages of SQLite's as there are."""

    async def main() -> None:
        store = await opened(scheme, disk)
        stored: dict[bytes, int] = {}
        for _ in range(3):
            stored |= await overwrite_until_full(store, SMALL_DISK_MB * 250_000 // (value_bytes + 60), value_bytes)
            stored[b"0"] = await compact_and_commit(store, Txn((Op(b"0", os.urandom(value_bytes)),)))
        assert await revisions(store) == stored
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_disk_that_another_program_filled_refuses_whole_writes_until_there_is_room(disk: Path, scheme: str) -> None:
    async def main() -> None:
        store = await opened(scheme, disk)
        stored = {key: await store.commit(Txn((Op(key, os.urandom(50_000)),))) for key in (b"a", b"b", b"c")}
        other = take_all(disk)
        for size in (200, 200, 20_000):  # a small write gets as far as the disk itself
            refused = 0
            for number in range(2_000):
                try:
                    key = b"small-%d" % number
                    stored[key] = await store.commit(Txn((Op(key, os.urandom(size)),)))
                except ResourceExhaustedError:
                    refused += 1
                    break
            assert refused
            assert await revisions(store) == stored, "reads go on, and nothing of what was refused is there"
        other.unlink()
        async with asyncio.timeout(20):
            stored[b"later"] = await store.commit(Txn((Op(b"later", os.urandom(50_000)),)))
        assert await revisions(store) == stored
        await store.close()
        store = await opened(scheme, disk)
        assert await revisions(store) == stored
        await store.close()

    asyncio.run(main())
