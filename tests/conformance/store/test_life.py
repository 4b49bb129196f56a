"""Backup, restore, migrate, verify and stat, on every store and between every two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from rube.api.errors import CompactedError, DataLossError, FailedPreconditionError
from rube.store import Compare, Op, Record, Store, Txn, parse_store_url
from rube.store.backends import backend_of
from rube.store.maintenance import migrate
from tests.conformance.store.all_sites import SITES
from tests.conformance.store.life_calls import (
    backup_of,
    checks_of,
    damage_of,
    fill,
    opened,
    records_of,
    restored,
    stat_of,
    unseen,
)
from tests.conformance.store.store_sites import Site

KINDS = sorted(kind for kind in SITES if "replicated" not in kind)
"""A member of a replicated store is, to all these, the store on its own disk."""
RESTORES = {(kind, "memory") for kind in KINDS} | {("memory", kind) for kind in KINDS} | {*pairwise([*KINDS, KINDS[0]])}
"""A backup is the same file whatever it is of: so each kind's is restored into one kind, and that one's into each kind;
and each kind's into the next."""
REAL = [kind for kind in KINDS if not kind.startswith("simulated")]
"""One loop cannot run both a world and what is real."""
MIGRATIONS = [*pairwise([*REAL, REAL[0]]), ("simulated", "simulated")]


def keeps_revisions(site: Site) -> bool:
    """etcd gives what it takes revisions of its own."""
    return not site.url().startswith("etcd:")


def assert_same(found: list[Record], expected: list[Record], *, revisions: bool) -> None:
    if revisions:
        assert found == expected
    assert [record[:2] for record in found] == [record[:2] for record in expected]


@asynccontextmanager
async def written(site: Site) -> AsyncIterator[Store]:
    """The site's store with something in it, open."""
    store = await site.open_store()
    try:
        await fill(store)
        yield store
    finally:
        await store.close()


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return SITES[request.param](tmp_path)


# Between every two


@pytest.mark.parametrize(("source", "target"), sorted(RESTORES))
def test_a_backup_restores_into_any_store(source: str, target: str, tmp_path: Path) -> None:
    kept: list[Record] = []
    backups: list[bytes] = []
    revisions: list[int] = []
    ids: list[str] = []
    site, other = (SITES[kind](make(tmp_path / name)) for kind, name in ((source, "a"), (target, "b")))

    async def back_up_source() -> None:
        async with written(site) as store:
            kept.extend(await records_of(store))
            data, copied = await backup_of(site)
            assert copied == (len(kept), store.store_id, store.revision)
            backups.append(data)
            ids.append(store.store_id)
            revisions.append(store.revision)

    async def restore_into_target() -> None:
        store_id = await restored(other, backups[0], "copy")
        store = await opened(other, "copy")
        assert store.store_id == store_id
        if not source == target == "simulated":  # two worlds of one seed draw the same
            assert store_id != ids[0]
        found = await records_of(store)
        assert_same(found, kept, revisions=keeps_revisions(other))
        newest = store.revision
        if keeps_revisions(other):
            assert newest >= revisions[0]
        changed = next(record for record in found if record.key == b"changed")
        assert await store.commit(Txn((Op(b"changed", b"2"),), (Compare(b"changed", changed.mod_revision),))) > newest
        await store.close()
        assert await damage_of(other, "copy") == []

    site.run(back_up_source)
    other.run(restore_into_target)


@pytest.mark.parametrize(("source", "target"), MIGRATIONS)
def test_a_store_migrates_into_any_other(source: str, target: str, tmp_path: Path) -> None:
    site = SITES[source](make(tmp_path / "a"))
    other = site if source == target else SITES[target](make(tmp_path / "b"))
    # The host that has the test's memory, if either does.
    host = other.host if target == "memory" else site.host

    async def main() -> None:
        async with written(site) as store:
            kept, source_id = await records_of(store), store.store_id
        copied, store_id = await migrate(host, site.url(), other.url("copy"), unseen)
        assert copied.records == len(kept)
        store = await opened(other, "copy")
        assert store.store_id == store_id != source_id
        assert_same(await records_of(store), kept, revisions=keeps_revisions(other))
        await store.close()
        store = await site.open_store()
        assert await records_of(store) == kept, "the source stays as it is"
        await store.close()

    site.run(main)


def make(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


# On every one


async def test_a_backup_beside_a_server_is_of_one_revision(site: Site) -> None:
    store = await site.open_store()

    async def write() -> None:
        for number in range(1_000_000):
            value = b"%d" % number
            await store.commit(Txn((Op(b"a", value), *(Op(b"m/%d" % n, value) for n in range(50)), Op(b"z", value))))

    writing = asyncio.ensure_future(write())
    while not (await store.get([b"a"])).records[0]:
        await site.clock.sleep(0.001)
    data, copied = await backup_of(site)
    assert copied.records == 52
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await store.close()
    await restored(site, data, "copy")
    store = await opened(site, "copy")
    assert len({record.value for record in await records_of(store)}) == 1
    await store.close()


async def test_clients_of_a_restored_store_list_again(site: Site) -> None:
    async with written(site) as store:
        revision = store.revision
        data, _ = await backup_of(site)
    await restored(site, data, "copy")
    store = await opened(site, "copy")
    if keeps_revisions(site):
        with pytest.raises(CompactedError):
            await store.range(*(b"a", b"b"), revision=revision - 1)
        assert (await store.range(*(b"a", b"b"), revision=revision)).revision == revision
    await store.close()
    assert (await stat_of(site, "copy")).store_id != (await stat_of(site)).store_id


async def test_nothing_is_put_into_a_store_that_is_there(site: Site) -> None:
    async with written(site) as store:
        data, _ = await backup_of(site)
        kept = await records_of(store)
    with pytest.raises(FailedPreconditionError, match="holds a store already: "):
        await restored(site, data)
    store = await site.open_store()
    assert await records_of(store) == kept
    await store.close()


async def test_where_there_is_no_store_nothing_is_copied_or_counted_and_none_is_made(site: Site) -> None:
    for call in (backup_of, stat_of, backup_of):
        with pytest.raises(FailedPreconditionError, match="there is no store"):
            await call(site, "nothing")
    with suppress(FailedPreconditionError):
        assert await damage_of(site, "nothing") != []


async def test_an_interrupted_copy_refuses_to_open_until_a_restore_has_succeeded(site: Site) -> None:
    async with written(site) as store:
        data, _ = await backup_of(site)
        kept = await records_of(store)
    url = parse_store_url(site.url("copy"))
    for _ in range(2):
        loader = await backend_of(url).open_loader(site.host, url)
        await loader.load([*kept[:5], Record(b"zz/not in the backup", b"", 1, 1)])
        await loader.close()
        for call in (opened, stat_of, backup_of):
            with pytest.raises(FailedPreconditionError, match="restore"):
                await call(site, "copy")
    await restored(site, data, "copy")
    store = await opened(site, "copy")
    assert_same(await records_of(store), kept, revisions=keeps_revisions(site))
    await store.close()


async def test_a_damaged_backup_makes_no_store(site: Site) -> None:
    async with written(site):
        data, _ = await backup_of(site)
    flipped = bytearray(data)
    flipped[data.index(b"many/077") + 20] ^= 1
    with pytest.raises(
        DataLossError, match=r"FILE is damaged: record \d+ at byte \d+, key b'many/077': does not match"
    ):
        await restored(site, bytes(flipped), "copy")
    with pytest.raises(DataLossError, match=r"FILE is damaged: byte .* cut short"):
        await restored(site, data[: len(data) // 2], "copy")
    with pytest.raises(FailedPreconditionError, match="restore"):
        await opened(site, "copy")
    with pytest.raises(FailedPreconditionError, match="FILE is no backup"):
        await restored(site, b"something else", "copy")
    await restored(site, data, "copy")
    await (await opened(site, "copy")).close()


async def test_an_empty_store_has_a_backup_too(site: Site) -> None:
    await (await site.open_store()).close()
    data, copied = await backup_of(site)
    assert copied.records == 0
    await restored(site, data, "copy")
    store = await opened(site, "copy")
    assert await records_of(store) == []
    await store.commit(Txn((Op(b"a", b""),)))
    await store.close()


async def test_a_migration_that_misses_a_write_is_refused_unless_it_may(site: Site) -> None:
    store = await site.open_store()
    await fill(store)

    async def write() -> None:
        while True:
            await store.commit(Txn((Op(b"counter", None),)))
            await store.commit(Txn((Op(b"counter", b""),)))

    writing = asyncio.ensure_future(write())
    with pytest.raises(FailedPreconditionError, match=r"went from revision \d+ to \d+ while it was copied.*--online"):
        await migrate(site.host, site.url(), site.url("copy"), unseen)
    with pytest.raises(FailedPreconditionError, match="restore"):
        await opened(site, "copy")
    await migrate(site.host, site.url(), site.url("copy"), unseen, online=True)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await store.close()
    await (await opened(site, "copy")).close()


async def test_stat_tells_what_is_there_beside_a_server_too(site: Site) -> None:
    async with written(site) as store:
        found = await stat_of(site)
        assert (found.store_id, found.revision) == (store.store_id, store.revision)
        assert found.keys == len(await records_of(store))
        assert found.oldest_revision <= found.revision
        assert found.format
        assert found.size_bytes > 0
        await store.compact(store.revision)
        assert (await stat_of(site)).oldest_revision == store.revision


async def test_verify_reads_all_of_a_sound_store_beside_a_server_too(site: Site) -> None:
    async with written(site) as store:
        assert await damage_of(site) == []
        last = (await checks_of(site))[-1]
        assert last.records >= len(await records_of(store))
        assert last.records_total in (0, last.records)
        await store.compact(store.revision - 2)
        assert await damage_of(site) == []
    assert await damage_of(site) == []
