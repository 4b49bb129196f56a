"""`ructl logs` of real units: through the apiserver, and at the node's own socket."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from rube.api import Object, Unit
from rube.cli.local import RUCTL, local_cluster, run
from tests.real.cluster_calls import client_of, put, sleeper, status_of, until, until_active

NODE = "worker-1"


def talker(name: str, script: str) -> Object:
    """A unit that runs this shell script."""
    obj, unit = sleeper(name), Unit()
    obj.spec.Unpack(unit)
    unit.service.exec.start[0] = f"/bin/sh -c '{script}'"
    obj.spec.Pack(unit, "rube/")
    return obj


def test_logs_come_from_the_node_and_a_follow_ends_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet(NODE)
            await put(client, talker("talks", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"))
            await put(client, talker("fails", "echo about to fail; echo oh no >&2; exit 3"))
            await until_active(client, "talks")

            async def failed() -> bool:
                return list((await status_of(client, "fails")).log_tail)[-2:] == ["about to fail", "oh no"]

            await until("the last lines stand in the status", failed)
            for where in (["--server", cluster.address], ["--node-socket", str(cluster.node_socket(NODE))]):
                code, output = await run([*RUCTL, *where, "logs", "fails"])
                assert code == 0
                assert output.endswith("about to fail\noh no\n")
            code, output = await run([*RUCTL, "--server", cluster.address, "logs", "real/talks", "-n", "1"])
            assert code == 0
            assert output.startswith("line ")
            await put(client, talker("silent", "exec sleep 1000"))
            await until_active(client, "silent")
            code, output = await run([*RUCTL, "--server", cluster.address, "logs", "silent"])
            assert code == 0
            assert output.startswith(f"ructl: real/silent has printed nothing; it is active (running) on {NODE} (see")
            code, output = await run([*RUCTL, "--server", cluster.address, "logs", "talks", "--since", "1m"])
            assert code == 1
            assert "keeps no times" in output
            await _follow_to_the_end(cluster.address, cluster.rubelets[NODE].stop)
            code, output = await run([*RUCTL, "--server", cluster.address, "logs", "talks"])
            assert code == 1
            assert f"node {NODE} has not been attached to this apiserver since" in output

    asyncio.run(main())


async def _follow_to_the_end(server: str, stop: Callable[[], Awaitable[int]]) -> None:
    """Two followers: one is interrupted, one loses its node."""
    followers = [
        await asyncio.create_subprocess_exec(
            *RUCTL,
            "--server",
            server,
            "logs",
            "-f",
            "talks",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for follower in followers:
        assert follower.stdout is not None
        async with asyncio.timeout(30):
            while b"line" not in await follower.stdout.readline():
                pass
    followers[0].send_signal(signal.SIGINT)
    await followers[0].communicate()
    assert followers[0].returncode == 0
    await stop()
    _, said = await followers[1].communicate()
    assert followers[1].returncode == 1
    assert said.decode().startswith(f"ructl: node {NODE} went away")
