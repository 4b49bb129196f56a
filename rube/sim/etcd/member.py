"""One member of a simulated etcd: the log's entries applied in their order, and those who wait for them."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from rube.api.errors import DataLossError, ResourceExhaustedError
from rube.host import Host
from rube.sim.etcd import apply, errors
from rube.sim.etcd.consensus import Consensus, Timing
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.keyspace import Keyspace
from rube.sim.etcd.log import Log
from rube.sim.etcd.peer_pb2 import Entry
from rube.sim.etcd.peer_pb2_grpc import PeerStub
from rube.sim.etcd.referee import Referee
from rube.sim.etcd.requests import REQUEST_BYTES_MAX
from rube.store.etcd.rpc_pb2 import (
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    CompactionResponse,
    PutRequest,
    ResponseHeader,
    TxnRequest,
)

if TYPE_CHECKING:
    from rube.sim.etcd.peer_pb2_grpc import PeerAsyncStub

_LOG = logging.getLogger("rube.sim.etcd")

CLIENT_PORT = 2379
PEER_PORT = 2380
DATA_URL = "memory:/var/lib/etcd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What etcd 3.4.23 does against its own promises, seen from a real one. Its users run it, so it is the default."""

    # A progress response that was asked for may overtake events that it claims to cover (etcd #15220).
    progress_overtakes: bool = True
    # A watch from the compacted revision may be told a delete at that revision, without its previous value.
    keeps_compacted_deletes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """One member. The defaults are etcd's own."""

    name: str
    # Where each member, this one too, listens for the others; by its name.
    peers: Mapping[str, str] = field(default_factory=dict)
    data_url: str = DATA_URL
    quota_bytes: int = 2 * 1024**3
    timing: Timing = field(default_factory=Timing)
    quirks: Quirks = field(default_factory=Quirks)
    # How often watches that are behind are looked after.
    sync_interval_s: float = 0.1
    # Passwords by user; not empty: every request needs a token.
    users: Mapping[str, str] = field(default_factory=dict)


Outcome = Message | EtcdError


class Member:
    """One incarnation. `run` takes part in the cluster; requests come from `rube.sim.etcd.kv` and its siblings."""

    def __init__(self, host: Host, config: MemberConfig, referee: Referee) -> None:
        self.config = config
        self.clock = host.clock
        self.keyspace = Keyspace(keeps_compacted_deletes=config.quirks.keeps_compacted_deletes)
        self.id = member_id(config.name)
        # Sorted.
        self.alarms: list[tuple[int, AlarmType.ValueType]] = []
        self.applied_index = 0
        self._host = host
        self._referee = referee
        self._chance = host.random.stream("etcd")
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._applied = asyncio.Event()
        self.consensus: Consensus
        self.log: Log

    async def run(self, serve: Callable[[], Any]) -> None:
        """Opens the log, takes part, and serves within the context that `serve()` gives, until cancelled.

        Returns, as etcd ends its process, once the disk fails or is full.
        """
        try:
            engine = await self._host.storage.open(self.config.data_url)
        except (DataLossError, ResourceExhaustedError) as error:
            _LOG.critical("%s ends: %s", self.config.name, error)
            return
        channels = {
            name: self._host.network.channel(address)
            for name, address in self.config.peers.items()
            if name != self.config.name
        }
        stubs: dict[str, PeerAsyncStub] = {name: PeerStub(channel) for name, channel in channels.items()}
        self.log = Log(engine)
        self.consensus = Consensus(
            self.config.name,
            self.log,
            self._referee,
            stubs,
            clock=self.clock,
            chance=self._chance,
            timing=self.config.timing,
        )
        try:
            async with serve(), asyncio.TaskGroup() as group:
                group.create_task(self.consensus.run())
                group.create_task(self._apply())
        except* (DataLossError, ResourceExhaustedError) as failures:
            _LOG.critical("%s ends: %s", self.config.name, _first_of(failures))
        finally:
            for channel in channels.values():
                await channel.close(None)
            await engine.close()

    def header(self, revision: int | None = None) -> ResponseHeader:
        return ResponseHeader(
            cluster_id=zlib.crc32(" ".join(self._referee.members).encode()),
            member_id=self.id,
            revision=self.keyspace.revision if revision is None else revision,
            raft_term=self.consensus.term,
        )

    @property
    def has_space(self) -> bool:
        return all(alarm != NOSPACE for _, alarm in self.alarms)

    async def write(self, entry: Entry) -> Any:
        """The answer to a request that goes through the log. Raises EtcdError."""
        entry.id = self._chance.getrandbits(63)
        if entry.ByteSize() > REQUEST_BYTES_MAX:
            raise errors.request_too_large()
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[entry.id] = done
        try:
            async with self._patiently():
                await self.consensus.propose(entry)
                outcome = await done
        finally:
            del self._waiting[entry.id]
        if isinstance(outcome, EtcdError):
            raise outcome
        return outcome

    async def check_room(self, request: PutRequest | TxnRequest) -> None:
        """Raises the alarm, and EtcdError, if the quota does not let a request in."""
        cost = apply.cost_bytes(request)
        if cost and self.keyspace.size_bytes + cost >= self.config.quota_bytes:
            alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=self.id, alarm=NOSPACE)
            await self.write(Entry(alarm=alarm))
            raise errors.no_space()

    async def catch_up(self) -> None:
        """Returns once this member has applied all that was acknowledged before. Raises EtcdError."""
        async with self._patiently():
            index = await self.consensus.read_index()
            while self.applied_index < index:
                await self._applied.wait()

    async def changed(self) -> None:
        """Returns after the next entry was applied."""
        await self._applied.wait()

    @asynccontextmanager
    async def _patiently(self) -> AsyncIterator[None]:
        leader = self.consensus.leader
        try:
            async with self.clock.timeout(self.config.timing.request_timeout_s):
                yield
        except TimeoutError as error:
            if leader and leader != self.consensus.leader:
                raise errors.timed_out_by_leader_failure() from error
            raise errors.timed_out() from error

    async def _apply(self) -> None:
        while True:
            while self.applied_index < self.consensus.committed_index:
                entry = self.log.entries[self.applied_index]
                outcome = self._outcome(entry)
                self.applied_index = entry.index
                done = self._waiting.get(entry.id)
                if done is not None and not done.done():
                    done.set_result(outcome)
                waiting, self._applied = self._applied, asyncio.Event()
                waiting.set()
            await self.consensus.advanced(self.applied_index)

    def _outcome(self, entry: Entry) -> Outcome:
        """Carries out an entry: the same on every member."""
        keyspace, kind = self.keyspace, entry.WhichOneof("request")
        try:
            if kind == "put":
                self._check_space(entry.put)
                return apply.put(keyspace, entry.put)
            if kind == "txn":
                self._check_space(entry.txn)
                return apply.txn(keyspace, entry.txn)
            if kind == "delete_range":
                return apply.delete_range(keyspace, entry.delete_range)
            if kind == "compaction":
                keyspace.compact(entry.compaction.revision)
                return CompactionResponse(header=ResponseHeader(revision=keyspace.revision))
            if kind == "alarm":
                return self._alarm(entry.alarm)
        except EtcdError as error:
            return error
        finally:
            keyspace.commit()
        return ResponseHeader()

    def _check_space(self, request: PutRequest | TxnRequest) -> None:
        if not self.has_space and apply.cost_bytes(request):
            raise errors.no_space()

    def _alarm(self, request: AlarmRequest) -> AlarmResponse:
        alarm = (request.memberID, request.alarm)
        told = []
        if request.action == AlarmRequest.ACTIVATE:
            told = [alarm]
            self.alarms = sorted({*self.alarms, alarm})
        elif alarm in self.alarms:
            told = [alarm]
            self.alarms.remove(alarm)
        return AlarmResponse(alarms=[AlarmMember(memberID=member, alarm=kind) for member, kind in told])


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def member_id(name: str) -> int:
    """A member's number, from its name."""
    return zlib.crc32(name.encode()) + 1
