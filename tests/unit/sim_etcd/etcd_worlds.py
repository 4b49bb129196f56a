"""A simulated etcd in a world, and a client of one of its members at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from grpc import aio

from rube.host import Host
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.storage import SimStorage
from rube.sim.etcd import Quirks
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import SimNetwork
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import KVStub, MaintenanceStub, WatchStub

MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
T = TypeVar("T")


class EtcdWorld:
    """Three members, a leader among them, and a host that asks them."""

    def __init__(self, world: World, quirks: Quirks | None = None, *, log_entries_kept: int = 0) -> None:
        self.world = world
        self.cluster = SimCluster(world)
        self.faults = self.cluster.faults
        self.url = self.cluster.add_etcd(MEMBERS, quirks, log_entries_kept=log_entries_kept)
        machine = world.host("client")
        self.host = Host(
            name="client",
            clock=machine.clock,
            network=SimNetwork(self.cluster.fabric, machine),
            storage=SimStorage(SimDisk(machine)),
            random=machine.random,
        )
        world.run_for(3)

    def run(self, body: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await body()

        return self.world.run(main, host=self.world.host("client"), timeout_s=120)

    def ask(self, member: str, call: Callable[[Any], Awaitable[T]]) -> T | str:
        """The answer of a member's KV service, or its refusal."""

        async def main() -> T | str:
            channel = self.host.network.channel(f"{member}:2379")
            try:
                return await call(KVStub(channel))
            except aio.AioRpcError as error:
                return error.details() or error.code().name
            finally:
                await channel.close(None)

        return self.run(main)

    def put(self, member: str, key: bytes, value: bytes = b"", **metadata: str) -> int | str:
        """The revision, or why it was refused."""
        request = etcd.PutRequest(key=key, value=value)
        answer = self.ask(member, lambda kv: kv.Put(request, metadata=tuple(metadata.items()), timeout=20))
        return answer if isinstance(answer, str) else answer.header.revision

    def put_again(self, member: str, key: bytes, value: bytes = b"") -> int:
        """The revision of a put that is repeated each second: a member hands what it takes to a leader that is lost."""
        request = etcd.PutRequest(key=key, value=value)
        for _ in range(10):
            answer = self.ask(member, lambda kv: kv.Put(request, timeout=1))
            if not isinstance(answer, str):
                return int(answer.header.revision)
        raise AssertionError(answer)

    def get(self, member: str, key: bytes, *, serializable: bool = False) -> bytes | str | None:
        """The value, None if there is none, or why it was refused."""
        request = etcd.RangeRequest(key=key, serializable=serializable)
        answer = self.ask(member, lambda kv: kv.Range(request, timeout=20))
        if isinstance(answer, str):
            return answer
        return answer.kvs[0].value if answer.kvs else None

    def status(self, member: str) -> etcd.StatusResponse | None:
        """Returns the member's status; None if it does not answer."""

        async def main() -> etcd.StatusResponse | None:
            channel = self.host.network.channel(f"{member}:2379")
            try:
                answer: etcd.StatusResponse = await MaintenanceStub(channel).Status(etcd.StatusRequest(), timeout=1)
            except aio.AioRpcError:
                return None
            finally:
                await channel.close(None)
            return answer

        return self.run(main)

    def leader(self) -> str:
        """The member that says that it leads, in the newest term; "": none does."""
        told = {member: self.status(member) for member in MEMBERS if self.cluster.is_running(member)}
        terms = {
            member: status.raftTerm
            for member, status in told.items()
            if status is not None and status.leader == status.header.member_id
        }
        return max(terms, key=lambda member: terms[member], default="")

    def watches(self, member: str) -> Any:
        """The member's watch service."""
        return WatchStub(self.host.network.channel(f"{member}:2379"))
