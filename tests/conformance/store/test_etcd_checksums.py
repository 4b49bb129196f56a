"""Values in etcd that no Rube has written: named, refused to their readers, and in no one's way else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.store import Change, Record, Store, StoreConfig, parse_store_url
from rube.store.backends import backend_of
from tests.conformance.store.all_sites import SITES
from tests.conformance.store.life_calls import backup_of, checks_of, damage_of, opened, records_of, restored
from tests.conformance.store.store_sites import Site, delete, open_store, put

EVERYTHING = (b"\0", b"\xff")
DAMAGED = r"in store etcd://.*/data of revision \d+ \(key b'b'\) does not match its checksum: restore a backup into"
CONFIGS = {"tail": StoreConfig(), "log": StoreConfig(tail_bytes_max=0)}
"""Watches are served from memory; watches read etcd's log."""


class EtcdSite(Site, Protocol):
    async def overwrite(self, key: str, value: str) -> None:
        """Writes below the store, past it."""
        ...


@pytest.fixture(params=["etcd", "simulated-etcd"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return SITES[request.param](tmp_path)


@pytest.fixture(params=sorted(CONFIGS))
def config(request: pytest.FixtureRequest) -> StoreConfig:
    return CONFIGS[request.param]


@asynccontextmanager
async def damaged(site: EtcdSite, config: StoreConfig | None = None) -> AsyncIterator[tuple[Store, int]]:
    """A store whose key b was overwritten, and its revision before that."""
    store = await open_store(site, config)
    try:
        await put(store, a=b"1", b=b"2", c=b"3")
        revision = await put(store, b=b"new")
        await site.overwrite("data/k/b", "new")
        yield store, revision
    finally:
        await store.close()


async def test_a_read_of_the_damaged_key_is_refused_and_others_are_served(site: EtcdSite) -> None:
    async with damaged(site) as (store, _):
        for read in (
            lambda: store.get([b"a", b"b"]),
            lambda: store.range(*EVERYTHING),
            lambda: store.range(b"b", None),
        ):
            with pytest.raises(DataLossError, match=DAMAGED):
                await read()
        assert [record and record.value for record in (await store.get([b"a", b"c"])).records] == [b"1", b"3"]
        assert len((await store.range(b"b\0", b"z")).records) == 1
        await put(store, c=b"4")


async def test_the_history_of_the_damaged_key_is_served(site: EtcdSite) -> None:
    async with damaged(site) as (store, revision):
        page = await store.range(*EVERYTHING, revision=revision)
        assert [record.value for record in page.records] == [b"1", b"new", b"3"]


async def test_verify_names_the_damaged_key_and_reads_all_others(site: EtcdSite) -> None:
    async with damaged(site):
        (damage,) = await damage_of(site)
        where, _, what = damage.partition(": the value of revision ")
        assert where.endswith("data/k/b")
        assert what.endswith(" does not match its checksum")
        assert (await checks_of(site))[-1].records == 3


async def test_a_backup_stops_at_the_damaged_key(site: EtcdSite) -> None:
    async with damaged(site):
        with pytest.raises(DataLossError, match=DAMAGED):
            await backup_of(site)


async def test_a_damaged_key_that_is_written_anew_or_deleted_is_sound(site: EtcdSite) -> None:
    async with damaged(site) as (store, _):
        await put(store, b=b"again")
        assert [record.value for record in await records_of(store)] == [b"1", b"again", b"3"]
        await site.overwrite("data/k/c", "")
        await delete(store, b"c")
        assert len(await records_of(store)) == 2
        assert await damage_of(site) == []


async def watch_until(store: Store, keys: tuple[bytes, bytes], after: int, newest: int, seen: list[Change]) -> None:
    """Notes all changes of those keys after one revision and up to the other."""
    async for batch in store.watch(*keys, after_revision=after):
        seen += batch.changes
        if batch.revision >= newest:
            return


async def test_a_watch_ends_before_the_damage_and_watches_of_other_keys_go_on(
    site: EtcdSite, config: StoreConfig
) -> None:
    async with damaged(site, config) as (store, revision):
        newest = await put(store, c=b"5")
        of_all: list[Change] = []
        with pytest.raises(DataLossError, match=DAMAGED):
            await watch_until(store, EVERYTHING, revision - 1, newest, of_all)
        of_c: list[Change] = []
        await watch_until(store, (b"c", b"d"), revision, newest, of_c)
    assert [(change.record.key, change.record.value) for change in of_all] == [(b"b", b"new")]
    assert [(change.record.key, change.record.value) for change in of_c] == [(b"c", b"5")]


async def test_a_watch_passes_on_no_damaged_value_as_what_was_before(site: EtcdSite, config: StoreConfig) -> None:
    async with damaged(site, config) as (store, _):
        await put(store, a=b"6")
        repaired = await put(store, b=b"again")
        newest = await put(store, b=b"sound")
        with pytest.raises(DataLossError, match=DAMAGED):
            await watch_until(store, EVERYTHING, repaired - 1, newest, [])
        seen: list[Change] = []
        await watch_until(store, EVERYTHING, repaired, newest, seen)
    assert [(change.previous and change.previous.value, change.record.value) for change in seen] == [
        (b"again", b"sound")
    ]


async def test_a_server_that_starts_later_reads_past_the_damage(site: EtcdSite, config: StoreConfig) -> None:
    async with damaged(site) as (store, _):
        newest = await put(store, c=b"5")
        other = await open_store(site, config)
        seen: list[Change] = []
        await watch_until(other, (b"c", b"d"), newest - 1, newest, seen)
        assert [change.record.value for change in seen] == [b"5"]
        await other.close()


async def test_an_interrupted_copy_with_damage_is_removed_by_the_next(site: EtcdSite) -> None:
    store = await open_store(site)
    await put(store, a=b"1")
    backup, _ = await backup_of(site)
    await store.close()
    url = parse_store_url(site.url("copy"))
    loader = await backend_of(url).open_loader(site.host, url)
    await loader.load([Record(b"b", b"2", 1, 1)])
    await site.overwrite("copy/k/b", "damaged")
    await loader.close()
    await restored(site, backup, "copy")
    store = await opened(site, "copy")
    assert [record.key for record in await records_of(store)] == [b"a"]
    await store.close()


OLDER = r"'rube etcd 1', without checksums, .*\(rube store backup\), and restore it into another prefix"
NEWER = r"'rube etcd 3' .* use the version of Rube that wrote it"


@pytest.mark.parametrize(
    ("format_", "remedy"), [("rube etcd 1", OLDER), ("rube etcd 3", NEWER)], ids=["older", "newer"]
)
async def test_a_store_of_another_format_is_refused_with_the_remedy(site: EtcdSite, format_: str, remedy: str) -> None:
    await (await open_store(site)).close()
    backup, _ = await backup_of(site)
    await site.overwrite("data/m/store", f"{format_}\n{'0' * 32}\nready\n")
    for call in (open_store, damage_of, backup_of, lambda site: restored(site, backup)):
        with pytest.raises(FailedPreconditionError, match=remedy):
            await call(site)
