"""The promises of every store about reads and about the life of a store."""

from __future__ import annotations

import pytest

from rube.api.errors import CompactedError, InvalidArgumentError, RevisionAheadError, UnavailableError
from rube.store import Compare, Lookup, Op, Record, Txn
from tests.conformance.store.store_sites import EngineSite, Site, delete, open_store, put

ALL = (b"\x00", b"\xff" * 16)
UNUSUAL_KEYS = [
    b"\x00",
    b"\x00\x00",
    b"\x00\xff",
    b"a",
    b"a\x00",
    b"a\x00b",
    b"aa",
    b"ab",
    b"b" * 8,
    b"\xff",
    b"\xff\xff",
]


async def test_a_new_store_is_empty(site: Site) -> None:
    store = await open_store(site)
    page = await store.range(*ALL)
    assert page == ([], store.revision, False)
    assert len(store.store_id) == 32
    await store.close()


async def test_a_record_says_when_it_was_created_and_last_written(site: Site) -> None:
    store = await open_store(site)
    first = await put(store, a=b"1")
    second = await put(store, a=b"2")
    assert second > first > 0
    page = await store.range(b"a", None)
    assert page.records == [Record(b"a", b"2", first, second)]
    assert page.revision == second
    await store.close()


async def test_a_lookup_answers_for_each_key_in_the_order_asked(site: Site) -> None:
    store = await open_store(site)
    first = await put(store, a=b"1", b=b"1")
    second = await put(store, b=b"2")
    third = await delete(store, b"a")
    assert await store.get([]) == Lookup([], third)
    found = await store.get([b"c", b"b", b"a"])
    assert found == Lookup([None, Record(b"b", b"2", first, second), None], third)
    assert (await store.get([b"b"], serializable=True)).records in (
        [found.records[1]],
        [Record(b"b", b"1", first, first)],
    )
    with pytest.raises(RevisionAheadError):
        await store.get([b"a"], min_revision=third + 1)
    await store.close()


async def test_a_key_put_after_its_delete_is_created_anew(site: Site) -> None:
    store = await open_store(site)
    await put(store, a=b"1")
    await delete(store, b"a")
    third = await put(store, a=b"3")
    assert (await store.range(b"a", None)).records == [Record(b"a", b"3", third, third)]
    await store.close()


async def test_a_range_ends_before_its_end_and_is_in_byte_order(site: Site) -> None:
    store = await open_store(site)
    await put(store, d=b"", a=b"", c=b"", b=b"")
    page = await store.range(b"a", b"d")
    assert [record.key for record in page.records] == [b"a", b"b", b"c"]
    assert (await store.range(b"d", b"a")).records == []
    await store.close()


async def test_unusual_keys_keep_apart_and_in_order_also_after_a_restart(site: Site) -> None:
    store = await open_store(site)
    for key in reversed(UNUSUAL_KEYS):
        await store.commit(Txn((Op(key, b"value of " + key),)))
    for _ in range(2):
        page = await store.range(b"", b"\xff" * 3)
        assert [(record.key, record.value) for record in page.records] == [
            (key, b"value of " + key) for key in UNUSUAL_KEYS
        ]
        for key in UNUSUAL_KEYS:
            assert (await store.range(key, None)).records[0].key == key
        await store.close()
        store = await open_store(site)
    await store.close()


async def test_history_can_be_read_at_every_uncompacted_revision(site: Site) -> None:
    store = await open_store(site)
    revisions = [await put(store, a=str(number).encode(), b=b"x") for number in range(5)]
    gone = await delete(store, b"a")
    for number, revision in enumerate(revisions):
        page = await store.range(b"a", None, revision=revision)
        assert page.revision == revision
        assert [record.value for record in page.records] == [str(number).encode()]
    assert (await store.range(b"a", None, revision=gone)).records == []
    await store.close()


async def test_pages_at_one_revision_are_whole_while_writes_go_on(site: Site) -> None:
    store = await open_store(site)
    for number in range(20):
        await put(store, **{f"k{number:02}": b"old"})
    start, seen, at = b"k", [], 0
    while True:
        page = await store.range(start, b"l", revision=at, limit=3)
        at = page.revision
        seen += page.records
        assert len(page.records) <= 3
        if not page.more:
            break
        start = page.records[-1].key + b"\0"
        await put(store, **{f"k{len(seen):02}": b"new", f"k{len(seen):02}x": b"new"})
        await delete(store, b"k19")
    assert [record.key for record in seen] == [f"k{number:02}".encode() for number in range(20)]
    assert {record.value for record in seen} == {b"old"}
    await store.close()


async def test_a_limit_that_fits_exactly_leaves_no_more(site: Site) -> None:
    store = await open_store(site)
    await put(store, a=b"", b=b"")
    assert not (await store.range(*ALL, limit=2)).more
    assert (await store.range(*ALL, limit=1)).more
    await store.close()


async def test_large_ranges_read_everything(site: Site) -> None:
    store = await open_store(site)
    for part in range(10):
        await store.commit(Txn(tuple(Op(b"%04d" % (part * 100 + n), b"v") for n in range(100))))
    assert len((await store.range(*ALL)).records) == 1000
    await store.close()


async def test_reads_and_watches_ahead_of_the_store_are_refused_with_its_revision(site: Site) -> None:
    store = await open_store(site)
    revision = await put(store, a=b"")
    for attempt in (
        store.range(b"a", None, revision=revision + 1),
        store.range(b"a", None, min_revision=revision + 1),
        anext(aiter(store.watch(*ALL, after_revision=revision + 1))),
        store.compact(revision + 1),
    ):
        with pytest.raises(RevisionAheadError) as caught:
            await attempt
        assert caught.value.metadata["revision"] == str(revision)
    with pytest.raises(InvalidArgumentError, match="negative"):
        await store.range(b"a", None, revision=-1)
    await store.close()


async def test_compaction_forgets_what_only_older_reads_see(site: Site) -> None:
    store = await open_store(site)
    for number in range(5):
        await put(store, a=str(number).encode())
    await put(store, gone=b"")
    await delete(store, b"gone")
    kept = await put(store, b=b"kept")
    newest = await put(store, a=b"new")
    await store.compact(kept)
    with pytest.raises(CompactedError) as caught:
        await store.range(b"a", None, revision=kept - 1)
    assert caught.value.metadata["oldest_revision"] == str(kept)
    for _ in range(2):
        assert [r.value for r in (await store.range(*ALL, revision=kept)).records] == [b"4", b"kept"]
        assert [r.value for r in (await store.range(*ALL)).records] == [b"new", b"kept"]
        assert store.revision == newest
        await store.close()
        store = await open_store(site)
    await store.compact(kept - 1)  # older than before: nothing changes
    with pytest.raises(CompactedError):
        await store.range(b"a", None, revision=kept - 1)
    await store.close()


async def test_compaction_deletes_the_superseded_rows(engine_site: EngineSite) -> None:
    store = await open_store(engine_site)
    for number in range(50):
        await store.commit(Txn(tuple(Op(b"%d" % key, b"%d" % number) for key in range(50))))
    await delete(store, *(b"%d" % key for key in range(40)))
    await store.compact(store.revision)
    await store.close()
    engine = await engine_site.open_engine()
    assert sum(1 for _ in engine.scan(b"", b"\x80")) == 10
    await engine.close()


async def test_the_revision_survives_a_compaction_that_leaves_no_row(site: Site) -> None:
    store = await open_store(site)
    await put(store, a=b"")
    revision = await delete(store, b"a")
    await store.compact(revision)
    await store.close()
    store = await open_store(site)
    assert store.revision == revision
    assert await put(store, a=b"") > revision
    await store.close()


async def test_a_restart_keeps_everything_and_a_wipe_makes_another_store(site: Site) -> None:
    store = await open_store(site)
    store_id = store.store_id
    await put(store, a=b"1", b=b"2")
    await put(store, a=b"3")
    before = await store.range(*ALL)
    await store.close()
    store = await open_store(site)
    assert await store.range(*ALL) == before
    assert store.store_id == store_id
    await store.close()
    await site.wipe()
    store = await open_store(site)
    assert (await store.range(*ALL)).records == []
    assert store.store_id != store_id
    await store.close()


async def test_a_closed_store_says_so(site: Site) -> None:
    store = await open_store(site)
    watch = aiter(store.watch(*ALL, after_revision=store.revision))
    await anext(watch)
    await store.close()
    await store.close()
    with pytest.raises(UnavailableError):
        await put(store, a=b"")
    with pytest.raises(UnavailableError):
        await store.range(*ALL)
    with pytest.raises(UnavailableError):
        await anext(watch)


async def test_big_values_come_back(site: Site) -> None:
    store = await open_store(site)
    value = bytes(range(256)) * (store.limits.value_bytes_max // 256)
    await put(store, big=value, empty=b"")
    await store.close()
    store = await open_store(site)
    assert [r.value for r in (await store.range(*ALL)).records] == [value, b""]
    assert await store.commit(Txn((Op(b"empty", None),), (Compare(b"empty", store.revision),))) == store.revision
    await store.close()
