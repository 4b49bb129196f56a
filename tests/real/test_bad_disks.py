"""Disks that are full or read-only, and a store that was restored: daemons live on, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rube.api import ListRequest, Object, WatchRequest
from rube.api.errors import ResourceExhaustedError, StoreChangedError
from rube.cli.local import APISERVER, RUBELET, local_cluster, run
from rube.client import Client
from tests.real.cluster_calls import UNIT_TYPE, check, client_of, put, sleeper, status_of, until, until_active

NODE = "worker-1"
RUBE = APISERVER[:-1]


# Disks


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own."""
    directory.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounts a tmpfs: run as root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for argv in ((*APISERVER, "--store", f"sqlite:///{disk}/x.db"), (*RUBELET, "--data", f"{disk}/x")):
            check(asyncio.run(run(argv)), 1, rf"{disk}/x.* cannot be created .*\(Read-only file system\): choose")


def fill(disk: Path) -> None:
    """Leaves no room at all."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def test_an_apiserver_on_a_full_disk_refuses_writes_and_takes_them_once_there_is_room(tmp_path: Path) -> None:
    async def load(client: Client, number: int, stored: dict[str, int]) -> str:
        """Puts until it is refused."""
        for count in range(1_000):
            name = f"w{number}-{count}"
            try:
                stored[name] = await put(client, sleeper(name, description="x" * 20_000))
            except ResourceExhaustedError as error:
                return error.message
        raise AssertionError("the disk was never full")

    async def main(disk: Path) -> None:
        async with local_cluster(disk) as cluster, client_of(cluster) as client:

            async def recovered() -> bool:
                return "writes succeed again" in cluster.apiserver.log.read_text()

            stored: dict[str, int] = {}
            refusals = await asyncio.gather(*(load(client, number, stored) for number in range(8)))
            for message in refusals:
                assert re.search(r"the disk that holds .*store\.db is full: free some space; nothing of this", message)
            assert cluster.apiserver.running
            assert {obj.metadata.name for obj in await list_units(client)} == stored.keys(), "reads go on"
            assert (await run(["mount", "-o", "remount,size=32m", str(disk)]))[0] == 0
            stored["last"] = await put(client, sleeper("last"))
            # A thread writes the log: the answer may be here before the line.
            await until("the log says that writes succeed", recovered)
            await cluster.apiserver.kill()
            await cluster.start_apiserver()
            found = {obj.metadata.name: obj.metadata.revision for obj in await list_units(client)}
            assert {name: found[name] >= revision for name, revision in stored.items()} == dict.fromkeys(stored, True)
            log = cluster.apiserver.log.read_text()
            assert "Traceback" not in log
            assert log.count("writes fail: the disk that holds") == log.count("writes succeed again") > 0

    with small_disk(tmp_path / "disk", 3) as disk:
        asyncio.run(main(disk))


async def list_units(client: Client) -> list[Object]:
    return list((await client.list_objects(ListRequest(type=UNIT_TYPE))).items)


def test_a_rubelet_on_a_full_disk_keeps_its_units_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        (tmp_path / "node").symlink_to(disk / "node")
        (disk / "node").mkdir()
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            rubelet = await cluster.start_rubelet("node")
            await put(client, sleeper("before"))
            before = await until_active(client, "before")
            fill(disk)
            await put(client, sleeper("meanwhile", description="x" * 100_000))

            async def told() -> bool:
                return "is full: free some space" in rubelet.log.read_text()

            await until("the log says that the disk is full", told)
            assert rubelet.running
            assert (await status_of(client, "before")).main_pid == before.main_pid
            (disk / "ballast").unlink()
            await until_active(client, "meanwhile")
            assert (await until_active(client, "before")).main_pid == before.main_pid
            assert "Traceback" not in rubelet.log.read_text()

    with small_disk(tmp_path / "disk", 4) as disk:
        asyncio.run(main(disk))


# Stores


def test_clients_and_nodes_follow_a_store_that_was_restored(tmp_path: Path) -> None:
    """The store may have given out their revisions again meanwhile, which only its new id can tell them."""

    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet(NODE)
            await put(client, sleeper("kept"))
            kept = await until_active(client, "kept")
            url, copy = f"sqlite:///{tmp_path}/store.db", str(tmp_path / "copy.rube")
            check(await run([*RUBE, "store", "backup", url, copy]), 0, rf"{copy}: \d+ objects of store \w+ at revision")
            await put(client, sleeper("lost"))
            lost = await until_active(client, "lost")
            before, was = client.revision, client.store_id
            await cluster.rubelets[NODE].stop()
            await cluster.apiserver.stop()
            check(
                await run([*RUBE, "store", "restore", copy, url]), 1, r"store\.db holds a store already: move it away"
            )
            for path in tmp_path.glob("store*"):
                path.unlink()
            check(
                await run([*RUBE, "store", "restore", copy, url]), 0, r"store\.db: new store \w+, \d+ objects of store "
            )
            await cluster.start_apiserver()
            later = sleeper("later")
            later.metadata.labels["node"] = NODE
            while await put(client, later) <= before:
                later.metadata.annotations["after"] = str(client.revision)
            assert client.store_id != was
            with pytest.raises(StoreChangedError):
                await anext(client.watch(WatchRequest(type=UNIT_TYPE, after_revision=before, store_id=was)))
            await cluster.start_rubelet(NODE)
            await until_active(client, "later")
            assert (await status_of(client, "kept")).main_pid == kept.main_pid, "what the backup holds goes on"

            async def gone() -> bool:
                return not Path(f"/proc/{lost.main_pid}").exists()

            await until("what the backup does not hold is stopped", gone)

    asyncio.run(main())
