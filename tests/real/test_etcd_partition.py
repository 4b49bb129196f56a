"""A store on a real etcd of three members, one of which is cut off by its network: real packets are really lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.real import namespaces
from tests.real.etcd_cluster import EtcdCluster, need_etcd
from tests.real.etcd_load import WRITERS, Load, opened
from tests.real.namespaces import Namespaces

pytestmark = pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing())


@pytest.fixture(scope="module")
def wires() -> Iterator[Namespaces]:
    need_etcd()
    with Namespaces(3) as wires:
        yield wires


@pytest.fixture(scope="module")
def cluster(wires: Namespaces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), members=3, namespaces=wires) as cluster:
        yield cluster


def member_that(cluster: EtcdCluster, leads: bool) -> int:
    cluster.wait_healthy()
    leader = cluster.members.index(cluster.leader())
    return leader if leads else (leader + 1) % 3


def url(cluster: EtcdCluster, first: int, prefix: str) -> str:
    """Uses that member as long as it answers."""
    addresses = [member.address for member in cluster.members]
    return f"etcd://{','.join(addresses[first:] + addresses[:first])}/{prefix}"


def test_a_member_cut_off_from_everybody_stops_neither_writes_nor_watches(
    cluster: EtcdCluster, wires: Namespaces
) -> None:
    async def main() -> None:
        cut = member_that(cluster, leads=False)
        async with opened(url(cluster, cut, "cut")) as store:
            load = Load(store)
            async with load.running():
                await load.progress(50)
                wires.isolate(cut)
                try:
                    await load.progress(100)
                    await load.caught_up()
                finally:
                    wires.heal()
                await load.progress(50)
            await load.check()

    asyncio.run(main())


def test_a_leader_cut_off_from_the_others_is_left_by_writers_and_by_those_who_only_watch(
    cluster: EtcdCluster, wires: Namespaces
) -> None:
    """It still hears its clients, takes what they write, and can acknowledge none of it."""

    async def main() -> None:
        cut = member_that(cluster, leads=True)
        place = url(cluster, cut, "alone")
        async with opened(place) as store, opened(place) as watched:
            load = Load(store, watched)
            async with load.running():
                await load.progress(50)
                for other in {0, 1, 2} - {cut}:
                    wires.part(cut, other)
                try:
                    await load.progress(100)
                    await load.caught_up()
                finally:
                    wires.heal()
                await load.progress(50)
            await load.check()
            # What it had taken of each writer; once it knows that it leads no more, it refuses and has done nothing.
            assert load.unknown <= WRITERS

    asyncio.run(main())
