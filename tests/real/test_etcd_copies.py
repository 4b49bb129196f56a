"""Copies into and out of a real etcd, figures of a store there, and what a check finds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError
from rube.cli.local import run
from rube.cli.real_host import real_host
from rube.store import Op, Record, StoreUrl, Txn, parse_store_url
from rube.store.backends import Backend, Checked, backend_of
from tests.real.cluster_calls import client_of, put, sleeper, status_of
from tests.real.etcd_cluster import EtcdCluster
from tests.real.etcd_load import ALL, opened
from tests.real.test_store_commands import STORE, serving

RECORDS = [Record(b"key%04d" % number, b"v%d" % number, 10 + number, 20 + number) for number in range(500)]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as etcd:
        yield etcd


def backend(url: str) -> tuple[Backend, StoreUrl]:
    parsed = parse_store_url(url)
    return backend_of(parsed), parsed


async def verify(url: str) -> list[Checked]:
    kind, parsed = backend(url)
    return [checked async for checked in kind.verify(real_host(), parsed)]


def test_a_copy_is_a_store_once_it_is_whole_and_not_before(etcd: EtcdCluster) -> None:
    async def main() -> None:
        url = etcd.url("copied")
        kind, parsed = backend(url)
        interrupted = await kind.open_loader(real_host(), parsed)
        await interrupted.load([Record(b"of the first try", b"", 1, 1), *RECORDS[:200]])
        await interrupted.close()
        with pytest.raises(FailedPreconditionError, match="restore again"):
            async with opened(url):
                pass
        loader = await kind.open_loader(real_host(), parsed)
        await loader.load(RECORDS[:300])
        await loader.load(RECORDS[300:])
        store_id = await loader.finish(1000)
        await loader.close()
        async with opened(url) as store:
            assert store.store_id == store_id
            page = await store.range(*ALL)
            assert [(r.key, r.value) for r in page.records] == [(r.key, r.value) for r in RECORDS]
        with pytest.raises(FailedPreconditionError, match="holds a store already"):
            await kind.open_loader(real_host(), parsed)

    asyncio.run(main())


def test_of_two_copies_into_one_place_the_older_stops(etcd: EtcdCluster) -> None:
    async def main() -> None:
        kind, parsed = backend(etcd.url("two-copies"))
        older = await kind.open_loader(real_host(), parsed)
        newer = await kind.open_loader(real_host(), parsed)
        with pytest.raises(FailedPreconditionError, match="another process fills or removes"):
            await older.load(RECORDS[:10])
        with pytest.raises(FailedPreconditionError, match="another process fills or removes"):
            await older.finish(1)
        await newer.load(RECORDS[:10])
        await newer.finish(1)
        for loader in (older, newer):
            await loader.close()

    asyncio.run(main())


def test_a_record_that_etcd_cannot_take_is_named(etcd: EtcdCluster) -> None:
    async def main() -> None:
        kind, parsed = backend(etcd.url("large-record"))
        loader = await kind.open_loader(real_host(), parsed)
        with pytest.raises(ResourceExhaustedError, match="key huge has a value of 1600000 bytes"):
            await loader.load([Record(b"huge", b"x" * 1_600_000, 1, 1)])
        await loader.close()

    asyncio.run(main())


def test_a_reader_sees_one_revision_and_knows_whether_the_store_was_written_since(etcd: EtcdCluster) -> None:
    async def main() -> None:
        url = etcd.url("read")
        kind, parsed = backend(url)
        async with opened(url) as store:
            revision = await store.commit(Txn((Op(b"a", b"1"), Op(b"b", b"2"))))
            reader = await kind.open_reader(real_host(), parsed)
            assert (reader.store_id, reader.revision, reader.keys) == (store.store_id, revision, 2)
            etcd.ctl("put", "of", "others")
            assert await reader.newest_revision() == revision
            newer = await store.commit(Txn((Op(b"a", None),)))
            assert await reader.newest_revision() == newer
            page = await reader.range(*ALL, revision=reader.revision)
            assert [record.key for record in page.records] == [b"a", b"b"]
            await reader.close()
        with pytest.raises(FailedPreconditionError, match="there is no store"):
            await kind.open_reader(real_host(), parse_store_url(etcd.url("absent")))

    asyncio.run(main())


def test_figures_of_a_store(etcd: EtcdCluster) -> None:
    async def main() -> None:
        url = etcd.url("figures")
        kind, parsed = backend(url)
        async with opened(url) as store:
            first = await store.commit(Txn((Op(b"a", b"1"),)))
            newest = await store.commit(Txn((Op(b"a", b"2"), Op(b"b", b""))))
            stat = await kind.stat(real_host(), parsed)
            assert (stat.store_id, stat.revision, stat.keys) == (store.store_id, newest, 2)
            assert stat.oldest_revision < first
            assert stat.size_bytes > 10_000
            assert "etcd 3." in stat.format
            await store.compact(newest)
            assert (await kind.stat(real_host(), parsed)).oldest_revision == newest

    asyncio.run(main())


def test_a_check_finds_what_does_not_belong_and_lets_other_stores_be(etcd: EtcdCluster) -> None:
    async def main() -> None:
        url = etcd.url("checked")
        async with opened(url) as store, opened(etcd.url("checked/nested")) as nested:
            for number in range(300):
                await store.commit(Txn((Op(b"%d" % number, b"x"),)))
            await nested.commit(Txn((Op(b"a", b""),)))
        found = await verify(url)
        assert [checked.damage for checked in found if checked.damage] == []
        assert (found[-1].records, found[-1].records_total) == (300, 300)
        etcd.ctl("put", "checked/m/surprise", "1")
        etcd.ctl("put", "checked/k/", "1")
        etcd.ctl("put", "checked/m/store", "nonsense")
        damages = [checked.damage for checked in await verify(url) if checked.damage]
        assert [damage.where for damage in damages] == ["checked/m/store", "checked/k/", "checked/m/surprise"]

    asyncio.run(main())


def test_an_apiserver_refuses_a_damaged_object_and_serves_all_others(etcd: EtcdCluster, tmp_path: Path) -> None:
    async def main() -> None:
        url = etcd.url("served")
        async with serving(tmp_path, url) as cluster, client_of(cluster) as client:
            await put(client, sleeper("good"), sleeper("bad"))
            (key,) = (one for one in etcd.ctl("get", "--prefix", "--keys-only", "served/k/").split() if "/bad" in one)
            etcd.ctl("put", key, "damaged")
            for _ in range(2):
                with pytest.raises(
                    DataLossError, match=f"the value in store {url} of revision .*bad.*restore a backup"
                ):
                    await status_of(client, "bad")
            await status_of(client, "good")
            await put(client, sleeper("new"))
            code, output = await run([*STORE, "verify", url])
            assert code == 1
            assert re.search(rf"{key}: the value of revision \d+ does not match its checksum\n", output)
            assert output.endswith("records read, 1 damaged: restore a backup\n")
            assert cluster.apiserver.running

    asyncio.run(main())


def test_a_migration_says_whose_revision_it_tells(etcd: EtcdCluster, tmp_path: Path) -> None:
    """etcd has one of its own."""

    async def main() -> None:
        source, target = f"sqlite:///{tmp_path}/source", etcd.url("migrated")
        async with opened(source) as store:
            for number in range(7):
                await store.commit(Txn((Op(b"a", b"%d" % number), Op(b"b", b""))))
        code, output = await run([*STORE, "migrate", source, target])
        assert code == 0, output
        async with opened(target) as store:
            assert store.revision != 7
            assert output == f"{target}: new store {store.store_id}, 2 objects of {source} at its revision 7\n"

    asyncio.run(main())


def test_a_check_compares_the_members_and_names_those_that_it_cannot_ask(tmp_path: Path) -> None:
    async def main(cluster: EtcdCluster) -> None:
        url = cluster.url("compared")
        async with opened(url) as store:
            await store.commit(Txn((Op(b"a", b"1"),)))
        assert [checked.damage for checked in await verify(url) if checked.damage] == []
        down = cluster.members[0]
        down.kill()
        damages = [checked.damage for checked in await verify(url) if checked.damage]
        assert [damage.where for damage in damages] == [down.address]
        assert "cannot be compared" in damages[0].what

    with EtcdCluster(tmp_path, members=3) as cluster:
        asyncio.run(main(cluster))
