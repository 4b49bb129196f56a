"""One member of a simulated etcd: its place in the Raft group, and how long its clients wait for that."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rube.api.errors import RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.group import Member as GroupMember
from rube.host import Engine, Host
from rube.sim.etcd import apply, errors
from rube.sim.etcd.config import MemberConfig
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.keyspace import Keyspace
from rube.sim.etcd.machine import EtcdMachine
from rube.sim.etcd.raft_internal_pb2 import InternalRaftRequest
from rube.sim.etcd.requests import REQUEST_BYTES_MAX
from rube.store.etcd.rpc_pb2 import NOSPACE, AlarmRequest, AlarmType, PutRequest, ResponseHeader, TxnRequest


class Member:
    """One incarnation, from `open` to `close`. Requests come from `rube.sim.etcd.kv` and its siblings."""

    def __init__(self, host: Host, engine: Engine, config: MemberConfig) -> None:
        """The parts that `open` has made; call that instead."""
        self.config = config
        self.clock = host.clock
        self._applied = asyncio.Event()
        self._machine = EtcdMachine(engine, self._wake, keeps_compacted_deletes=config.quirks.keeps_compacted_deletes)
        self._group: GroupMember
        self._following: asyncio.Task[None]
        # Has a result, and is replaced, when another leader is known.
        self._led: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # When this member learned of a leader, and since when it has known none; 0: never, and it knows one.
        self._led_ns = 0
        self._leaderless_ns = self.clock.monotonic_ns()

    @classmethod
    async def open(cls, host: Host, engine: Engine, config: MemberConfig, listen: str) -> Member:
        """Takes part in the etcd, once all of its first members have met. Raises what `rube.group.Member.open` does."""
        member = cls(host, engine, config)
        member._group = await GroupMember.open(host, engine, member._machine, config.in_group(host, listen))
        member._following = asyncio.create_task(member._follow_leader(), name="leader")
        return member

    async def close(self) -> None:
        await _end(self._following)
        await self._group.close()

    async def ready(self) -> None:
        """Returns once this member has all that a leader has committed: before, an etcd serves no client.

        Raises what the member fails with.
        """
        while True:
            try:
                return await self._group.read_barrier()
            except UnavailableError:  # no quorum yet
                await self.clock.sleep(self.config.timing.election_timeout_s)

    async def failed(self) -> RubeError:
        """Returns, once this member cannot go on, why. Raises what following the leader has failed with."""
        ends: tuple[asyncio.Future[Any], ...] = (self._group.failed, self._following)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._following.done():
            self._following.result()
        return self._group.failed.result()

    @property
    def keyspace(self) -> Keyspace:
        return self._machine.keyspace

    @property
    def alarms(self) -> list[tuple[int, AlarmType.ValueType]]:
        return self._machine.alarms

    @property
    def id(self) -> int:
        return self._group.id

    @property
    def leader(self) -> int:
        """The id of the leader that it knows; 0: none."""
        return self._group.leader

    @property
    def leaderless_s(self) -> float:
        """The time for which it has known no leader."""
        return (self.clock.monotonic_ns() - self._leaderless_ns) / NS_PER_S if self._leaderless_ns else 0.0

    @property
    def indexes(self) -> tuple[int, int]:
        """The log's last committed entry, and the last that is applied here."""
        described = self._group.describe()
        return described.committed, described.applied

    def header(self, revision: int | None = None) -> ResponseHeader:
        return ResponseHeader(
            cluster_id=zlib.crc32(self._group.group_id.encode()),
            member_id=self.id,
            revision=self.keyspace.revision if revision is None else revision,
            raft_term=self._group.term,
        )

    async def write(self, request: InternalRaftRequest) -> Any:
        """The answer to a request that goes through the log. Raises EtcdError."""
        data = request.SerializeToString(deterministic=True)
        if len(data) > REQUEST_BYTES_MAX:
            raise errors.request_too_large()
        begun_ns = self.clock.monotonic_ns()
        try:
            async with self._in_time():
                outcome = await self._group.propose(data, again=False)
        except TimeoutError as error:
            if begun_ns < self._led_ns < begun_ns + 2 * self.config.timing.election_timeout_s * NS_PER_S:
                raise errors.timed_out_by_leader_failure() from error
            raise errors.timed_out() from error
        if isinstance(outcome, EtcdError):
            raise outcome
        return outcome

    async def check_room(self, request: PutRequest | TxnRequest) -> None:
        """Raises the alarm, and EtcdError, if the quota does not let a request in."""
        cost = apply.cost_bytes(request)
        if cost and self.keyspace.size_bytes + cost >= self.config.quota_bytes:
            alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=self.id, alarm=NOSPACE)
            await self.write(InternalRaftRequest(alarm=alarm))
            raise errors.no_space()

    async def catch_up(self) -> None:
        """Returns once this member has applied all that was acknowledged before. Raises EtcdError, also when another
        leader is elected meanwhile."""
        reading = asyncio.create_task(self._read_barrier(), name="read")
        try:
            await asyncio.wait({reading, self._led}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise errors.leader_changed()
            await reading
        except TimeoutError as error:
            raise errors.timed_out() from error
        finally:
            await _end(reading)

    async def changed(self) -> None:
        """Returns after the next entry was applied."""
        await self._applied.wait()

    # Inside

    async def _read_barrier(self) -> None:
        async with self._in_time():
            await self._group.read_barrier()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Raises TimeoutError after a request's time. A request that its leader has lost ends then, too."""
        timeout_s = self.config.timing.request_timeout_s
        async with self.clock.timeout(timeout_s):
            try:
                yield
            except RubeError as error:
                await self.clock.sleep(timeout_s)
                raise TimeoutError from error

    async def _follow_leader(self) -> None:
        known = 0
        while True:
            leader, now_ns = self.leader, self.clock.monotonic_ns()
            if leader and leader != known:
                self._led_ns = now_ns
                waiting, self._led = self._led, asyncio.get_running_loop().create_future()
                waiting.set_result(None)
            self._leaderless_ns = 0 if leader else self._leaderless_ns or now_ns
            known = leader
            await self._group.led()

    def _wake(self) -> None:
        waiting, self._applied = self._applied, asyncio.Event()
        waiting.set()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancels a task, and returns once it has ended."""
    task.cancel()
    await asyncio.wait([task])
