"""One process of a group of replicated controllers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from rube import api_pb2
from rube.api.errors import RubeError
from rube.client import Client
from rube.controllers.cluster.catalog import check_distinct, make_controllers
from rube.controllers.cluster.controllers import ClusterControllersConfig, Term, run_term
from rube.controllers.contract import Controller
from rube.controllers.replicated.rows import Rows, lead_command
from rube.controllers.replicated.term import FENCE_PREFIX, FencedCalls, LeaderTerm, ReplicatedEngine, TermOverError
from rube.host import Host
from rube.replica import Member, MemberConfig
from rube.replica.peers import RemovedError
from rube.replica.volatile import GroupLostError

__all__ = ["ReplicatedConfig", "ReplicatedControllers"]

_LOG = logging.getLogger("rube.controllers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedConfig:
    """`engine_url` is for this member alone; `memory:` goes with `member.volatile`. The election by leases that
    `controllers` configures is not used."""

    member: MemberConfig
    engine_url: str = "memory:"
    controllers: ClusterControllersConfig = field(default_factory=ClusterControllersConfig)


class ReplicatedControllers:
    """Takes part in the group; while this member leads it, runs the controllers. All members need the same ones."""

    def __init__(self, host: Host, client: Client, config: ReplicatedConfig) -> None:
        """Raises InvalidArgumentError for a name that gives no controller, and for two controllers of one name."""
        self._host = host
        self._client = client
        self._config = config
        self._controllers = [*make_controllers(config.controllers.names), *config.controllers.extra]
        check_distinct(self._controllers)
        self.member: Member | None = None
        """While this process belongs to a group."""

    async def run(self) -> None:
        """Until cancelled. Raises what no retry can help, such as FailedPreconditionError where the group refuses this
        member, or DataLossError of its engine. A volatile member whose group was lost begins anew."""
        while True:
            try:
                await self._take_part()
            except (GroupLostError, RemovedError) as error:
                if not self._config.member.volatile:
                    raise
                _LOG.warning("%s begins anew: %s", self._config.member.name, error.message)
            await self._host.clock.sleep(self._config.member.tick_s)

    async def _take_part(self) -> None:
        """Until the member fails; raises why."""
        engine = await self._host.storage.open(self._config.engine_url)
        try:
            rows = Rows(engine)
            self.member = member = await Member.open(self._host, engine, rows, self._config.member)
            leading = asyncio.create_task(self._lead(member, rows))
            try:
                ends: list[asyncio.Future[Any]] = [leading, member.failed]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.member = None
                leading.cancel()
                await asyncio.wait([leading])
                await member.close()
            if not leading.cancelled():
                leading.result()
            raise member.failed.result()
        finally:
            await engine.close()

    async def _lead(self, member: Member, rows: Rows) -> None:
        """Runs the controllers in each term of this member's."""
        above = 0
        while True:
            while not member.leads:
                await member.led()
            try:
                # Once this is applied here, so is all that earlier terms have committed, and they commit no more.
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
        """Runs the controllers until the term is over; gives what the next one must be greater than."""
        engine = ReplicatedEngine(member, rows, term)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(term.over())
                for controller in self._controllers:
                    group.create_task(self._run(controller, engine, term))
        except* TermOverError as over:
            _LOG.warning("%s: term %d is over: %s", self._config.member.name, term.number, over.exceptions[0])
        return term.above

    async def _run(self, controller: Controller, engine: ReplicatedEngine, term: LeaderTerm) -> None:
        group = FENCE_PREFIX + controller.name
        await run_term(
            self._host,
            self._client,
            controller,
            self._config.controllers,
            Term(
                fence=api_pb2.Fence(group=group, term=term.number),
                holds=term.holds,
                engine=engine,
                calls=FencedCalls(self._client, term, group),
            ),
        )
