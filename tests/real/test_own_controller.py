"""A controller of the user's own in the shipped daemon: `rube controller --controllers agents:Agents`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rube.api import DeleteRequest, GetRequest
from rube.api.errors import FailedPreconditionError, NotFoundError
from rube.api.keys import ObjectKey
from rube.cli.decisions import replay
from rube.cli.local import Daemon, LocalCluster, local_cluster
from rube.controllers.cluster.catalog import make_controller
from tests.real.cluster_calls import UNIT_TYPE, client_of, until

EXAMPLES = Path(__file__).parents[2] / "examples" / "03-own-controller"


def controller(cluster: LocalCluster, names: str) -> Daemon:
    argv = [sys.executable, "-m", "rube.cli.main", "controller", "--server", cluster.address]
    argv += ["--data", str(cluster.directory / "controller"), "--controllers", names]
    argv += ["--record", str(cluster.directory / "decisions")]
    return Daemon("controller", argv, log=cluster.directory / "controller.log")


@pytest.mark.parametrize(("name", "other"), [("agents:Agents", "agents.wasm"), ("agents.wasm", "agents:Agents")])
def test_the_example_puts_its_unit_on_a_node_and_again_after_it_was_deleted(
    name: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    key = ObjectKey(UNIT_TYPE, "agents", "worker-1").to_proto()

    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            daemon = controller(cluster, name)
            await daemon.start()
            try:
                await cluster.start_rubelet("worker-1")

                async def runs() -> bool:
                    try:
                        found = (await client.get(GetRequest(key=key))).object
                    except NotFoundError:
                        return False
                    return b"running" in found.status.value

                await until("the agent runs", runs)
                await client.delete(DeleteRequest(keys=[key]))
                await until("the agent is there again", runs)
            finally:
                await daemon.stop()

    asyncio.run(main())
    replayed = replay(tmp_path / "decisions", make_controller(other))
    assert replayed.difference is None
    assert replayed.decisions >= 3


def test_what_is_no_controller_ends_the_daemon_at_once_with_the_reason(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    cluster.address = "127.0.0.1:1"
    daemon = controller(cluster, "placement,json:JSONDecoder")
    with pytest.raises(FailedPreconditionError, match="'json:JSONDecoder' is no controller: it has no 'name'"):
        asyncio.run(daemon.start())
    assert asyncio.run(_code(daemon)) == 2


async def _code(daemon: Daemon) -> int:
    with pytest.raises(FailedPreconditionError):
        await daemon.start()
    return await daemon.wait()
