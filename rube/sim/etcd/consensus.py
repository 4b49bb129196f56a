"""A member's part in the replicated log: it leads or follows, and tells what is committed.

The log goes from the leader to the others by messages, is durable on a majority before it is committed, and an entry
of an older term is committed only with one of the leader's own (the Raft paper, 5.3 and 5.4.2).
"""

from __future__ import annotations

import asyncio
import logging
import random  # noqa: TID251 (the type of a stream)
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpc import aio

from rube.host import Clock
from rube.sim.etcd import errors
from rube.sim.etcd.log import Log
from rube.sim.etcd.peer_pb2 import AppendRequest, AppendResponse, Entry, ReadIndexRequest
from rube.sim.etcd.referee import Referee

if TYPE_CHECKING:
    from rube.sim.etcd.peer_pb2_grpc import PeerAsyncStub

_LOG = logging.getLogger("rube.sim.etcd")

TICK_S = 0.1
POLL_S = 0.01
APPEND_ENTRIES_MAX = 64
APPEND_BYTES_MAX = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """etcd's defaults."""

    # A member that hears of no leader for so long, or up to twice as long, stands for election.
    election_timeout_s: float = 1.0
    # How long a request waits until it is committed.
    request_timeout_s: float = 7.0


class Consensus:
    """Of one incarnation of one member. `run` does the work; the rest is asked and told in between."""

    def __init__(
        self,
        name: str,
        log: Log,
        referee: Referee,
        peers: Mapping[str, PeerAsyncStub],
        *,
        clock: Clock,
        chance: random.Random,
        timing: Timing,
    ) -> None:
        """`peers`: the other members."""
        self._name = name
        self._log = log
        self._referee = referee
        self._peers = peers
        self._clock = clock
        self._timing = timing
        self._patience_s = timing.election_timeout_s * (1 + chance.random())
        self._silent_s = 0.0
        # Not 0: it leads in this term.
        self._leading_term = 0
        # The leader that it knows; empty: none.
        self.leader = ""
        self.term = 0
        self.committed_index = 0
        # While it leads: so much of each member's log is known to be durable.
        self._durable: dict[str, int] = {}
        self._progress = asyncio.Event()
        self._appending = asyncio.Lock()
        referee.joined(name, log)

    @property
    def leaderless_s(self) -> float:
        """For how long it has known no leader."""
        return max(self._silent_s - self._patience_s, 0.0) if not self.leader else 0.0

    async def run(self) -> None:
        """Takes part until cancelled. Raises what the engine raises: a member without its disk is none."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._log.persist())
            group.create_task(self._count_own())
            for peer in self._peers:
                group.create_task(self._replicate(peer))
            while True:
                self._tick()
                await self._clock.sleep(TICK_S)

    async def advanced(self, index: int) -> None:
        """Returns once more than `index` is committed."""
        while self.committed_index <= index:
            await self._progress.wait()

    # What a member's clients ask for

    async def propose(self, entry: Entry) -> None:
        """Hands an entry to the leader. It is committed, or lost without a word, as with Raft."""
        await self._until(lambda: bool(self.leader))
        if self._leading_term:
            self.take(entry)
            return
        try:
            await self._peers[self.leader].Propose(entry, timeout=self._timing.request_timeout_s)
        except aio.AioRpcError as error:
            _LOG.debug("%s: the leader %s did not take a proposal: %s", self._name, self.leader, error.details())

    def take(self, entry: Entry) -> None:
        """Puts an entry into the log if this member leads; otherwise it is lost."""
        if self._leading_term:
            entry.term = self._leading_term
            self._log.add(entry)
            self._moved()

    async def read_index(self) -> int:
        """What a read must have seen to be consistent. Raises EtcdError if the leader changes meanwhile."""
        await self._until(lambda: bool(self.leader))
        if self._leading_term:
            return await self.own_read_index()
        try:
            response = await self._peers[self.leader].ReadIndex(
                ReadIndexRequest(), timeout=self._timing.request_timeout_s
            )
        except aio.AioRpcError as error:
            raise errors.leader_changed() from error
        return response.index

    async def own_read_index(self) -> int:
        """As the leader: once it is sure that it still leads, and has committed something in its own term."""
        term = self._leading_term
        await self._until(
            lambda: (
                self._leading_term != term
                or (self._referee.holds(self._name, term) and self._log.term_of(self.committed_index) == term)
            )
        )
        if not term or self._leading_term != term:
            raise errors.leader_changed()
        return self.committed_index

    # What the leader tells

    async def append(self, request: AppendRequest) -> AppendResponse:
        """Takes up a leader's entries; answers when they are durable."""
        async with self._appending:
            if request.term < max(self._referee.promised(self._name), self.term):
                return AppendResponse(accepted=False, last_index=self._log.last_index)
            self.term = request.term
            if self._leading_term:
                self._leading_term, self.leader = 0, ""
            if self._log.term_of(request.previous_index) != request.previous_term:
                known = min(self._log.last_index, max(request.previous_index, 1) - 1)
                return AppendResponse(accepted=False, last_index=known)
            assert all(
                self._log.term_of(entry.index) == entry.term
                for entry in request.entries
                if entry.index <= self.committed_index
            ), "a leader would replace what is committed"
            self._log.merge(request.entries)
            last_index = request.previous_index + len(request.entries)
            await self._log.durable(last_index)
            if request.term < self._referee.promised(self._name):
                return AppendResponse(accepted=False, last_index=self._log.last_index)
            self._commit(min(request.committed, last_index))
            return AppendResponse(accepted=True, last_index=last_index)

    # Inside

    def _tick(self) -> None:
        if self._leading_term:
            self._check_own_lead()
            return
        self.leader = self._referee.leader_seen_by(self._name) or (self.leader if self._waits() else "")
        if self._referee.leader_seen_by(self._name):
            self._silent_s = 0.0
            return
        self._silent_s += TICK_S
        # One that is alone has nobody to wait for.
        if (not self._waits() or not self._peers) and (term := self._referee.elect(self._name)):
            self._lead(term)

    def _waits(self) -> bool:
        """Whether the leader was heard of so lately that it may only be slow."""
        return self._silent_s < self._patience_s

    def _lead(self, term: int) -> None:
        _LOG.info("%s leads in term %d", self._name, term)
        self._leading_term = self.term = term
        self.leader = self._name
        self._silent_s = 0.0
        self._durable = dict.fromkeys(self._referee.members, 0)
        self._log.add(Entry(term=term))
        self._moved()

    def _check_own_lead(self) -> None:
        """A leader that reaches no majority for an election's timeout stops leading (check-quorum)."""
        if self._referee.holds(self._name, self._leading_term):
            self._silent_s = 0.0
            return
        self._silent_s += TICK_S
        hears_of_another = self._referee.leader_seen_by(self._name) not in ("", self._name)
        if self._silent_s >= self._timing.election_timeout_s or hears_of_another:
            _LOG.info("%s leads no more", self._name)
            self._referee.resign(self._name)
            self._leading_term, self.leader = 0, ""
            self._moved()

    async def _count_own(self) -> None:
        """What is durable here counts as well."""
        while True:
            term, index = self._leading_term, self._log.last_index
            if term and self._durable[self._name] < index:
                await self._log.durable(index)
                self._acknowledged(self._name, term, min(index, self._log.durable_index))
            else:
                await self._progress_made()

    async def _replicate(self, peer: str) -> None:
        """Keeps one other member's log like this one's while this member leads."""
        term, next_index, told_index = 0, 1, 0
        while True:
            if not self._leading_term:
                await self._progress_made()
                continue
            if term != self._leading_term:
                term, next_index, told_index = self._leading_term, self._log.last_index, -1
            if next_index > self._log.last_index and told_index == self.committed_index:
                await self._progress_made()
                continue
            entries = self._log.after(next_index - 1, entries_max=APPEND_ENTRIES_MAX, bytes_max=APPEND_BYTES_MAX)
            committed = self.committed_index
            request = AppendRequest(
                term=term,
                previous_index=next_index - 1,
                previous_term=self._log.term_of(next_index - 1),
                entries=entries,
                committed=committed,
            )
            try:
                response = await self._peers[peer].Append(request, timeout=self._timing.election_timeout_s)
            except aio.AioRpcError:
                await self._clock.sleep(TICK_S)
                continue
            if response.accepted:
                next_index, told_index = response.last_index + 1, committed
                self._acknowledged(peer, term, response.last_index)
            elif next_index > response.last_index + 1:
                next_index = response.last_index + 1
            else:
                await self._clock.sleep(TICK_S)  # it knows a newer leader

    def _acknowledged(self, member: str, term: int, index: int) -> None:
        if term != self._leading_term:
            return
        self._durable[member] = max(self._durable[member], index)
        agreed = sorted(self._durable.values(), reverse=True)[self._referee.majority - 1]
        if self._log.term_of(agreed) == term:
            self._commit(agreed)

    def _commit(self, index: int) -> None:
        if index > self.committed_index:
            self.committed_index = index
            self._moved()

    def _moved(self) -> None:
        waiting, self._progress = self._progress, asyncio.Event()
        waiting.set()

    async def _progress_made(self) -> None:
        await self._progress.wait()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._clock.sleep(POLL_S)
