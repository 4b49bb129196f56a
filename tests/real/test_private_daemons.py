"""The files of the daemons are their user's alone, under any umask."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.cli.local import APISERVER, Daemon, LocalCluster, run
from tests.real.cluster_calls import client_of, put, sleeper, until_active


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def loose(directory: Path) -> list[str]:
    """The paths in there that group or others may read, write or enter."""
    found = [(path, path.lstat().st_mode) for path in sorted(directory.rglob("*"))]
    return [f"{path.relative_to(directory)} {mode & 0o777:o}" for path, mode in found if mode & 0o77]


@pytest.mark.parametrize("kind", ["sqlite", "rocksdb"])
def test_an_apiservers_store_its_controllers_memory_backup_and_socket(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"

    async def main() -> None:
        server = Daemon(
            "apiserver",
            [*APISERVER, "--store", f"{kind}:///{data}/store", "--listen", f"unix:{tmp_path}/api.sock"],
            log=tmp_path / "log",
        )
        await server.start()
        try:
            mode = (tmp_path / "api.sock").stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert mode & 0o77 == 0
            store = (*APISERVER[:-1], "store")
            code, output = await run([*store, "backup", f"{kind}:///{data}/store", str(tmp_path / "data" / "backup")])
            assert code == 0, output
            assert data.stat().st_mode & 0o777 == 0o700
            assert loose(data) == []
        finally:
            await server.stop()
        assert loose(data) == []

    asyncio.run(main())


def test_a_rubelets_copy_and_socket(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = LocalCluster(tmp_path)
        await cluster.start_apiserver()
        try:
            await cluster.start_rubelet("n")
            async with client_of(cluster) as client:
                await put(client, sleeper("secret"))
                await until_active(client, "secret")
            data = cluster.node_directory("n")
            assert data.stat().st_mode & 0o777 == 0o700
            assert [name for name in loose(data) if not name.startswith("units")] == []
        finally:
            await cluster.stop()

    asyncio.run(main())
