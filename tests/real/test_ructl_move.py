"""`ructl move` on real daemons: the unit stops on its node before it starts on the other one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rube.api import ListRequest, NodeStatus, Unit
from rube.cli.local import RUCTL, LocalCluster, local_cluster, run
from rube.client import Client
from tests.real.cluster_calls import client_of, put, sleeper, status_of, until, until_active

NODES = ("worker-1", "worker-2")


async def ructl(cluster: LocalCluster, *arguments: str) -> tuple[int, str]:
    return await run([*RUCTL, "--server", cluster.address, *arguments])


async def start(cluster: LocalCluster, client: Client) -> None:
    """Two nodes that are ready."""
    for node in NODES:
        await cluster.start_rubelet(node)

    async def ready() -> bool:
        nodes = await client.list_objects(ListRequest(type="api.Node"))
        statuses = [NodeStatus() for _ in nodes.items]
        for obj, status in zip(nodes.items, statuses, strict=True):
            obj.status.Unpack(status)
        return [status.readiness for status in statuses] == [NodeStatus.READY] * len(NODES)

    await until("both nodes are ready", ready)


def test_a_unit_moves_and_its_process_on_the_old_node_is_gone_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await start(cluster, client)
            unit = sleeper("web")
            log = tmp_path / "log"
            spec = Unit()
            unit.spec.Unpack(spec)
            del spec.service.exec.start[:]
            # The unit says when it begins and, asked to stop, takes a second over it: both runs would be seen.
            spec.service.exec.start.append(
                f'/bin/sh -c \'echo begin >>{log}; trap "sleep 1; echo end >>{log}; exit 0" TERM; '
                "while :; do sleep 0.05; done'"
            )
            unit.spec.Pack(spec, "rube/")
            unit.metadata.labels["node"] = "worker-1"
            await put(client, unit)
            await until_active(client, "web")
            code, text = await ructl(cluster, "move", "web", "worker-2")
            assert code == 0, text
            assert text.splitlines()[-1] == "real/web: active on worker-2"
            status = await status_of(client, "web")
            assert (status.node, status.active_state) == ("worker-2", "active")
            assert log.read_text().split() == ["begin", "end", "begin"]
            code, text = await ructl(cluster, "move", "web", "worker-2")
            assert (code, text) == (0, "real/web is on worker-2 already\n")

    asyncio.run(main())


def test_a_move_that_cannot_be_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await start(cluster, client)
            unit = sleeper("web")
            unit.metadata.labels["node"] = "worker-1"
            await put(client, unit)
            await until_active(client, "web")
            for arguments, says in (
                (["move", "web", "worker-9"], "there is no node 'worker-9': 'ructl list -t Node' shows"),
                (["move", "wbe", "worker-2"], "there is no unit 'wbe': 'ructl list -t Unit' shows"),
                (["move", "web", "--force"], "--force needs the NODE"),
                (["move", "-n", "other", "web"], "there is no unit 'web' in namespace 'other'"),
            ):
                code, text = await ructl(cluster, *arguments)
                assert code in (1, 2), text
                assert says in text
                assert text.count("\n") == 1, text
            assert (await ructl(cluster, "cordon", "worker-2"))[0] == 0
            code, text = await ructl(cluster, "move", "web")
            assert code == 1, "a unit is not stopped for a move that no node would take"
            assert "no node but worker-1 is ready and takes units, so it stays there" in text
            assert (await status_of(client, "web")).active_state == "active"
            assert (await ructl(cluster, "uncordon", "worker-2"))[0] == 0
            await cluster.rubelets["worker-1"].kill()
            code, text = await ructl(cluster, "move", "web", "--within", "1")
            assert code == 3
            assert "real/web has not moved within 1 s, and goes on to try" in text

    asyncio.run(main())
