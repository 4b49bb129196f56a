"""Three apiservers that keep a store together, as real processes on loopback: killed, stopped, removed, replaced."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from grpc import aio

from rube.api import ListRequest, Metadata, Object, PutRequest, Unit
from rube.api.errors import RubeError
from rube.api.types import pack
from rube.cli.cluster import rows_of
from rube.cli.local import Daemon, run
from rube.cli.real_host import real_host
from rube.client import Client
from rube.group.group_pb2 import DescribeRequest, Description
from rube.group.group_pb2_grpc import MembersStub
from tests.real.cluster_calls import check
from tests.real.etcd_cluster import free_ports

RUBE = [sys.executable, "-m", "rube.cli.main"]
NAMES = "abc"
TYPE = "api.systemd.Unit"


class RaftCluster:
    """Members `a`, `b` and `c`, and later ones; each with an API address and one for the other members."""

    def __init__(self, directory: Path, scheme: str = "raft+sqlite") -> None:
        self.directory = directory
        self.scheme = scheme
        ports = free_ports(2 * len(NAMES))
        self.api = {name: f"127.0.0.1:{port}" for name, port in zip(NAMES, ports[:3], strict=True)}
        self.peer = {name: f"127.0.0.1:{port}" for name, port in zip(NAMES, ports[3:], strict=True)}
        self.daemons: dict[str, Daemon] = {}

    def path(self, name: str) -> Path:
        """The URL of the member's store."""
        return self.directory / f"{name}.store"

    def url(self, name: str, join: str = "") -> str:
        members = ",".join(f"{one}={address}" for one, address in self.peer.items())
        place = f"{self.scheme}:///{self.path(name)}?name={name}&listen={self.peer[name]}"
        return f"{place}&join={join}" if join else f"{place}&members={members}"

    def command(self, name: str) -> list[str]:
        """The command that the member's arguments follow."""
        return RUBE

    async def start(self, name: str, *, join: str = "") -> Daemon:
        arguments = ["apiserver", "--store", self.url(name, join), "--listen", self.api[name], "--controllers", ""]
        arguments.append("--insecure")  # other namespaces reach some of these addresses
        daemon = Daemon(f"member {name}", [*self.command(name), *arguments], log=self.directory / f"{name}.log")
        self.daemons[name] = daemon
        await daemon.start()
        return daemon

    async def members(self) -> dict[str, dict[str, Any]]:
        """The output of `rube cluster members`, by name: the leader's word, where one answers."""
        newest = Description()
        for address in self.peer.values():
            async with aio.insecure_channel(address) as channel:
                try:
                    told = await MembersStub(channel).Describe(DescribeRequest(), timeout=0.5)
                except aio.AioRpcError:
                    continue
            if (told.term, told.id == told.leader) >= (newest.term, newest.id == newest.leader):
                newest = told
        return {row["name"]: row for row in rows_of(newest)}

    async def leader(self) -> str:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            for name, row in (await self.members()).items():
                if row["role"] == "leader" and self.daemons[name].running:
                    return name
            await asyncio.sleep(0.1)
        raise AssertionError("no leader within 15 s")

    async def until(self, told: str, **expected: str) -> None:
        """Waits until `rube cluster members` says so of the member `told`."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            row = (await self.members()).get(told, {})
            if all(row.get(key) == value for key, value in expected.items()):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{told} did not become {expected}: {await self.members()}")

    def client(self, *names: str) -> Client:
        return Client(real_host(), [self.api[name] for name in names or NAMES])


_Cluster = TypeVar("_Cluster", bound=RaftCluster)


@asynccontextmanager
async def running(cluster: _Cluster) -> AsyncIterator[_Cluster]:
    """Once all three vote; in the end they are killed."""
    try:
        await asyncio.gather(*(cluster.start(name) for name in NAMES))
        leader = await cluster.leader()
        for name in NAMES:  # a member that does not vote yet makes no loss good
            await cluster.until(name, role="leader" if name == leader else "voter")
        await asyncio.sleep(0.3)  # the last one hears that it votes
        yield cluster
    finally:
        for daemon in cluster.daemons.values():
            await daemon.kill()


def unit(name: str, text: str = "") -> Object:
    spec = Unit(description=text)
    spec.service.exec.start.append("/bin/true")
    return Object(metadata=Metadata(namespace="test", name=name), spec=pack(spec))


class Load:
    """Clients that put objects of their own, one after the other, and remember what was acknowledged."""

    def __init__(self, cluster: RaftCluster, clients: int = 4) -> None:
        self._cluster = cluster
        self.acknowledged: dict[str, int] = {}
        self.errors: list[str] = []
        self._stop = False
        self._tasks = [asyncio.create_task(self._put(number)) for number in range(clients)]

    def went_on(self, before: dict[str, int], by: int) -> bool:
        """Returns whether each client has had more than `by` further puts acknowledged."""
        return all(self.acknowledged[key] > before[key] + by for key in before)

    async def _put(self, number: int) -> None:
        async with self._cluster.client() as client:
            count = 0
            while not self._stop:
                count += 1
                try:
                    await client.put(PutRequest(objects=[unit(f"c{number}", str(count))]), deadline_s=10)
                    self.acknowledged[f"c{number}"] = count
                except RubeError as error:
                    self.errors.append(f"{type(error).__name__}: {error.message}")

    async def stop(self) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def check(self, *names: str) -> None:
        """Every member has what was acknowledged, or something newer, at the same revisions."""
        seen = []
        for name in names or NAMES:
            async with self._cluster.client(name) as client:
                listed = await client.list_objects(ListRequest(type=TYPE))
            found = {one.metadata.name: (_count(one), one.metadata.revision) for one in listed.items}
            for key, count in self.acknowledged.items():
                assert found[key][0] >= count, f"{name} lost {key}: {found[key]} < {count}"
            seen.append(found)
        assert all(one == seen[0] for one in seen)


def _count(obj: Object) -> int:
    spec = Unit()
    obj.spec.Unpack(spec)
    return int(spec.description)


@pytest.mark.parametrize("scheme", ["raft+sqlite", "raft+rocksdb"])
def test_kill_9_of_the_leader_under_load_loses_nothing(tmp_path: Path, scheme: str) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path, scheme)) as cluster:
            load = Load(cluster)
            for _ in range(2 if scheme == "raft+sqlite" else 1):
                await asyncio.sleep(0.5)
                killed = await cluster.leader()
                await cluster.daemons[killed].kill()
                before = dict(load.acknowledged)
                await until(partial(load.went_on, before, 1))
                await cluster.start(killed)
                await cluster.until(killed, state="up to date")
            await load.stop()
            await load.check()

    asyncio.run(main())


def test_a_stopped_leader_is_replaced_and_follows_when_it_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path)) as cluster:
            load = Load(cluster)
            await asyncio.sleep(0.5)
            stopped = await cluster.leader()
            cluster.daemons[stopped].send_signal(signal.SIGSTOP)
            before = dict(load.acknowledged)
            await until(lambda: all(load.acknowledged[key] > before[key] for key in before))
            cluster.daemons[stopped].send_signal(signal.SIGCONT)
            await cluster.until(stopped, state="up to date")
            await load.stop()
            await load.check()

    asyncio.run(main())


def test_a_rolling_restart_under_load_fails_no_write(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path)) as cluster:
            load = Load(cluster)
            for name in NAMES:
                assert await cluster.daemons[name].stop() == 0
                await cluster.start(name)
                await cluster.until(name, state="up to date")
            await load.stop()
            assert load.errors == []
            await load.check()

    asyncio.run(main())


def test_a_lost_member_is_replaced_and_a_removed_one_ends_with_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path)) as cluster:
            load = Load(cluster)
            leader = await cluster.leader()
            lost = next(name for name in NAMES if name != leader)
            await cluster.daemons[lost].kill()
            for path in tmp_path.glob(f"{lost}.store*"):
                path.unlink()
            with pytest.raises(RubeError, match=r"rube cluster remove"):
                await cluster.start(lost)
            others = ",".join(address for name, address in cluster.peer.items() if name != lost)
            command = [*RUBE, "cluster"]
            code, output = await run([*command, "remove", "--member", others, lost])
            assert code == 0, output
            code, output = await run([*command, "add", "--member", others, lost, cluster.peer[lost]])
            assert code == 0, output
            await cluster.start(lost, join=others.split(",")[0])
            await cluster.until(lost, state="up to date", role="voter")
            removed = await cluster.leader()
            code, output = await run([*command, "remove", "--member", ",".join(cluster.peer.values()), removed])
            assert code == 0, output
            assert await cluster.daemons[removed].wait() == 1
            assert "was removed from group" in (tmp_path / f"{removed}.log").read_text().splitlines()[-1]
            await load.stop()
            await load.check(*(name for name in NAMES if name != removed))

    asyncio.run(main())


def test_what_cannot_be_done_to_a_group_is_told_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path)) as cluster:
            member, leader = cluster.peer["b"], await cluster.leader()
            cases = [
                (1, ["members", "--member", cluster.api["b"]], rf"{cluster.api['b']} answers, and is no member's addr"),
                (1, ["members", "--member", "127.0.0.1:1"], "no member answers.* is --member one that runs"),
                (1, ["add", "--member", member, "a", "127.0.0.1:1"], "there is a member 'a' already, at"),
                (1, ["add", "--member", member, "d", cluster.peer["c"]], "is the address of member 'c' already"),
                (1, ["remove", "--member", member, "z"], "there is no member 'z'; there are a, b, c"),
                (1, ["promote", "--member", member, "a"], "member 'a' votes already"),
                (1, ["transfer-leader", "--member", member, "z"], "there is no member 'z'"),
                (0, ["transfer-leader", "--member", member, leader], f"member {leader} leads"),
            ]
            told = await asyncio.gather(*(run([*RUBE, "cluster", *command]) for _, command, _ in cases))
            for (code, _, pattern), outcome in zip(cases, told, strict=True):
                check(outcome, code, pattern)
            code, output = await run([*RUBE, "cluster", "add", "--member", member, "d e", "127.0.0.1:1"])
            assert code == 2
            assert "cannot use name 'd e'" in output

    asyncio.run(main())


def test_a_minority_refuses_and_a_members_disk_is_no_plain_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(RaftCluster(tmp_path)) as cluster:
            leader = await cluster.leader()
            others = [name for name in NAMES if name != leader]
            for name in others:
                await cluster.daemons[name].kill()
            async with cluster.client(leader) as client:
                with pytest.raises(RubeError):
                    await client.put(PutRequest(objects=[unit("a")]), deadline_s=3)
                with pytest.raises(RubeError):
                    await client.list_objects(ListRequest(type=TYPE), deadline_s=3)
            code, output = await run([*RUBE, "apiserver", "--store", f"sqlite:///{tmp_path}/{others[0]}.store"])
            assert code == 1
            assert "belongs to a member of a replicated store" in output

    asyncio.run(main())


async def until(predicate: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < deadline, "not within 20 s"
        await asyncio.sleep(0.05)
