"""The questions that tests on real processes ask a LocalCluster, through a real client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rube.api import GetRequest, Metadata, NodeStatus, Object, PutRequest, Service, Unit, UnitStatus
from rube.api.errors import NotFoundError
from rube.api.keys import ObjectKey
from rube.cli.local import LocalCluster
from rube.cli.real_host import real_host
from rube.client import Client, ClientConfig
from rube.controllers.cluster.types import node_key

UNIT_TYPE = "api.systemd.Unit"
WAIT_S_MAX = 20.0


@asynccontextmanager
async def client_of(cluster: LocalCluster) -> AsyncIterator[Client]:
    """A client that goes on trying while the apiserver is away."""
    config = ClientConfig(deadline_s=20, attempt_s_max=2, retries_max=100)
    async with Client(real_host(), [cluster.address], config) as client:
        yield client


def sleeper(name: str, *, description: str = "", restart_s: float = 0.2) -> Object:
    """A unit that sleeps for a day and is restarted on failure."""
    spec = Unit(description=description)
    spec.service.type = Service.EXEC
    spec.service.exec.start.append("sleep 86400")
    spec.service.restart = Service.ON_FAILURE
    spec.service.time.restart = restart_s
    obj = Object(metadata=Metadata(namespace="real", name=name))
    obj.spec.Pack(spec, "rube/")
    return obj


async def put(client: Client, *objects: Object) -> int:
    return (await client.put(PutRequest(objects=objects))).revision


async def status_of(client: Client, name: str) -> UnitStatus:
    """The status of the unit real/NAME; empty if there is none yet."""
    status = UnitStatus()
    try:
        answer = await client.get(GetRequest(key=ObjectKey(UNIT_TYPE, "real", name).to_proto()))
    except NotFoundError:
        return status
    answer.object.status.Unpack(status)
    return status


async def node_status(client: Client, node: str) -> NodeStatus:
    status = NodeStatus()
    (await client.get(GetRequest(key=node_key(node).to_proto()))).object.status.Unpack(status)
    return status


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S_MAX
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, f"not within {WAIT_S_MAX} s: {what}"
        await asyncio.sleep(0.05)


async def until_active(client: Client, name: str, *, but_not_pid: int = 0) -> UnitStatus:
    """Waits until the unit's status says that it runs, as another process than `but_not_pid`."""

    async def active() -> bool:
        status = await status_of(client, name)
        return status.active_state == "active" and status.main_pid not in (0, but_not_pid)

    await until(f"real/{name} is active", active)
    return await status_of(client, name)


def check(outcome: tuple[int, str], code: int, pattern: str) -> None:
    """Exactly one line is printed, and it says this."""
    assert outcome[0] == code, outcome[1]
    assert re.search(pattern, outcome[1]), outcome[1]
    assert outcome[1].count("\n") == 1, f"more than one line: {outcome[1]}"
