"""The whole path on a real systemd: ructl's objects become units of the manager, and their states come back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api import DeleteRequest, GetRequest, UnitStatus, textproto
from rube.api.keys import ObjectKey
from rube.cli.local import RUBELET, local_cluster, run
from rube.client import Client
from tests.real.cluster_calls import UNIT_TYPE, client_of, put, sleeper, status_of, until, until_active
from tests.real.systemd_manager import SystemdManager, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

NODE = "worker-1"
INDEXER = Path(__file__).parents[2] / "examples/02-many-fields/indexer.textproto"


@pytest.fixture
def manager() -> Iterator[SystemdManager]:
    with SystemdManager() as started:
        yield started


def options(manager: SystemdManager) -> list[str]:
    return ["--driver", "systemd", "--bus", manager.bus_address, "--unit-dir", str(manager.unit_directory)]


async def indexer_result(client: Client) -> tuple[str, str]:
    """The seed's example: its sub state and its result."""
    key = ObjectKey(UNIT_TYPE, "system", "indexer")
    obj = (await client.get(GetRequest(key=key.to_proto()))).object
    status = UnitStatus()
    obj.status.Unpack(status)
    return status.sub_state, status.result


def test_a_rubelet_runs_units_on_systemd_and_leaves_them_running(tmp_path: Path, manager: SystemdManager) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            rubelet = await cluster.start_rubelet(NODE, args=options(manager))
            [document] = textproto.parse_documents(INDEXER.read_text(), INDEXER.name)
            await put(client, sleeper("a"), *document.objects)
            first = await until_active(client, "a")
            assert [path.name for path in manager.unit_directory.glob("rube-*a.service")]

            os.kill(first.main_pid, signal.SIGKILL)
            second = await until_active(client, "a", but_not_pid=first.main_pid)

            async def as_systemd_says() -> bool:
                return await indexer_result(client) == ("auto-restart", "protocol")

            await until("the example without a pid file fails by protocol", as_systemd_says)

            await rubelet.kill()
            os.kill(second.main_pid, 0)
            await cluster.start_rubelet(NODE)
            await put(client, sleeper("b"))
            await until_active(client, "b")
            assert (await status_of(client, "a")).main_pid == second.main_pid, "adopted, not restarted"

            await client.delete(DeleteRequest(keys=[ObjectKey(UNIT_TYPE, "real", "a").to_proto()]))

            async def removed() -> bool:
                return not list(manager.unit_directory.glob("rube-*a.service"))

            await until("the unit file of the deleted object is gone", removed)
            await rubelet.stop()
            data = str(cluster.node_directory(NODE))
            code, output = await run([*RUBELET, "--data", data, *options(manager), "--purge"])
            assert (code, output.count("2 units removed")) == (0, 1), output
            assert not list(manager.unit_directory.glob("rube-*"))

    asyncio.run(main())
