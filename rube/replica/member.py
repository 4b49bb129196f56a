"""A member of a group, as its users and the other members see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from grpc import aio

from rube.api.errors import InvalidArgumentError, RubeError, UnavailableError
from rube.host import Engine, Host
from rube.raft.errors import ProposalDroppedError
from rube.raft.raft_pb2 import ConfChangeSingle, ConfChangeType, ConfChangeV2
from rube.replica.config import MemberConfig
from rube.replica.core import Core
from rube.replica.founding import Founding
from rube.replica.machine import StateMachine
from rube.replica.membership import Membership
from rube.replica.replica_pb2 import (
    Batch,
    ChangeRequest,
    ChangeResponse,
    Command,
    Description,
    JoinRequest,
    JoinResponse,
    MembersChange,
    Peer,
    Piece,
)
from rube.replica.replica_pb2_grpc import add_ReplicaServicer_to_server
from rube.replica.service import ReplicaService
from rube.replica.snapshots import install
from rube.replica.volatile import watch_for_loss
from rube.replica.waiting import OvertakenError

if TYPE_CHECKING:
    from rube.replica.replica_pb2_grpc import ReplicaAsyncStub

_VOTER = ConfChangeType.CONF_CHANGE_ADD_NODE
_LEARNER = ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE
_REMOVE = ConfChangeType.CONF_CHANGE_REMOVE_NODE
_NS_PER_S = 1_000_000_000
# A leader looks this often for learners that have caught up.
PROMOTION_S = 0.5
# How long a member that leaves waits for another one to lead.
LEAVE_S = 2.0


class Member:
    """One member of a group, from `open` to `close`.

    Any member takes proposals and reads: Raft passes them to the leader. After a failure (`failed` has the error)
    nothing is acknowledged any more, and the process should end.
    """

    def __init__(self, core: Core, clock_timeout: Callable[[float], asyncio.Timeout], server: aio.Server) -> None:
        """For `open`."""
        self._core = core
        self._timeout = clock_timeout
        self._server = server
        self._membership = Membership(core)
        self._closed = False
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(core.run(), name=f"replica {core.config.name}"),
            loop.create_task(self._promote_who_caught_up(), name="promotion"),
        ]
        if core.config.volatile:
            self._tasks.append(loop.create_task(watch_for_loss(core), name="loss"))

    @classmethod
    async def open(cls, host: Host, engine: Engine, machine: StateMachine, config: MemberConfig) -> Member:
        """Listens, comes into its group (which can take as long as the others need to start), and has a state.

        Raises what `Founding.identity` does, DataLossError for damaged data. The engine stays its opener's.
        """
        service = ReplicaService(config.name)
        server = host.network.server()
        add_ReplicaServicer_to_server(service, server)
        try:
            server.add_insecure_port(config.listen)
            await server.start()
            identity = await Founding(host, engine, config).identity()
            await install(engine, machine.ranges, host.clock)
            await machine.reload(identity.group_id)
            core = Core(host, engine, machine, config, identity)
            member = cls(core, host.clock.timeout, server)
        except BaseException:
            await server.stop(None)
            raise
        service.member = member
        try:
            while core.applied_index == 0:  # taken in, and without a state yet
                await member._a_moment()
                core.check()
        except BaseException:
            await member.close()
            raise
        return member

    async def close(self) -> None:
        """Gives the leadership away if it has it, ends, and writes what is applied."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError, RubeError):  # the others will notice by themselves
            async with self._timeout(LEAVE_S):
                await self._leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._server.stop(None)
        if not self.failed.done():
            with suppress(RubeError):
                await self._core.flush()

    # What its users ask

    @property
    def group_id(self) -> str:
        return self._core.identity.group_id

    @property
    def id(self) -> int:
        return self._core.identity.id

    @property
    def leads(self) -> bool:
        """As far as it knows."""
        return self._core.leads

    @property
    def term(self) -> int:
        """Of the leadership: a leader's fencing token."""
        return self._core.node.raft.term

    @property
    def failed(self) -> asyncio.Future[RubeError]:
        """Has a result once this member cannot go on."""
        return self._core.failed

    @property
    def removed(self) -> list[int]:
        return self._core.roster.removed

    async def propose(self, data: bytes) -> Any:
        """The outcome of the command, once it is applied here; an outcome that is an error is raised.

        Waits for a leader, `patience_s` at most. Raises UnavailableError; with metadata `unknown` the command may have
        been applied, or still be.
        """
        return await self._propose(lambda number: self._core.command(number, Command(data=data)))

    async def read_barrier(self) -> None:
        """Returns when this member has applied everything that any member had acknowledged at the call.

        Raises UnavailableError where no quorum answers within `patience_s`.
        """
        self._core.check()
        waiting = self._core.reads.join()
        self._core.ask_round()
        try:
            async with self._timeout(self._core.config.patience_s):
                await waiting
        except TimeoutError:
            raise self._no_quorum("the read was not answered") from None

    async def led(self) -> None:
        """Returns at the next change of the leader."""
        await self._core.led()

    # What the service asks

    def batches(self, subscriber: int) -> AsyncGenerator[Batch]:
        return self._core.batches(subscriber)

    async def stage(self, piece: Piece) -> int:
        return await self._core.stage(piece)

    def describe(self) -> Description:
        raft = self._core.node.raft
        return Description(
            group_id=self.group_id,
            name=self._core.config.name,
            id=self.id,
            leader=raft.leader,
            term=raft.term,
            committed=raft.log.committed,
            applied=self._core.applied_index,
            peers=self._core.roster.peers,
            progress=self._membership.progress(),
        )

    def leader_stub(self) -> ReplicaAsyncStub | None:
        self._core.check()
        if self.leads:
            return None
        link = self._core.link(self._core.leader)
        if link is None:
            raise UnavailableError("the group has no leader now: try again")
        return link.stub

    async def admit(self, request: JoinRequest) -> JoinResponse:
        known = self._core.roster.by_id(request.peer.id)
        if known is None or known.address != request.peer.address:
            if known is None and self._core.config.volatile:
                await self._replace(request.peer)
            peer = self._core.roster.admit(request.peer)
            await self._change(_LEARNER if known is None or known.learner else _VOTER, peer)
        return JoinResponse(group_id=self.group_id, peers=self._core.roster.peers)

    async def change(self, request: ChangeRequest) -> ChangeResponse:
        roster = self._core.roster
        match request.WhichOneof("change"):
            case "add":
                peer = self._membership.addition(request.add)
                await self._propose(lambda number: self._core.command(number, Command(expect=peer)))
            case "remove":
                await self._remove(roster.find(request.remove))
            case "promote":
                peer = roster.find(request.promote)
                self._membership.check_promotion(peer)
                await self._change(_VOTER, peer)
            case "transfer_leader":
                await self._transfer(self._membership.transferee(roster.find(request.transfer_leader)))
            case _:
                raise InvalidArgumentError("the change names nothing to do: set one of its fields")
        return ChangeResponse(description=self.describe())

    # Inside

    async def _remove(self, peer: Peer) -> None:
        if not peer.id:
            await self._propose(lambda number: self._core.command(number, Command(forget=peer.name)))
            return
        self._membership.check_removal(peer)
        await self._change(_REMOVE, peer)

    async def _replace(self, newcomer: Peer) -> None:
        """Removes the member of the newcomer's name, which is gone with its memory, and expects the newcomer.

        No quorum is checked: a vote that can never be given again is nothing to lose.
        """
        gone = self._core.roster.by_name(newcomer.name)
        if gone is None or not gone.id:
            return
        if self._core.hears(gone.id):
            raise UnavailableError(f"member {gone.name!r} was heard of a moment ago, from another process: try again")
        await self._change(_REMOVE, gone, expect=Peer(name=newcomer.name, address=newcomer.address, promote=True))

    async def _propose(self, command: Callable[[int], bytes]) -> Any:
        return await self._await_applied(lambda number: self._core.node.propose(command(number)))

    async def _change(self, kind: ConfChangeType.ValueType, peer: Peer, expect: Peer | None = None) -> None:
        """Changes Raft's configuration and the roster with it; one change at a time."""
        context = MembersChange(
            peer=peer, proposer=self._core.proposals.proposer, remove=kind == _REMOVE, expect=expect
        )

        def propose(number: int) -> None:
            raft = self._core.node.raft
            if raft.pending_conf_index > self._core.applied_index:
                raise ProposalDroppedError("another change of the members is under way")
            context.number = number
            self._core.node.propose_conf_change(
                ConfChangeV2(
                    changes=[ConfChangeSingle(type=kind, node_id=peer.id)],
                    context=context.SerializeToString(deterministic=True),
                )
            )

        await self._await_applied(propose)

    async def _await_applied(self, propose: Callable[[int], None]) -> Any:
        """Proposes until it is applied, once: anew only when what was proposed can never be applied any more."""
        core = self._core
        core.check()
        deadline_ns = core.now_ns() + round(core.config.patience_s * _NS_PER_S)
        while core.now_ns() < deadline_ns:
            number, outcome = core.proposals.begin(core.node.raft.term, deadline_ns)
            try:
                propose(number)
                core.advance()
                return await outcome
            except ProposalDroppedError:
                await self._a_moment()
                core.check()
            except OvertakenError:
                continue
            except TimeoutError:
                raise self._no_quorum("it may still be done", unknown="true") from None
            finally:
                core.proposals.forget(number)
        raise self._no_quorum("nothing was proposed", refused="true")

    async def _a_moment(self) -> None:
        """Until the leader changes, or a tick has passed."""
        with suppress(TimeoutError):
            async with self._timeout(self._core.config.tick_s):
                await self._core.led()

    def _no_quorum(self, what: str, **metadata: str) -> UnavailableError:
        leader = self._core.leader
        who = f"the leader is {self._core.roster.name_of(leader)}" if leader else "no leader is known"
        return UnavailableError(
            f"member {self._core.config.name!r} got no answer from a quorum of its group in "
            f"{self._core.config.patience_s:g} s ({who}): {what}; see `rube cluster members`",
            **metadata,
        )

    async def _transfer(self, member: int) -> None:
        self._core.node.transfer_leader(member)
        self._core.advance()
        try:
            async with self._timeout(self._core.config.patience_s):
                while self._core.leader in (0, self.id):
                    await self._a_moment()
        except TimeoutError:
            name = self._core.roster.name_of(member)
            raise UnavailableError(f"member {name!r} did not take the leadership: see `rube cluster members`") from None

    async def _leave(self) -> None:
        while self.leads and self._membership.has_other_voters:
            if successor := self._core.best_successor():
                await self._transfer(successor)
            else:
                await self._a_moment()  # a new leader has heard of nobody yet

    async def _promote_who_caught_up(self) -> None:
        while True:
            await self._core.sleep(PROMOTION_S)
            if self.leads and not self.failed.done() and (peer := self._membership.due_promotion()):
                with suppress(RubeError):  # tried again
                    await self._change(_VOTER, peer)
