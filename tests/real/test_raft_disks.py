"""Three apiservers that keep a store together: a full disk, a snapshot after an absence, a backup that is restored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rube.api import ListRequest, PutRequest
from rube.cli.local import run
from tests.real.full_disk import mounted, take_all
from tests.real.test_raft_cluster import NAMES, RUBE, TYPE, Load, RaftCluster, running, unit, until

DISK_MB = 16
SCHEMES = ["raft+sqlite", "raft+rocksdb"]


class SmallDisks(RaftCluster):
    """Each member's store is on a file system of its own."""

    def path(self, name: str) -> Path:
        return self.directory / f"disk-{name}" / "store"


async def progress(load: Load) -> None:
    before = dict(load.acknowledged)
    await until(lambda: all(load.acknowledged[key] > before[key] + 3 for key in before))


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_full_disk_stops_one_member_and_nobody_else(tmp_path: Path, scheme: str, leads: bool) -> None:
    async def main() -> None:
        async with running(SmallDisks(tmp_path, scheme)) as cluster:
            leader = await cluster.leader()
            full = leader if leads else next(name for name in NAMES if name != leader)
            load = Load(cluster)
            await until(lambda: len(load.acknowledged) == 4)
            await progress(load)
            other = take_all(tmp_path / f"disk-{full}")
            for _ in range(3):
                await progress(load)
            if leads:
                assert await cluster.leader() != full
            assert f"disk-{full}/store is full: free some space" in (tmp_path / f"{full}.log").read_text()
            other.unlink()
            await cluster.until(full, state="up to date")
            await load.stop()
            await load.check()

    with mounted(tmp_path / "disk-a", DISK_MB), mounted(tmp_path / "disk-b", DISK_MB):
        with mounted(tmp_path / "disk-c", DISK_MB):
            asyncio.run(main())


class ShortLogs(RaftCluster):
    """A member that misses more than a few entries needs a snapshot."""

    def url(self, name: str, join: str = "") -> str:
        return f"{super().url(name, join)}&log_entries_kept=20"

    def snapshots(self) -> int:
        """The number of snapshots that the members have sent."""
        return sum((self.directory / f"{name}.log").read_text().count("sends its state as of entry") for name in NAMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_member_that_was_away_for_long_comes_back_by_a_snapshot_under_load(tmp_path: Path, scheme: str) -> None:
    async def main() -> None:
        async with running(ShortLogs(tmp_path, scheme)) as cluster:
            leader = await cluster.leader()
            away = next(name for name in NAMES if name != leader)
            load = Load(cluster)
            await until(lambda: len(load.acknowledged) == 4)
            await cluster.daemons[away].kill()
            before, missed = cluster.snapshots(), sum(load.acknowledged.values()) + 200
            await until(lambda: sum(load.acknowledged.values()) > missed)
            await cluster.start(away)
            await cluster.until(away, state="up to date")
            assert cluster.snapshots() > before
            await load.stop()
            await load.check()

    asyncio.run(main())


@pytest.mark.parametrize(("scheme", "then"), [("raft+sqlite", "raft+rocksdb"), ("raft+rocksdb", "raft+sqlite")])
def test_a_group_is_restored_from_what_was_backed_up_under_load(tmp_path: Path, scheme: str, then: str) -> None:
    async def main() -> None:
        backup = str(tmp_path / "backup")
        async with running(RaftCluster(tmp_path, scheme)) as cluster:
            async with cluster.client() as client:
                put = await client.put(PutRequest(objects=[unit("before", "7")]))
            load = Load(cluster)
            await until(lambda: len(load.acknowledged) == 4)
            await asyncio.sleep(0.5)
            leader = await cluster.leader()
            follower = next(name for name in NAMES if name != leader)
            code, told = await run([*RUBE, "store", "backup", f"{scheme}:///{cluster.path(follower)}", backup])
            assert code == 0, told
            await load.stop()
        (tmp_path / "again").mkdir()
        cluster = RaftCluster(tmp_path / "again", then)
        code, told = await run([*RUBE, "store", "restore", backup, f"{then}:///{cluster.path('a')}"])
        assert code == 0, told
        async with running(cluster):
            for name in NAMES:
                async with cluster.client(name) as client:
                    listed = await client.list_objects(ListRequest(type=TYPE))
                    assert {one.metadata.name for one in listed.items} == {"before", *load.acknowledged}
                    assert listed.store_id != put.store_id
            async with cluster.client("c") as client:
                answer = await client.put(PutRequest(objects=[unit("after", "1")]))
            assert answer.revision > put.revision, "also who knows the old store's revisions sees them grow"

    asyncio.run(main())
