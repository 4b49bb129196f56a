"""The loop around a member's Raft core: feeds it time, messages and storage results, and carries out its output."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress

from rube.api.errors import NotDoneError, RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.group.applying import AppliedState
from rube.group.config import MemberConfig
from rube.group.group_pb2 import Applied, Batch, Command, Digest, Identity, Piece
from rube.group.incarnations import DoubledError
from rube.group.log import DurableLog
from rube.group.machine import StateMachine
from rube.group.outgoing import Outgoing
from rube.group.peers import Link, Links
from rube.group.pending import Proposals, Reads
from rube.group.reachability import Reachability
from rube.group.records import APPLIED_KEY, read
from rube.group.snapshot_sender import SnapshotSender
from rube.group.snapshots import Staging
from rube.group.storage import StorageParts, StorageWriter
from rube.group.termination import RemovedError, Termination
from rube.host import Engine, Host
from rube.raft.config import APPEND_THREAD, APPLY_THREAD
from rube.raft.errors import (
    ConfChangeInvalidError,
    LocalMessageError,
    ProposalDroppedError,
    ProposalTooLargeError,
    UnknownPeerError,
)
from rube.raft.node import RawNode
from rube.raft.raft_pb2 import (
    MSG_PROP,
    Entry,
    Message,
    SnapshotMetadata,
)

_LOG = logging.getLogger("rube.group")
# Errors that refuse a single message: its sender is not a member any more, or there is no leader.
_HARMLESS = (ConfChangeInvalidError, UnknownPeerError, ProposalDroppedError, ProposalTooLargeError, LocalMessageError)
# A leader checks its disk once in so many ticks.
_DISK_TICKS = 5


class Core:
    """One member's Raft core and everything around it. All of it runs on one loop; only storage and network wait.

    Invariant: a caller gets a command's outcome only after its entry is committed, which means that a quorum has it on
    disk.
    """

    def __init__(
        self, host: Host, engine: Engine, machine: StateMachine, config: MemberConfig, identity: Identity
    ) -> None:
        self.config = config
        self.identity = identity
        self._clock = host.clock
        self.termination = Termination(config.name, self._end_waiting)
        applied = read(engine, APPLIED_KEY, Applied) or Applied()
        self.state = AppliedState(applied, machine, identity, config.name)
        self.proposals = Proposals(host.random.stream("replica/proposer").getrandbits(63) | 1)
        self.reads = Reads(self.proposals.proposer)
        # The last entry that may have been in a leader's log when the last removal was applied.
        self._unsettled = 0
        self._round_ns = 0
        self._staging = Staging(engine, machine.ranges)
        log = DurableLog(engine, applied.conf_state, self._snapshot_point)
        self._sender = SnapshotSender(host.clock, engine, config, machine.ranges)
        self._storage = StorageWriter(
            StorageParts(
                engine=engine,
                clock=host.clock,
                config=config,
                machine=machine,
                group_id=identity.group_id,
                log=log,
                staging=self._staging,
                log_needed_after=self._sender.log_needed_after,
                newest=self.state.to_message,
            ),
            applied,
        )
        random_below = host.random.stream("replica/elections").randrange
        self.node = RawNode(config.core(identity.id, log, random_below, applied.index))
        self._tell_where_it_goes_on()
        incarnation = self.proposals.proposer
        self._links = Links(host, config, identity, incarnation, self.receive, self._refused, self.termination.fail)
        self.reach = Reachability(host, config, identity.id, self.node, self._links)
        self._outgoing = Outgoing(config, identity.group_id, self.node, self._links, self._sender, self._snapshot_sent)
        self._advancing = False
        self._installing = False
        self._ticks = 0
        # Set and replaced with every change of the leader.
        self._led = asyncio.Event()

    # Queries and calls of the member

    @property
    def leads(self) -> bool:
        return self.node.is_leader

    @property
    def leader(self) -> int:
        return self.node.raft.leader

    @property
    def removed(self) -> Sequence[int]:
        """Ids of removed members whose vote no member can need any more. Empty unless this member leads."""
        return self.state.roster.removed if self.leads and self.settled else ()

    @property
    def settled(self) -> bool:
        """True if this leader's quorum has on disk that the last removal is committed.

        An entry that was proposed after the removal was applied carries that commit index: a member that has
        the entry on disk has the commit index there too.
        """
        return self.state.term == self.node.raft.term and self.state.index > self._unsettled

    def check_room(self) -> None:
        """Raises UnavailableError while the disk is full: this member applies nothing then, so it cannot answer."""
        if self._storage.full_since_ns:
            name = self.config.name
            raise NotDoneError(f"the disk of member {name!r} is full: free some space there, or ask another member")

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    async def sleep(self, delay_s: float) -> None:
        await self._clock.sleep(delay_s)

    async def led(self) -> None:
        """Returns at the next change of the leader."""
        await self._led.wait()

    def link(self, member: int) -> Link | None:
        return self._links.get(member)

    def ask_round(self) -> None:
        """Starts a read-index round for the waiting reads, unless a round is under way that may still be answered."""
        late = self._clock.monotonic_ns() - self._round_ns > self.config.election_s * NS_PER_S
        context = self.reads.start_round(again=late)
        if context:
            self._round_ns = self._clock.monotonic_ns()
            if self.config.observer is not None:
                self.config.observer.read_asked(context)
            self.node.read_index(context)
            self.advance()

    # Input from other members

    def receive(self, sender: int, batch: Batch) -> None:
        """Handles messages of another member."""
        if self.termination.over:
            return
        if batch.HasField("digest"):
            self._digest(sender, batch.digest)
        for message in batch.messages:
            if message.type != MSG_PROP or self._takes(message):
                self._step(message)
        self.advance()

    def _digest(self, sender: int, digest: Digest) -> None:
        try:
            if self.leads:
                self.state.digests.told(sender, digest)
            elif sender == self.leader:
                self.state.digests.judge(digest)
        except Exception as error:
            self.termination.fail(error)
            raise

    def _takes(self, proposal: Message) -> bool:
        """Returns whether this member leads the term of the proposal.

        Only that leader may take it: the proposer may have tried again in a later term.
        """
        term, proposal.term = proposal.term, 0
        return self.leads and term == self.node.raft.term

    async def batches(self, subscriber: int, address: str, incarnation: int) -> AsyncGenerator[Batch]:
        """Yields messages for another member, whose process subscribes from that address. Raises DoubledError."""
        self.termination.check()
        self._links.subscribes(subscriber, address, incarnation)
        link = self._links.get(subscriber)
        if link is None and subscriber not in self.state.roster.removed:
            link = self._links.meet(subscriber, address)
        if link is None:
            raise UnavailableError(f"member {subscriber:x} is not known here yet: try again")
        told: Digest | None = None
        with link.pending.subscribed() as subscription:
            while True:
                messages = await link.pending.batch(subscription)
                newest = self.state.digests.agreed if self.leads else self.state.digests.newest
                yield Batch(messages=messages, digest=None if newest is told else newest)
                told = newest

    async def stage(self, piece: Piece) -> int:
        """Stages a piece of a snapshot and returns the number of staged pairs. The last piece starts the installation.

        Raises UnavailableError if the leader of an earlier term sent it.
        """
        async with self._staging.lock:
            self.termination.check()
            if piece.message.term < self.node.raft.term:
                raise UnavailableError(f"a snapshot of term {piece.message.term}, and this is {self.node.raft.term}")
            pairs = await self._staging.take(piece)
            if self._staging.complete(piece.message.snapshot.metadata) is not None:
                self._installing = False
                self._step(piece.message)
                self.advance()
                if not self._installing:
                    await self._staging.clear()  # outdated: this member has applied more meanwhile
            return pairs

    def advance(self) -> None:
        """Carries out everything that the Raft core asks for by now."""
        self.termination.check()
        if self._advancing:
            return
        self._advancing = True
        try:
            self._drain()
        except _HARMLESS:
            raise
        except Exception as error:
            self.termination.fail(error)
            raise
        finally:
            self._advancing = False

    # Lifecycle

    async def run(self) -> None:
        """Takes part in the group until cancelled or until the member fails; `termination` has the reason."""
        try:
            self._links.follow(self.state.roster.peers)
            self.advance()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick())
                group.create_task(self._storage.run(self))
                group.create_task(self.termination.failure())  # a failure anywhere ends the other tasks
        except* Exception as group_error:
            for error in _leaves(group_error):
                self.termination.fail(error)
        finally:
            self.termination.stop()
            await self._sender.close()
            await self._links.close()

    def _end_waiting(self, why: str) -> None:
        """Fails the waiting calls. Other members may still carry out a proposal, so its outcome is unknown."""
        self.proposals.fail(UnavailableError(f"{why}; it may have been done: ask another one", unknown="true"))
        self.reads.fail(why)

    async def flush(self) -> None:
        """Writes what was applied. Call it after `run`."""
        await self._storage.flush()

    # Internals

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self.config.tick_s)
            self.node.tick()
            self._storage.tick()
            self._look_after_proposals()
            self.ask_round()
            self._ticks += 1
            if self._ticks % _DISK_TICKS == 0:
                self._look_at_disk()
            self.advance()

    def _look_after_proposals(self) -> None:
        """Proposes an empty command after proposals that have waited long.

        A broken connection or a leader's limits may have lost them; the outcome of a later proposal decides theirs
        (`Proposals.applied`).
        """
        now_ns = self._clock.monotonic_ns()
        self.proposals.expire(now_ns)
        number = self.proposals.mark(now_ns, round(self.config.election_s * NS_PER_S))
        if number and self.reach.leader():
            with suppress(ProposalDroppedError):
                self.node.propose(self.proposals.command(number, Command()))

    def _look_at_disk(self) -> None:
        """Transfers the leadership away from a leader that cannot write."""
        since_ns = self._storage.full_since_ns
        late = since_ns and self._clock.monotonic_ns() - since_ns > self.config.election_s * NS_PER_S
        if self.leads and late and (successor := self.reach.best_successor()):
            self.node.transfer_leader(successor)

    def _step(self, message: Message) -> None:
        try:
            self.node.step(message)
        except _HARMLESS as error:
            _LOG.debug("member %s: %s", self.config.name, error.message)
        except Exception as error:
            self.termination.fail(error)
            raise

    def _drain(self) -> None:
        while self.node.has_ready():
            ready = self.node.ready()
            for read_state in ready.read_states:
                if self.config.observer is not None:
                    self.config.observer.read_answered(self.identity.id, read_state)
                self.reads.confirmed(read_state.context, read_state.index, self.state.index)
            if ready.soft_state is not None:
                waiting, self._led = self._led, asyncio.Event()
                waiting.set()
                if not self.leads:
                    self._sender.stop(lambda member, link: True)
                self._round_ns = 0  # a read that the last leader has not answered is asked again
                leads = f"{self.state.roster.name_of(self.leader)} leads" if self.leader else "no member leads"
                _LOG.info("member %s: %s, term %d", self.config.name, leads, self.node.raft.term)
            for message in ready.messages:
                self._route(message)
            for member in self._outgoing.take_lost():
                self.node.report_unreachable(member)
            if ready.read_states:
                self.ask_round()

    def _route(self, message: Message) -> None:
        if message.to == APPEND_THREAD:
            self._installing = self._installing or message.HasField("snapshot")
            if self._storage.append(message):
                self.answer(message)
        elif message.to == APPLY_THREAD:
            self._apply(message.entries)
            for response in message.responses:
                self.node.step(response)
        else:
            self._outgoing.send(message)

    def _snapshot_sent(self, member: int, arrived: bool) -> None:
        if not self.termination.over:
            self.node.report_snapshot(member, delivered=arrived)
            self.advance()

    # Callbacks of the storage writer (rube.group.storage.Answered)

    def restored(self, applied: Applied) -> None:
        self.state.restore(applied)
        self._tell_where_it_goes_on()
        skipped = f"member {self.config.name!r} went on from a snapshot: it may have been done, look"
        self.proposals.skipped(applied.term, skipped)
        self._follow_members()
        self.reads.applied(applied.index)

    def answer(self, append: Message) -> None:
        for response in append.responses:
            if response.to == self.identity.id:
                self._outgoing.observe(response)
                self._step(response)  # this member may have been removed
            else:
                self._route(response)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self.config.observer is not None:
                self.config.observer.applied(self.identity.id, entry)
            if entry.term > self.state.term:
                self.proposals.overtaken(entry.term)
            done = self.state.apply(entry, self.node.apply_conf_change)
            if done is None:
                continue
            self._storage.changed(done.writes)
            if done.members is not None:
                self._follow_members()
                if done.members.remove:
                    self._unsettled = max(self._unsettled, self.node.raft.log.last_index())
            # A member whose own removal is applied goes on until another member refuses it: the others may need its
            # vote as long as they may forget that the removal is committed.
            self.proposals.applied(done.proposer, done.number, done.outcome)
        self.reads.applied(self.state.index)

    def _follow_members(self) -> None:
        self._links.follow(self.state.roster.peers)
        self._sender.stop(lambda member, link: self._links.get(member) is not link)

    def _tell_where_it_goes_on(self) -> None:
        if self.config.observer is not None:
            self.config.observer.restored(self.identity.id, self.state.index)

    def _snapshot_point(self) -> SnapshotMetadata:
        durable = self._storage.durable
        return SnapshotMetadata(index=durable.index, term=durable.term, conf_state=durable.conf_state)

    def _refused(self, error: RubeError) -> None:
        if "doubled" in error.metadata:
            name = self.config.name
            self.termination.fail(
                DoubledError(
                    f"{error.message}: this disk looks like a copy of member {name!r}'s, and this process is the newer "
                    "of the two; end the other one if it is the one to go, and start this again; or wipe this disk and "
                    "let it join under a name of its own (rube cluster add)"
                )
            )
            return
        who = f"member {self.config.name!r} was removed from group {self.identity.group_id}"
        self.termination.fail(RemovedError(f"{who}: wipe its disk before it joins again under that name"))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
