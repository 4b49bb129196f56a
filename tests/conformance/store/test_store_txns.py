"""The promises of every store about transactions."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError
from rube.store import Compare, Op, StoreConfig, StoreLimits, Txn
from tests.conformance.store.store_sites import Site, delete, open_store, put

ALL = (b"\x00", b"\xff" * 16)


async def test_all_ops_of_a_transaction_share_one_revision(site: Site) -> None:
    store = await open_store(site)
    await put(store, c=b"old")
    revision = await store.commit(Txn((Op(b"a", b"1"), Op(b"b", b"2"), Op(b"c", None))))
    assert [(r.key, r.mod_revision) for r in (await store.range(*ALL)).records] == [(b"a", revision), (b"b", revision)]
    await store.close()


async def test_a_failed_compare_writes_nothing_and_tells_the_current_revision(site: Site) -> None:
    store = await open_store(site)
    first = await put(store, a=b"1")
    await put(store, b=b"1")
    for key, expected, actual in ((b"a", first + 1, first), (b"a", 0, first), (b"absent", first, 0)):
        with pytest.raises(AbortedError) as caught:
            await store.commit(Txn((Op(b"c", b""), Op(b"a", b"2")), (Compare(key, expected),)))
        assert caught.value.metadata == {"key": key.decode(), "revision": str(actual)}
    assert [r.value for r in (await store.range(*ALL)).records] == [b"1", b"1"]
    await store.close()


async def test_compares_that_hold_let_the_write_through(site: Site) -> None:
    store = await open_store(site)
    first = await put(store, a=b"1")
    second = await store.commit(Txn((Op(b"b", b"2"),), (Compare(b"a", first), Compare(b"b", 0))))
    gone = await store.commit(Txn((Op(b"a", None),), (Compare(b"a", first), Compare(b"b", second))))
    # A deleted key does not exist.
    assert await store.commit(Txn((Op(b"a", b"3"),), (Compare(b"a", 0),))) > gone
    await store.close()


@pytest.mark.parametrize("ops", [(), (Op(b"absent", None),)], ids=["none", "delete of an absent key"])
async def test_a_transaction_without_effect_makes_no_revision(site: Site, ops: tuple[Op, ...]) -> None:
    store = await open_store(site)
    revision = await put(store, a=b"1")
    assert await store.commit(Txn(ops)) == revision == store.revision
    await store.close()


async def test_a_key_twice_or_an_empty_key_is_the_callers_mistake(site: Site) -> None:
    store = await open_store(site)
    before = store.revision
    with pytest.raises(InvalidArgumentError, match="key a is written twice"):
        await store.commit(Txn((Op(b"a", b"1"), Op(b"b", b""), Op(b"a", None))))
    with pytest.raises(InvalidArgumentError, match="empty"):
        await store.commit(Txn((Op(b"", b"1"),)))
    assert (await store.range(*ALL)) == ([], before, False)
    await store.close()


async def test_past_a_limit_the_error_names_it_and_the_store_goes_on(site: Site) -> None:
    limits = StoreLimits(txn_ops_max=2, txn_bytes_max=100, value_bytes_max=60)
    store = await open_store(site, StoreConfig(limits=limits))
    assert store.limits == limits
    for ops, limit, maximum in (
        ([Op(b"a", b""), Op(b"b", b""), Op(b"c", b"")], "txn_ops_max", 2),
        ([Op(b"a", b"x" * 61)], "value_bytes_max", 60),
        ([Op(b"a", b"x" * 50), Op(b"b", b"x" * 50)], "txn_bytes_max", 100),
        ([Op(b"k" * 5000, b"")], "key_bytes_max", 4096),
    ):
        with pytest.raises(ResourceExhaustedError, match=limit) as caught:
            await store.commit(Txn(tuple(ops)))
        assert caught.value.metadata == {"limit": limit, "value": str(maximum)}
    assert await put(store, a=b"x" * 60) == store.revision
    await store.close()


async def test_of_64_writers_with_one_expectation_one_wins(site: Site) -> None:
    store = await open_store(site)
    base = await put(store, a=b"")

    async def write(number: int) -> int:
        try:
            return await store.commit(Txn((Op(b"a", b"%d" % number),), (Compare(b"a", base),)))
        except AbortedError:
            return 0

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(number)) for number in range(64)]
    assert len([task for task in tasks if task.result()]) == 1
    await store.close()


async def test_64_writers_get_revisions_of_their_own_and_lose_no_increment(site: Site) -> None:
    store = await open_store(site)
    await put(store, counter=b"0")

    async def increment() -> list[int]:
        revisions: list[int] = []
        while not revisions:
            record = (await store.range(b"counter", None)).records[0]
            txn = Txn((Op(b"counter", b"%d" % (int(record.value) + 1)),), (Compare(b"counter", record.mod_revision),))
            try:
                revisions.append(await store.commit(txn))
            except AbortedError:
                pass
        return revisions

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(increment()) for _ in range(64)]
    revisions = [revision for task in tasks for revision in task.result()]
    assert len(set(revisions)) == len(revisions) == 64
    assert (await store.range(b"counter", None)).records[0].value == b"64"
    await store.close()


async def test_an_acknowledged_write_is_seen_by_the_next_read(site: Site) -> None:
    store = await open_store(site)

    async def write_and_read(number: int) -> None:
        key = b"k%d" % number
        for value in (b"1", b"2", b"3"):
            revision = await store.commit(Txn((Op(key, value),)))
            page = await store.range(key, None, min_revision=revision)
            assert page.records[0].value == value
        await delete(store, key)
        assert (await store.range(key, None)).records == []

    async with asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(write_and_read(number))
    await store.close()


async def test_a_cancelled_caller_leaves_the_store_in_order(site: Site) -> None:
    store = await open_store(site)
    tasks = [asyncio.create_task(put(store, **{f"k{number}": b""})) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, int) for result in results[1::2])
    last = await put(store, z=b"")
    keys = [record.key for record in (await store.range(b"z", None, revision=last)).records]
    assert keys == [b"z"]
    await store.close()
    store = await open_store(site)
    assert store.revision == last
    await store.close()
