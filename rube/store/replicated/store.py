"""The replicated store: one member's view of the group's state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from rube.api.errors import RubeError
from rube.group import Member, MemberConfig
from rube.host import Engine, Host
from rube.store.config import StoreConfig
from rube.store.mvcc.compaction import delete_superseded
from rube.store.mvcc.evaluate import check_txn
from rube.store.mvcc.writer import Committed, GroupWriter
from rube.store.ports import ChangeBatch, Lookup, Page, StoreLimits, Txn
from rube.store.replicated.machine import StoreMachine, encode_compaction, encode_txns

_LOG = logging.getLogger("rube.store")

GROUPS_IN_FLIGHT_MAX = 4
"""Proposals of this member in flight: the group replicates one while it makes another one durable."""
FURTHER_GROUP_TXNS_MIN = 32


class ReplicatedStore:
    """A `rube.store.Store` on one member of a group; any member takes reads, watches and commits.

    Reads are linearizable: the member first asks the leader how far it must have come. After a failure of the member
    (`failed`) nothing is acknowledged any more.
    """

    def __init__(self, host: Host, engine: Engine, config: StoreConfig) -> None:
        """The parts that `open` has made; call that instead."""
        self._clock = host.clock
        self._engine = engine
        self._config = config
        self._superseded = asyncio.Event()
        self._machine = StoreMachine(engine, host.clock, config, self._superseded.set)
        self._member: Member | None = None
        self._writer: GroupWriter | None = None
        self._compaction: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, host: Host, engine: Engine, member: MemberConfig, config: StoreConfig) -> ReplicatedStore:
        """Joins the group and takes part; closes the engine if that fails. Errors: see `Member.open`."""
        store = cls(host, engine, config)
        try:
            store._member = await Member.open(host, engine, store._machine, member)
        except BaseException:
            await engine.close()
            raise
        store._writer = GroupWriter(
            store._commit_group,
            groups_in_flight_max=GROUPS_IN_FLIGHT_MAX,
            further_group_txns_min=FURTHER_GROUP_TXNS_MIN,
        )
        store._compaction = asyncio.get_running_loop().create_task(store._compact(), name="compaction")
        return store

    @property
    def member(self) -> Member:
        """This member of the group."""
        assert self._member is not None, "the store is open"
        return self._member

    async def failed(self) -> RubeError:
        """Returns once this member cannot go on: it was removed, its disk failed, or its state differs from the
        group's."""
        return await asyncio.shield(self.member.failed)

    @property
    def limits(self) -> StoreLimits:
        return self._config.limits

    @property
    def store_id(self) -> str:
        return self._machine.state.store_id

    @property
    def revision(self) -> int:
        return self._machine.state.revision

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        if not serializable:
            await self._catch_up(min_revision)
        found = await self._machine.versions.get(keys, min_revision=min_revision)
        return found._replace(serializable=serializable)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        if not 0 < revision <= self.revision:  # all members have the same state at a revision
            await self._catch_up(max(revision, min_revision))
        return await self._machine.versions.range(start, end, revision=revision, min_revision=min_revision, limit=limit)

    async def commit(self, txn: Txn) -> int:
        assert self._writer is not None, "the store is open"
        return await self._writer.commit(txn, check_txn(txn, self._config.limits))

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncGenerator[ChangeBatch]:
        if after_revision > self.revision:
            await self._catch_up(after_revision)
        async for batch in self._machine.versions.watch(start, end, after_revision=after_revision):
            yield batch

    async def compact(self, revision: int) -> None:
        await self._catch_up(revision)
        self._machine.versions.check_reached(revision)
        await self.member.propose(encode_compaction(revision))

    async def close(self) -> None:
        assert self._writer is not None
        assert self._compaction is not None
        await self._writer.close()
        self._machine.versions.close()
        self._compaction.cancel()
        await asyncio.wait([self._compaction])
        await self.member.close()
        await self._engine.close()

    async def _commit_group(self, txns: Sequence[Txn]) -> Committed:
        before = self.revision
        outcomes = await self.member.propose(encode_txns(txns))
        return Committed(outcomes, wrote=self.revision > before)

    async def _compact(self) -> None:
        """Deletes the rows that compactions have made invisible; each member does so by itself."""
        while True:
            await self._superseded.wait()
            self._superseded.clear()
            state = self._machine.state
            try:
                await delete_superseded(self._engine, state.index, self._clock, state.compact_revision)
            except RubeError as error:
                _LOG.warning("compacted rows are deleted later: %s", error.message)

    async def _catch_up(self, revision: int) -> None:
        """Waits until this member has all that was acknowledged. Raises RevisionAheadError if that is less than
        `revision`."""
        self._machine.versions.check_open()
        await self.member.read_barrier()
        self._machine.versions.check_reached(revision)
