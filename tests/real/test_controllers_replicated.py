"""Three `rube controller` processes that keep their memory together: kill -9 of the leader, and no client waits for a
lease."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from rube.api import GetRequest, Metadata, Node, NodeStatus, Object, UpdateStatusRequest
from rube.api.errors import FailedPreconditionError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.types import pack
from rube.api.well_known import NODE_LABEL
from rube.cli.local import Daemon, local_cluster, run
from rube.client import Client
from rube.controllers.cluster.types import node_key
from tests.real.cluster_calls import UNIT_TYPE, client_of, put, sleeper, until
from tests.real.etcd_cluster import free_ports

RUBE = [sys.executable, "-m", "rube.cli.main"]
NAMES = "abc"
LEASE_S = 15
"""The time that an election by leases would wait."""


class Replicas:
    """The processes `a`, `b` and `c`."""

    def __init__(self, directory: Path, server: str) -> None:
        ports = free_ports(len(NAMES))
        self._addresses = [f"{name}=127.0.0.1:{port}" for name, port in zip(NAMES, ports, strict=True)]
        self._directory = directory
        self._server = server
        self.daemons: dict[str, Daemon] = {}

    async def start(self, name: str) -> None:
        argv = [*RUBE, "controller", "--server", self._server, "--controllers", "placement"]
        argv += ["--name", name, "--replicas", ",".join(self._addresses)]
        self.daemons[name] = Daemon(f"controller {name}", argv, log=self._directory / f"{name}.log")
        await self.daemons[name].start()

    async def leader(self) -> str:
        """Once all three vote, as `rube cluster members` says."""
        found: list[str] = []

        async def whole() -> bool:
            addresses = ",".join(pair.partition("=")[2] for pair in self._addresses)
            code, told = await run([*RUBE, "cluster", "members", "--member", addresses, "--json"])
            rows = json.loads(told)["members"] if code == 0 else []
            found[:] = [row["name"] for row in rows if row["role"] == "leader"]
            return sorted(row["role"] for row in rows) == ["leader", "voter", "voter"]

        await until("three replicas vote", whole)
        return found[0]

    async def stop(self) -> None:
        await asyncio.gather(*(daemon.stop() for daemon in self.daemons.values() if daemon.running))


async def add_node(client: Client, name: str) -> None:
    obj = Object(metadata=Metadata(name=name), spec=pack(Node()))
    await put(client, obj)
    request = UpdateStatusRequest(key=node_key(name).to_proto())
    request.status.Pack(NodeStatus(readiness=NodeStatus.READY), TYPE_URL_PREFIX)
    await client.update_status(request)


async def is_placed(client: Client, name: str) -> bool:
    key = ObjectKey(UNIT_TYPE, "real", name).to_proto()
    found = (await client.get(GetRequest(key=key))).object
    return found.metadata.labels.get(NODE_LABEL, "") == "worker-1"


def test_a_unit_is_placed_soon_after_kill_9_of_the_leader(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = local_cluster(tmp_path, apiserver_args=["--controllers", ""])
        async with cluster as running, client_of(running) as client:
            replicas = Replicas(tmp_path, running.address)
            try:
                await add_node(client, "worker-1")
                await asyncio.gather(*(replicas.start(name) for name in NAMES))
                leader = await replicas.leader()
                await put(client, sleeper("before"))
                await until("the unit is placed", lambda: is_placed(client, "before"))
                await replicas.daemons[leader].kill()
                killed_s = time.monotonic()
                await put(client, sleeper("after"))
                await until("another leader places it", lambda: is_placed(client, "after"))
                failover_s = time.monotonic() - killed_s
                print(f"placed {failover_s:.2f} s after kill -9 of the leader")
                assert failover_s < LEASE_S / 2
                await replicas.start(leader)
                await replicas.leader()
            finally:
                await replicas.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "d", "--replicas", "a=h:1,b=h:2"], "members names a, b, but not this member, 'd'"),
        (["--name", "a"], "--name and --replicas go together"),
        (["--name", "a", "--replicas", "a"], "write a=HOST:PORT"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: list[str], says: str) -> None:
    async def main() -> None:
        daemon = Daemon("controller", [*RUBE, "controller", *arguments], log=tmp_path / "log")
        with pytest.raises(FailedPreconditionError, match=says):
            await daemon.start()

    asyncio.run(main())
