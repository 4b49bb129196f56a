"""A member of a group, as its users and the other members see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from grpc import aio

from rube.api.errors import InvalidArgumentError, NotDoneError, RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.group.bootstrap import Founding
from rube.group.config import MemberConfig
from rube.group.core import Core
from rube.group.group_pb2 import (
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
from rube.group.group_pb2_grpc import MembersStub, add_MembersServicer_to_server
from rube.group.machine import StateMachine
from rube.group.membership import Membership, NotLeadingError
from rube.group.pending import OvertakenError
from rube.group.roster import OutdatedChangeError
from rube.group.service import MembersService
from rube.group.snapshots import install
from rube.group.volatile import watch_for_loss
from rube.host import Engine, Host
from rube.host.network import listen
from rube.raft.errors import ProposalDroppedError
from rube.raft.raft_pb2 import ConfChangeSingle, ConfChangeType, ConfChangeV2
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

_LOG = logging.getLogger("rube.group")

_VOTER = ConfChangeType.CONF_CHANGE_ADD_NODE
_LEARNER = ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE
_REMOVE = ConfChangeType.CONF_CHANGE_REMOVE_NODE
Decide = Callable[[], Command | MembersChange | None]
DECISIONS_MAX = 5
"""A change that others have overtaken is decided again, at most so many times."""
PROMOTION_S = 0.5
"""A leader checks once in so many seconds for learners that have caught up."""
LEAVE_S = 2.0
"""How long a closing member waits for another one to lead."""
MOVE_S = 10.0
"""How long a leader may take to record a member's address."""
FLUSH_S = 5.0
"""How long a closing member waits for its disk, which may be stuck."""


class _NothingToDoError(Exception):
    """The requested change is done already."""


class Member:
    """One member of a group, from `open` to `close`.

    Any member takes proposals and reads: Raft passes them to the leader. After a failure (`failed` has the error) it
    acknowledges nothing any more, and the process should end.
    """

    def __init__(self, core: Core, clock_timeout: Callable[[float], asyncio.Timeout], server: aio.Server) -> None:
        """The parts that `open` has made; call that instead."""
        self._core = core
        self._timeout = clock_timeout
        self._server = server
        self._membership = Membership(core)
        self._closed = False
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(core.run(), name=f"replica {core.config.name}"),
            loop.create_task(self._promote_who_caught_up(), name="promotion"),
            loop.create_task(self._tell_address(), name="address"),
        ]
        if core.config.volatile:
            self._tasks.append(loop.create_task(watch_for_loss(core), name="loss"))

    @classmethod
    async def open(cls, host: Host, engine: Engine, machine: StateMachine, config: MemberConfig) -> Member:
        """Starts to listen, joins its group (which can take until the others start) and waits until it has a state.

        Raises the errors of `Founding.identity`, and DataLossError for damaged data. The caller keeps the engine, and
        closes it.
        """
        service = MembersService(config.name, config.certified_kind)
        server = host.network.server()
        add_MembersServicer_to_server(service, server)
        try:
            listen(server, config.listen, host.network)
            await server.start()
            identity = await Founding(host, engine, config).identity()
            await install(engine, machine.ranges, host.clock, engine.commit)
            await machine.reload(identity.group_id)
            core = Core(host, engine, machine, config, identity)
            member = cls(core, host.clock.timeout, server)
        except BaseException:
            await server.stop(None)
            raise
        service.member = member
        try:
            while core.state.index == 0:  # it has joined, and has no state yet
                await member._a_moment()
                core.termination.check()
        except BaseException:
            await member.close()
            raise
        return member

    async def close(self) -> None:
        """Transfers the leadership if it has it, ends, and writes what is applied."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError, RubeError):  # the others notice its end without a transfer
            async with self._timeout(LEAVE_S):
                await self._leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._server.stop(None)
        if not self.failed.done():
            with suppress(TimeoutError, RubeError):
                async with self._timeout(FLUSH_S):
                    await self._core.flush()

    # For its users

    @property
    def group_id(self) -> str:
        return self._core.identity.group_id

    @property
    def id(self) -> int:
        return self._core.identity.id

    @property
    def leads(self) -> bool:
        """True if this member leads, as far as it knows."""
        return self._core.leads

    @property
    def leader(self) -> int:
        """The leader's id as far as it knows; 0: it knows none."""
        return self._core.leader

    @property
    def term(self) -> int:
        """The term of the leadership: a leader's fencing token."""
        return self._core.node.raft.term

    @property
    def failed(self) -> asyncio.Future[RubeError]:
        """A future that has a result once this member has failed."""
        return self._core.termination.failed

    @property
    def removed(self) -> Sequence[int]:
        return self._core.removed

    async def propose(self, data: bytes, *, again: bool = True) -> Any:
        """Returns the outcome of the command once it is applied here; an outcome that is an error is raised.

        Waits for a leader, `patience_s` at most. A command that is lost, with its leader or on the way there, is
        proposed again, unless `again` is False. Raises UnavailableError; with metadata `unknown` the command may have
        been applied, or may still be.
        """
        core = self._core

        def propose(number: int) -> None:
            core.node.propose(core.proposals.command(number, Command(data=data)))

        return await self._await_applied(propose, again=again)

    async def read_barrier(self) -> None:
        """Returns when this member has applied everything that any member had acknowledged at the call.

        Raises UnavailableError if no quorum answers within `patience_s`.
        """
        self._core.termination.check()
        self._core.check_room()
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

    # For the service

    def batches(self, subscriber: int, address: str, incarnation: int) -> AsyncGenerator[Batch]:
        return self._core.batches(subscriber, address, incarnation)

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
            applied=self._core.state.index,
            peers=self._core.state.roster.peers,
            progress=self._membership.progress(),
        )

    def leader_stub(self) -> MembersAsyncStub | None:
        self._core.termination.check()
        if self.leads:
            return None
        link = self._core.link(self._core.leader)
        if link is None:
            raise NotDoneError("the group has no leader now: try again")
        return link.stub

    async def admit(self, request: JoinRequest) -> JoinResponse:
        if self._core.config.volatile:
            await self._change(lambda: self._membership.replacement(request.peer))
        await self._change(lambda: self._membership.admission(request.peer))
        return JoinResponse(group_id=self.group_id, peers=self._core.state.roster.peers)

    async def change(self, request: ChangeRequest) -> ChangeResponse:
        match request.WhichOneof("change"):
            case "add":
                await self._change(lambda: self._membership.addition(request.add))
            case "remove":
                await self._remove(request.remove)
            case "update":
                new = request.update
                await self._change(lambda: self._membership.relocation(new.name, new.address))
            case "promote":
                await self._change(lambda: self._membership.promotion(request.promote))
            case "transfer_leader":
                heir = self._core.state.roster.find(request.transfer_leader)
                await self._transfer(self._membership.transferee(heir))
            case _:
                raise InvalidArgumentError("the change is empty: set one of its fields")
        return ChangeResponse(description=self.describe())

    # Internals

    async def _remove(self, name: str) -> None:
        """Removes the member that has the name now, never another disk that takes the name later."""
        try:
            await self.read_barrier()
        except UnavailableError as error:
            raise NotDoneError(error.message, **error.metadata) from None
        meant = self._core.state.roster.find(name)
        try:
            await self._change(lambda: self._membership.removal(meant))
            await self._settle(meant)
        except RubeError:
            # The others may have applied this member's own removal before it has.
            if meant.id != self.id or not self._core.termination.was_removed:
                raise

    async def _settle(self, gone: Peer) -> None:
        """Returns when the others cannot forget that the member is removed, whichever of them die. Until then they may
        need its vote. A member that has a later entry on disk has the commit index there too."""
        try:
            if gone.id == self.id:
                async with self._timeout(self._core.config.patience_s):
                    await asyncio.shield(self.failed)
            elif gone.id:
                await self._change(Command)
        except (TimeoutError, UnavailableError) as error:
            raise UnavailableError(
                f"member {gone.name!r} is removed, but the group may still need its disk: see `rube cluster members`, "
                "and wipe it once its process has ended",
                unknown="true",
            ) from error

    async def _change(self, decide: Decide) -> None:
        """Proposes the change that `decide` returns for the group as it is then. Only a leader can, one change at a
        time.

        Raises the errors of `decide`, NotLeadingError and UnavailableError.
        """
        for _ in range(DECISIONS_MAX):
            with suppress(OutdatedChangeError):
                with suppress(_NothingToDoError):
                    await self._await_applied(lambda number: self._propose_change(number, decide))
                return
        raise NotDoneError("the group's members change too fast: try again")

    def _propose_change(self, number: int, decide: Decide) -> None:
        core = self._core
        if not core.leads:
            raise NotLeadingError(f"member {core.config.name!r} does not lead any more: try again")
        if core.node.raft.pending_conf_index > core.state.index:
            raise ProposalDroppedError("another change of the members is under way")
        decided = decide()
        if isinstance(decided, MembersChange):
            decided.proposer, decided.number = core.proposals.proposer, number
            core.node.propose_conf_change(_in_raft(decided))
        elif decided is not None:
            core.node.propose(core.proposals.command(number, decided))
        else:
            raise _NothingToDoError

    async def _await_applied(self, propose: Callable[[int], None], *, again: bool = True) -> Any:
        """Proposes until it is applied, once: again only when the last proposal can never be applied any more.

        Without `again`, proposes to the first leader that is known, even where there is no way to it now.
        """
        core = self._core
        core.termination.check()
        core.check_room()
        now_ns = core.now_ns()
        deadline_ns = now_ns + round(core.config.patience_s * NS_PER_S)
        while now_ns < deadline_ns:
            number, outcome = core.proposals.begin(core.node.raft.term, now_ns, deadline_ns)
            try:
                if not (core.reach.leader() if again else core.leader):
                    raise ProposalDroppedError("there is no way to a leader")
                propose(number)
                core.advance()
                return await outcome
            except ProposalDroppedError:
                await self._a_moment()
                core.termination.check()
            except OvertakenError:
                if not again:
                    raise NotDoneError("the command was lost on its way to the leader, or with it: try again") from None
            except TimeoutError:
                raise self._no_quorum("it may still be done", unknown="true") from None
            finally:
                core.proposals.forget(number)
                now_ns = core.now_ns()
        raise NotDoneError(self._no_quorum("nothing was proposed").message)

    async def _a_moment(self) -> None:
        """Waits until the leader changes, or a tick has passed."""
        with suppress(TimeoutError):
            async with self._timeout(self._core.config.tick_s):
                await self._core.led()

    def _no_quorum(self, what: str, **metadata: str) -> UnavailableError:
        leader = self._core.leader
        who = f"the leader is {self._core.state.roster.name_of(leader)}" if leader else "no leader is known"
        return UnavailableError(
            f"member {self._core.config.name!r} got no answer from a quorum of its group in "
            f"{self._core.config.patience_s:g} s ({who}): {what}; see `rube cluster members`",
            **metadata,
        )

    async def _transfer(self, member: int) -> None:
        if member == self.id:
            return
        self._core.node.transfer_leader(member)
        self._core.advance()
        with suppress(TimeoutError):
            async with self._timeout(self._core.config.patience_s):
                while self._core.leader in (0, self.id):
                    await self._a_moment()
        if self._core.leader != member:
            name = self._core.state.roster.name_of(member)
            raise UnavailableError(f"member {name!r} did not take the leadership: see `rube cluster members`")

    async def _leave(self) -> None:
        while self.leads and self._membership.has_other_voters:
            if successor := self._core.reach.best_successor():
                await self._transfer(successor)
            else:
                await self._a_moment()  # a new leader has heard from no member yet

    async def _tell_address(self) -> None:
        """Tells the group this member's address, if the group knows another."""
        core, address, told = self._core, self._core.config.reachable_address, False
        while not core.termination.over:
            known = core.state.roster.by_id(self.id)
            if known is None or known.address == address:
                if told:
                    _LOG.info("member %s is known to its group at %s", core.config.name, address)
                    told = False
                await core.led()
                continue
            if not told:
                _LOG.warning(
                    "member %s is at %s, but its group knows it at %s: it tells the others, as `rube cluster update` "
                    "does",
                    core.config.name,
                    address,
                    known.address,
                )
                told = True
            await self._move(Peer(id=self.id, name=core.config.name, address=address))
            await core.sleep(core.config.election_s)

    async def _move(self, peer: Peer) -> None:
        """Tells the leader the new address; tries again after an error."""
        try:
            if self.leader_stub() is None:
                await self._change(lambda: self._membership.relocation(peer.name, peer.address))
                return
            channel = self._core.reach.channel(
                self._core.leader
            )  # a channel of its own: the link's may end with the change
            try:
                await MembersStub(channel).Join(JoinRequest(peer=peer), timeout=MOVE_S)
            finally:
                await channel.close(None)
        except RubeError as error:
            _LOG.info("member %s cannot tell its address yet: %s", peer.name, error.message)
        except aio.AioRpcError as error:
            _LOG.info("member %s cannot tell its address yet: %s", peer.name, rube_error(error).message)

    async def _promote_who_caught_up(self) -> None:
        while True:
            await self._core.sleep(PROMOTION_S)
            if self.leads and not self.failed.done() and not self._core.settled:
                with suppress(RubeError):  # tried again
                    await self._change(Command)
            if self.leads and not self.failed.done() and self._membership.due_promotion() is not None:
                with suppress(RubeError):  # tried again
                    await self._change(self._membership.due_promotion)


def _in_raft(change: MembersChange) -> ConfChangeV2:
    kind = _LEARNER if change.peer.learner else _VOTER
    single = ConfChangeSingle(type=_REMOVE if change.remove else kind, node_id=change.peer.id)
    return ConfChangeV2(changes=[single], context=change.SerializeToString(deterministic=True))
