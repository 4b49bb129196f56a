"""A replica: reads and watches of another store's revisions, as they were there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rube.api.errors import CompactedError, RevisionAheadError, UnavailableError
from rube.host import RealClock
from rube.store import Record, StoreConfig
from rube.store.embedded.replica import ReplicaStore, Written

RECORDS = [Record(b"b", b"old", 3, 7), Record(b"a", b"old", 7, 7), Record(b"c", b"old", 2, 2)]
"""In the order of no revision; two of one revision."""


def on_a_replica(body: Callable[[ReplicaStore], Awaitable[None]], *, tail_bytes_max: int = 1 << 20) -> None:
    async def main() -> None:
        config = StoreConfig(tail_bytes_max=tail_bytes_max, bookmark_interval_s=0)
        store = await ReplicaStore.open(RealClock(), store_id="theirs", revision=9, records=RECORDS, config=config)
        await body(store)
        await store.close()

    asyncio.run(main())


async def _changed(store: ReplicaStore) -> None:
    """Changes with gaps between their revisions, and revisions without changes."""
    await store.apply([Written(b"a", b"new", 7, 12), Written(b"c", None, 0, 12), Written(b"b", b"new", 3, 15)], 20)
    await store.apply([], 30)


def test_it_reads_each_revision_from_its_first_on() -> None:
    async def body(store: ReplicaStore) -> None:
        await _changed(store)
        assert (await store.range(b"a", b"z", revision=9)).records == sorted(RECORDS)
        assert (await store.range(b"a", b"z", revision=14)).records == [Record(b"a", b"new", 7, 12), RECORDS[0]]
        page = await store.range(b"a", b"z")
        assert page.revision == store.revision == 30
        assert page.records == [Record(b"a", b"new", 7, 12), Record(b"b", b"new", 3, 15)]
        with pytest.raises(CompactedError):
            await store.range(b"a", b"z", revision=8)
        with pytest.raises(RevisionAheadError):
            await store.range(b"a", b"z", revision=31)

    on_a_replica(body)


@pytest.mark.parametrize("tail_bytes_max", [0, 1 << 20], ids=["from the log", "from the tail"])
def test_a_watch_goes_over_revisions_without_changes(tail_bytes_max: int) -> None:
    async def body(store: ReplicaStore) -> None:
        changes = store.watch(b"a", b"z", after_revision=9)
        assert (await anext(changes)).revision == 9
        await _changed(store)
        seen = [(change.record.key, change.previous) for change in (await anext(changes)).changes]
        assert seen == [(b"a", RECORDS[1]), (b"c", RECORDS[2]), (b"b", RECORDS[0])]
        await store.apply([], 40)
        assert await anext(changes) == ([], 40), "a bookmark"
        await store.apply([Written(b"d", b"", 45, 45)], 45)
        assert [change.record.mod_revision for change in (await anext(changes)).changes] == [45]
        await store.close()  # which ends the watch
        with pytest.raises(UnavailableError):
            await anext(changes)

    on_a_replica(body, tail_bytes_max=tail_bytes_max)


def test_what_it_has_is_not_applied_again() -> None:
    async def body(store: ReplicaStore) -> None:
        await _changed(store)
        await store.apply([Written(b"a", b"again", 7, 12)], 20)
        assert store.revision == 30
        assert (await store.get([b"a"])).records == [Record(b"a", b"new", 7, 12)]

    on_a_replica(body)


def test_compaction_forgets_what_no_read_can_see() -> None:
    async def body(store: ReplicaStore) -> None:
        await _changed(store)
        await store.compact(15)
        assert store.compact_revision == 15
        assert [key for key, _ in store._engine.scan(b"\0", b"\x80")] == [  # nothing shows it from outside but memory
            (12 << 16).to_bytes(8, "big"),
            (15 << 16).to_bytes(8, "big"),
        ]
        with pytest.raises(CompactedError):
            await anext(store.watch(b"a", b"z", after_revision=14))

    on_a_replica(body)
