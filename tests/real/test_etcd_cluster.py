"""A store on a real etcd of three members, some of which die or hand over, under load."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from tests.real.etcd_cluster import EtcdCluster, EtcdMember
from tests.real.etcd_load import Load, opened

_PREFIXES = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), members=3) as cluster:
        yield cluster


@pytest.fixture
def leader(cluster: EtcdCluster) -> EtcdMember:
    cluster.wait_healthy()
    return cluster.leader()


@pytest.fixture
def follower(cluster: EtcdCluster, leader: EtcdMember) -> EtcdMember:
    return next(member for member in cluster.members if member is not leader)


def url(cluster: EtcdCluster, first: EtcdMember) -> str:
    """A new prefix; that member is used as long as it answers."""
    others = [member for member in cluster.members if member is not first]
    return f"etcd://{','.join(member.address for member in [first, *others])}/test-{next(_PREFIXES)}"


@pytest.mark.parametrize("kind", ["leader", "follower"])
def test_kill_9_of_the_member_in_use_loses_and_repeats_nothing(
    cluster: EtcdCluster, leader: EtcdMember, follower: EtcdMember, kind: str
) -> None:
    victim = leader if kind == "leader" else follower

    async def main() -> None:
        async with opened(url(cluster, victim)) as store:
            load = Load(store)
            async with load.running():
                await load.progress(100)
                victim.kill()
                await load.progress(200)
                victim.start()
                await load.progress(100)
            await load.check()

    asyncio.run(main())


def test_leaders_that_hand_over_in_order_are_not_noticed(cluster: EtcdCluster, leader: EtcdMember) -> None:
    """Every restart for maintenance does so: meanwhile a leader refuses, and has not done what it refused."""

    async def main() -> None:
        async with opened(url(cluster, leader)) as store:
            load = Load(store)
            async with load.running():
                await load.progress(50)
                await asyncio.to_thread(cluster.hand_over)
                await load.progress(100)
            await load.check()
            assert load.unknown == 0

    asyncio.run(main())


def test_one_stores_writes_reach_the_other_stores_watch_through_another_member(cluster: EtcdCluster) -> None:
    first, second, third = (member.address for member in cluster.members)

    async def main() -> None:
        async with (
            opened(f"etcd://{first},{second},{third}/two") as one,
            opened(f"etcd://{third},{second},{first}/two") as two,
        ):
            assert one.store_id == two.store_id
            load = Load(one, watched=two)
            async with load.running():
                for _ in range(20):
                    await load.progress(10)
                    revision, key, _ = load.acknowledged[-1]
                    page = await two.range(key, None, min_revision=revision)
                    assert page.records[0].mod_revision >= revision
            await load.check()

    asyncio.run(main())


def test_compaction_and_defragmentation_under_load_lose_nothing(cluster: EtcdCluster, leader: EtcdMember) -> None:
    async def main() -> None:
        async with opened(url(cluster, leader)) as store:
            load = Load(store)
            async with load.running():
                for _ in range(5):
                    await load.progress(50)
                    # The watch is not far behind; what it has seen may go.
                    async with asyncio.timeout(5):
                        while not load.seen:
                            await asyncio.sleep(0.01)
                    await store.compact(load.seen[-1][0])
                defragmenting = asyncio.create_task(asyncio.to_thread(cluster.ctl, "defrag"))
                await load.progress(100)
                await defragmenting
            await load.check()

    asyncio.run(main())
