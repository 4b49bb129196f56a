"""One process of a group of replicated controllers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rube.api import Fence
from rube.api.errors import RubeError
from rube.api.times import NS_PER_S
from rube.client import Client
from rube.controllers.cache import InformerCache, configs_for
from rube.controllers.cluster.controllers import ClusterControllersConfig, Term, run_term
from rube.controllers.contract import Controller
from rube.controllers.replicated.rows import Rows, lead_command
from rube.controllers.replicated.term import FENCE_PREFIX, FencedCalls, LeaderTerm, ReplicatedEngine, TermOverError
from rube.group import Member, MemberConfig
from rube.group.group_pb2 import ChangeRequest
from rube.group.termination import RemovedError
from rube.group.volatile import GroupLostError
from rube.host import Host

_LOG = logging.getLogger("rube.controllers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedConfig:
    """The configuration. `engine_url` is for this member alone; `memory:` goes with `member.volatile`. The election by
    leases that `controllers` configures is not used."""

    member: MemberConfig
    engine_url: str = "memory:"
    cut_off_s: float = 5.0
    """A leader that has not seen the apiserver for so many seconds transfers the leadership."""
    controllers: ClusterControllersConfig = field(default_factory=ClusterControllersConfig)


class ReplicatedControllers:
    """Takes part in the group; while this member leads it, runs the controllers. All members need the same ones."""

    def __init__(self, host: Host, client: Client, config: ReplicatedConfig) -> None:
        """Raises InvalidArgumentError for a name that gives no controller, and for two controllers of one name."""
        self._host = host
        self._client = client
        self._config = config
        self._controllers = config.controllers.make()
        self._random = host.random.stream("controllers/successor")
        self.member: Member | None = None
        """While this process belongs to a group."""

    async def run(self) -> None:
        """Runs until cancelled. Raises errors that no retry can help, such as FailedPreconditionError if the group
        refuses this member, or DataLossError of its engine. A volatile member whose group was lost starts over."""
        while True:
            try:
                await self._take_part()
            except (GroupLostError, RemovedError) as error:
                if not self._config.member.volatile:
                    raise
                _LOG.warning("%s begins anew: %s", self._config.member.name, error.message)
            await self._host.clock.sleep(self._config.member.tick_s)

    async def _take_part(self) -> None:
        """Takes part until the member fails; raises its error."""
        engine = await self._host.storage.open(self._config.engine_url)
        try:
            rows = Rows(engine)
            await self._be_member(await Member.open(self._host, engine, rows, self._config.member), rows)
        finally:
            await engine.close()

    async def _be_member(self, member: Member, rows: Rows) -> None:
        self.member = member
        try:
            await self._lead_until_failed(member, rows)
            raise member.failed.result()
        finally:
            self.member = None
            await member.close()

    async def _lead_until_failed(self, member: Member, rows: Rows) -> None:
        leading = asyncio.create_task(self._lead(member, rows))
        ends: list[asyncio.Future[Any]] = [leading, member.failed]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()
            await asyncio.wait([leading])
        if not leading.cancelled():
            leading.result()  # raises

    async def _lead(self, member: Member, rows: Rows) -> None:
        """Runs the controllers in each term of this member's."""
        above = 0
        while True:
            while not member.leads:
                await member.led()
            try:
                # Once this is applied here, so is everything that earlier terms have committed, and they commit no
                # more.
                async with self._host.clock.timeout(self._config.member.election_s):
                    number = await member.propose(lead_command(above))
            except (RubeError, TimeoutError) as error:
                _LOG.info("%s has not begun a term: %s", self._config.member.name, str(error) or "no quorum answers")
                await self._host.clock.sleep(self._config.member.tick_s)
                continue
            term = LeaderTerm(member, rows, number)
            if not term.holds():
                continue
            _LOG.info("%s leads, term %d", self._config.member.name, number)
            above = await self._run_term(member, rows, term)

    async def _run_term(self, member: Member, rows: Rows, term: LeaderTerm) -> int:
        """Runs the controllers until the term is over; returns the number that the next one must exceed."""
        engine = ReplicatedEngine(member, rows, term)
        caches = [InformerCache.of(self._client, self._host, configs_for(one)) for one in self._controllers]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(term.over())
                group.create_task(self._leave_when_cut_off(member, caches))
                for controller, cache in zip(self._controllers, caches, strict=True):
                    group.create_task(self._run(controller, cache, engine, term))
        except* TermOverError as over:
            _LOG.warning("%s: term %d is over: %s", self._config.member.name, term.number, over.exceptions[0])
        return term.above

    async def _run(
        self, controller: Controller, cache: InformerCache, engine: ReplicatedEngine, term: LeaderTerm
    ) -> None:
        group = FENCE_PREFIX + controller.name
        await run_term(
            self._host,
            cache,
            controller,
            self._config.controllers,
            Term(
                fence=Fence(group=group, term=term.number),
                holds=term.holds,
                engine=engine,
                calls=FencedCalls(self._client, term, group),
                client=self._client,
            ),
        )

    async def _leave_when_cut_off(self, member: Member, caches: Sequence[InformerCache]) -> None:
        """Transfers the leadership to a random member that answers, when this one has not seen the apiserver for
        long."""
        clock, name = self._host.clock, self._config.member.name
        seen_ns = clock.monotonic_ns()
        while True:
            await clock.sleep(self._config.member.election_s)
            if all(cache.connected for cache in caches):
                seen_ns = clock.monotonic_ns()
            elif clock.monotonic_ns() - seen_ns > self._config.cut_off_s * NS_PER_S and (others := _others(member)):
                successor = self._random.choice(others)
                _LOG.warning(
                    "%s has not seen the apiserver for %g s: %s is to lead", name, self._config.cut_off_s, successor
                )
                with suppress(RubeError):  # tried again
                    await member.change(ChangeRequest(transfer_leader=successor))


def _others(leader: Member) -> list[str]:
    """Returns the names of the voters beside the leader that answer it."""
    described = leader.describe()
    active = {progress.id for progress in described.progress if progress.active}
    return [peer.name for peer in described.peers if peer.id in active and not peer.learner and peer.id != leader.id]
