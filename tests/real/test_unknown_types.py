"""Daemons and commands at an apiserver without a type: one that has lost its store, or has never had it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rube.api import GetRequest
from rube.api.errors import NotFoundError
from rube.api.keys import ObjectKey
from rube.cli.local import Daemon, LocalCluster, local_cluster, run
from tests.real.cluster_calls import UNIT_TYPE, client_of, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "09-backup"
# The example's controller, but one that does not bring its type along.
BARE = """
from backup import Backups
from rube.api import ControllerSpec

class Bare(Backups):
    spec = ControllerSpec(name="bare", type=Backups.spec.type, inputs=Backups.spec.inputs)
"""
UNIT = ObjectKey(UNIT_TYPE, "default", "backup-nightly").to_proto()


def controller(cluster: LocalCluster) -> Daemon:
    argv = [sys.executable, "-m", "rube.cli.main", "controller", "--server", cluster.address]
    argv += ["--data", str(cluster.directory / "controller"), "--controllers", "bare:Bare"]
    return Daemon("controller", argv, log=cluster.directory / "controller.log")


async def ructl(cluster: LocalCluster, *arguments: str, code: int = 0) -> str:
    ended, said = await run([sys.executable, "-m", "ructl.main", "--server", cluster.address, *arguments])
    assert ended == code, said
    return said


async def has_unit(cluster: LocalCluster) -> bool:
    async with client_of(cluster) as client:
        try:
            found = (await client.get(GetRequest(key=UNIT))).object
        except NotFoundError:
            return False
        return b"running" in found.status.value


def test_daemons_outlive_the_loss_of_a_type_and_go_on_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{EXAMPLE}")
    monkeypatch.chdir(EXAMPLE)

    async def main() -> None:
        async with local_cluster(tmp_path) as cluster:
            daemon = controller(cluster)
            await daemon.start()  # before there is the type
            try:
                rubelet = await cluster.start_rubelet("worker-1")
                assert "not a type of object" in await ructl(cluster, "list", "-t", "acme.Backup", code=2)
                await ructl(cluster, "types", "push", "backup.proto")
                await ructl(cluster, "put", "nightly.textproto")
                await until("the backup's unit runs", lambda: has_unit(cluster))

                await cluster.apiserver.kill()
                for file in tmp_path.glob("*.db*"):
                    file.unlink()
                await cluster.start_apiserver()
                assert "not a type of object" in await ructl(cluster, "list", "-t", "acme.Backup", code=2)
                assert "unknown type 'acme.Backup'" in await ructl(cluster, "put", "nightly.textproto", code=1)
                assert not await has_unit(cluster)
                assert daemon.running
                assert rubelet.running

                await ructl(cluster, "types", "push", "backup.proto")
                await ructl(cluster, "put", "nightly.textproto")
                await until("the backup's unit runs again", lambda: has_unit(cluster))
            finally:
                await daemon.stop()

    asyncio.run(main())
