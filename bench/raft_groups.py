"""Groups of three for the benches of replication: apiservers that keep a store together, and etcds."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from grpc import aio

from bench.api_servers import free_port
from rube.cli.local import Daemon
from rube.group.group_pb2 import DescribeRequest, Description
from rube.group.group_pb2_grpc import MembersStub
from tests.real.etcd_cluster import EtcdCluster

NAMES = "abc"
READY_S_MAX = 30.0
ETCD_TIMING = ("--heartbeat-interval=100", "--election-timeout=1000")
"""etcd's defaults; Rube's are those of MemberConfig."""


class Group(Protocol):
    """Three members: who leads, and how to kill that one with -9 and bring it back."""

    async def leader(self) -> str: ...

    def addresses(self, without: str = "") -> Sequence[str]:
        """The addresses at which clients reach the members."""
        ...

    async def kill(self, name: str) -> None: ...

    async def restart(self, name: str) -> None:
        """Returns once the member has come back and caught up."""
        ...


class Apiservers:
    """Members `a`, `b` and `c`, each with an API address and one for the other members."""

    def __init__(self, directory: Path, *, server_kind: str = "grpcio") -> None:
        self.peer = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.api: dict[str, str] = {}
        members = ",".join(f"{name}={address}" for name, address in self.peer.items())
        server = [sys.executable, str(Path(__file__).with_name("api_servers.py")), "api", "--grpc", server_kind]
        self.daemons = {
            name: Daemon(
                f"member {name}",
                [*server, "--store", f"raft+sqlite:///{directory}/{name}.db?name={name}&members={members}"],
                log=directory / f"{name}.log",
            )
            for name in NAMES
        }

    async def start(self) -> None:
        ready = await asyncio.gather(*(daemon.start() for daemon in self.daemons.values()))
        self.api = dict(zip(self.daemons, ready, strict=True))
        await self._until_all_vote()

    async def stop(self) -> None:
        await asyncio.gather(*(daemon.kill() for daemon in self.daemons.values()))

    def addresses(self, without: str = "") -> Sequence[str]:
        return [address for name, address in self.api.items() if name != without]

    async def leader(self) -> str:
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            told = await self._descriptions()
            leading = [one for one in told if one.leader == one.id]
            if leading:
                return max(leading, key=lambda one: one.term).name
            await asyncio.sleep(0.05)
        raise AssertionError("no member leads")

    async def kill(self, name: str) -> None:
        await self.daemons[name].kill()

    async def restart(self, name: str) -> None:
        self.api[name] = await self.daemons[name].start()
        await self._until_all_vote()

    async def _until_all_vote(self) -> None:
        """Waits until all members know it, and have what the others have."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            told = await self._descriptions()
            voters = [sum(not peer.learner for peer in one.peers) for one in told]
            if voters == [len(NAMES)] * len(NAMES) and len({(one.leader, one.term, one.applied) for one in told}) == 1:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the members did not come together")

    async def _descriptions(self) -> list[Description]:
        told = []
        for address in self.peer.values():
            async with aio.insecure_channel(address) as channel:
                try:
                    told.append(await MembersStub(channel).Describe(DescribeRequest(), timeout=1))
                except aio.AioRpcError:
                    continue
        return told


class Etcds:
    """The same as `Apiservers`: a real etcd of three members, with its default election timeout of a second."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._cluster = EtcdCluster(directory, members=3, options=ETCD_TIMING)
        self._members = {member.name: member for member in self._cluster.members}

    async def start(self) -> None:
        await asyncio.to_thread(self._cluster.__enter__)

    async def stop(self) -> None:
        await asyncio.to_thread(self._cluster.__exit__)

    def addresses(self, without: str = "") -> Sequence[str]:
        return [member.address for name, member in self._members.items() if name != without]

    async def leader(self) -> str:
        return (await asyncio.to_thread(self._cluster.leader)).name

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self._members[name].kill)

    async def restart(self, name: str) -> None:
        self._members[name].start()
        await asyncio.to_thread(self._cluster.wait_healthy)


@asynccontextmanager
async def running_group(group: Apiservers | Etcds) -> AsyncIterator[None]:
    try:
        await group.start()
        yield
    finally:
        await group.stop()
