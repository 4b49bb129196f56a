"""The promises of every store about watches: ordered, unique, reliable, atomic, resumable, bookmarked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rube.api.errors import CompactedError
from rube.store import Change, ChangeBatch, Op, Record, Store, StoreConfig, StoreLimits, Txn
from tests.conformance.store.store_sites import Site, delete, open_store, put

ALL = (b"\x00", b"\xff" * 16)
SMALL = StoreConfig(
    limits=StoreLimits(txn_ops_max=5, txn_bytes_max=10_000, value_bytes_max=1000),
    tail_bytes_max=1000,
    watch_changes_max=7,
    bookmark_interval_s=0.05,
)
"""A tail and a batch so small that a watch soon falls behind them and is served from the log."""


async def read_until(watch: AsyncIterator[ChangeBatch], revision: int) -> list[ChangeBatch]:
    batches = [await anext(watch)]
    while batches[-1].revision < revision:
        batches.append(await anext(watch))
    return batches


def changes_of(batches: list[ChangeBatch]) -> list[Change]:
    return [change for batch in batches for change in batch.changes]


async def write_history(store: Store, rounds: int) -> list[tuple[int, bytes, bytes | None]]:
    """Puts, overwrites and deletes in transactions of several keys; what a watch of everything must show."""
    history: list[tuple[int, bytes, bytes | None]] = []
    for number in range(rounds):
        ops = [Op(b"k%02d" % ((number + step) % 10), b"%d" % number) for step in range(3)]
        if number % 4 == 3:
            ops[0] = Op(ops[0].key, None)
            present = (await store.range(ops[0].key, None)).records
            ops = ops if present else ops[1:]
        revision = await store.commit(Txn(tuple(ops)))
        history += [(revision, op.key, op.value) for op in ops]
    return history


def as_history(changes: list[Change]) -> list[tuple[int, bytes, bytes | None]]:
    return [(c.record.mod_revision, c.record.key, None if c.deleted else c.record.value) for c in changes]


async def test_a_watch_of_an_unchanging_store_begins_with_one_bookmark(site: Site) -> None:
    store = await open_store(site)
    revision = await put(store, a=b"1")
    watch = aiter(store.watch(*ALL, after_revision=revision))
    assert await anext(watch) == ChangeBatch([], revision)
    more = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.01)
    assert not more.done()
    await put(store, a=b"2")
    assert len((await more).changes) == 1
    await store.close()


async def test_changes_carry_the_record_and_what_was_before(site: Site) -> None:
    store = await open_store(site)
    base = store.revision
    first = await put(store, a=b"1")
    second = await put(store, a=b"2")
    third = await delete(store, b"a")
    fourth = await put(store, a=b"4")
    changes = changes_of(await read_until(aiter(store.watch(*ALL, after_revision=base)), fourth))
    one, two = Record(b"a", b"1", first, first), Record(b"a", b"2", first, second)
    assert changes == [
        Change(one, False, None),
        Change(two, False, one),
        Change(Record(b"a", b"", 0, third), True, two),
        Change(Record(b"a", b"4", fourth, fourth), False, None),
    ]
    await store.close()


@pytest.mark.parametrize("config", [StoreConfig(), SMALL], ids=["tail", "log"])
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_a_watch_resumes_after_any_revision(site: Site, config: StoreConfig, restart: bool) -> None:
    store = await open_store(site, config)
    base = store.revision
    history = await write_history(store, 30)
    if restart:
        await store.close()
        store = await open_store(site, config)
    for after in range(base, store.revision):
        batches = await read_until(aiter(store.watch(*ALL, after_revision=after)), store.revision)
        assert as_history(changes_of(batches)) == [entry for entry in history if entry[0] > after]
    await store.close()


@pytest.mark.parametrize("config", [StoreConfig(watch_changes_max=7), SMALL], ids=["tail", "log"])
async def test_no_revision_is_split_between_batches(site: Site, config: StoreConfig) -> None:
    store = await open_store(site, config)
    base = store.revision
    for number in range(20):
        await store.commit(Txn(tuple(Op(b"%d" % key, b"%d" % number) for key in range(5))))
    batches = await read_until(aiter(store.watch(*ALL, after_revision=base)), store.revision)
    seen: set[int] = set()
    for batch in batches:
        revisions = {change.record.mod_revision for change in batch.changes}
        assert not revisions & seen
        assert all(revision <= batch.revision for revision in revisions)
        seen |= revisions
    assert len(changes_of(batches)) == 100
    assert len(batches) > 5
    await store.close()


async def test_a_watch_sees_only_its_range(site: Site) -> None:
    store = await open_store(site)
    base = store.revision
    await put(store, a=b"", b=b"", b1=b"", c=b"")
    revision = await put(store, bb=b"")
    batches = await read_until(aiter(store.watch(b"b", b"c", after_revision=base)), revision)
    assert [change.record.key for change in changes_of(batches)] == [b"b", b"b1", b"bb"]
    await store.close()


async def test_a_bookmark_tells_that_the_revision_grew_without_a_match(site: Site) -> None:
    store = await open_store(site, SMALL)
    base = store.revision
    watch = aiter(store.watch(b"b", b"c", after_revision=base))
    assert await anext(watch) == ChangeBatch([], base)
    for number in range(10):
        newest = await put(store, a=b"%d" % number)
    batch = await anext(watch)
    while batch.revision < newest:  # bounded by the revision: each bookmark is past the one before
        following = await anext(watch)
        assert following.revision > batch.revision
        assert following.changes == []
        batch = following
    assert batch == ChangeBatch([], newest)
    await store.close()


async def test_bookmarks_keep_their_interval(site: Site) -> None:
    store = await open_store(site, StoreConfig(bookmark_interval_s=0.2))
    watch = aiter(store.watch(b"b", b"c", after_revision=store.revision))
    await anext(watch)
    began_ns = site.clock.monotonic_ns()
    revision = await put(store, a=b"")
    assert (await anext(watch)).revision == revision
    assert site.clock.monotonic_ns() - began_ns >= 150_000_000
    await store.close()


async def test_a_compacted_start_names_the_oldest_revision_that_resumes(site: Site) -> None:
    store = await open_store(site)
    history = await write_history(store, 20)
    middle = history[len(history) // 2][0]
    await store.compact(middle)
    with pytest.raises(CompactedError) as caught:
        await anext(aiter(store.watch(*ALL, after_revision=middle - 1)))
    oldest = int(caught.value.metadata["oldest_revision"])
    batches = await read_until(aiter(store.watch(*ALL, after_revision=oldest)), store.revision)
    assert as_history(changes_of(batches)) == [entry for entry in history if entry[0] > oldest]
    await store.close()


async def test_previous_values_are_there_right_after_the_compacted_revision(site: Site) -> None:
    store = await open_store(site, SMALL)
    await put(store, a=b"0", b=b"0")
    base = await put(store, a=b"1")
    await put(store, a=b"2")
    await delete(store, b"b")
    await store.compact(base)
    for _ in range(2):
        batches = await read_until(aiter(store.watch(*ALL, after_revision=base)), store.revision)
        assert [change.previous and change.previous.value for change in changes_of(batches)] == [b"1", b"0"]
        await store.close()
        store = await open_store(site, SMALL)
    await store.close()


async def test_a_slow_watch_is_served_from_the_log_and_past_compaction_told_where_to_resume(site: Site) -> None:
    store = await open_store(site, SMALL)
    slow = aiter(store.watch(*ALL, after_revision=store.revision))
    await anext(slow)
    history = await write_history(store, 40)
    seen = changes_of([await anext(slow)])  # far behind the tail
    assert as_history(seen) == history[: len(seen)]
    await store.compact(store.revision)
    with pytest.raises(CompactedError) as caught:
        await anext(slow)
    assert caught.value.metadata["oldest_revision"] == str(store.revision)
    await store.close()


@pytest.mark.parametrize("config", [StoreConfig(), SMALL], ids=["tail", "log"])
async def test_many_watches_all_see_everything_once_while_writers_write(site: Site, config: StoreConfig) -> None:
    store = await open_store(site, config)
    total = 8 * 10
    base = store.revision

    async def follow() -> list[tuple[int, bytes]]:
        seen: list[tuple[int, bytes]] = []
        async for batch in store.watch(b"w", b"x", after_revision=base):
            seen += [(change.record.mod_revision, change.record.key) for change in batch.changes]
            if len(seen) >= total:
                break
        return seen

    async def write(number: int) -> None:
        for step in range(10):
            await store.commit(Txn((Op(b"w%d/%d" % (number, step), b"x" * 100),)))

    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(follow()) for _ in range(30)]
        for number in range(8):
            group.create_task(write(number))
    first = watches[0].result()
    assert len(first) == len(set(first)) == total
    assert first == sorted(first)
    assert all(watch.result() == first for watch in watches)
    await store.close()


async def test_a_batch_from_the_log_is_bounded_in_bytes_but_holds_whole_revisions(site: Site) -> None:
    config = StoreConfig(tail_bytes_max=0, watch_bytes_max=250)
    store = await open_store(site, config)
    base = store.revision
    await store.commit(Txn(tuple(Op(b"%d" % number, b"x" * 100) for number in range(10))))
    for number in range(6):
        await put(store, a=b"%d" % number * 100)
    batches = await read_until(aiter(store.watch(*ALL, after_revision=base)), store.revision)
    assert [len(batch.changes) for batch in batches] == [10, 3, 3]
    await store.close()
