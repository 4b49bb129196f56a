"""The cluster controllers of one process, each under an election of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rube.api import Fence
from rube.api.errors import FailedPreconditionError, InvalidArgumentError, RubeError
from rube.client import Client, FailureLog
from rube.controllers.bringing import bring_types, brought_types, follow_types
from rube.controllers.cache import InformerCache, configs_for
from rube.controllers.cluster.catalog import CLUSTER_CONTROLLERS, check_distinct, make_controllers
from rube.controllers.cluster.garbage import EVENT_TTL_S
from rube.controllers.cluster.leader import LeaderConfig, LeaderElection, Leadership
from rube.controllers.config import (
    DecisionObserver,
    RefusalObserver,
    RuntimeConfig,
    observe_no_refusal,
    observe_nothing,
)
from rube.controllers.contract import Controller
from rube.controllers.ports import Calls
from rube.controllers.runtime import Runtime
from rube.host import Engine, Host
from rube.host.backoff import Backoff

_LOG = logging.getLogger("rube.controllers")
REFUSED_S = 30.0
"""A controller whose types are refused tries again after so long, since the cluster's may be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterControllersConfig:
    """The controllers that run, and their options. Times in seconds."""

    names: Sequence[str] = tuple(CLUSTER_CONTROLLERS)
    """Names in `catalog`."""
    lease_s: float = 15.0
    renew_s: float = 3.0
    resync_s: float = 600.0
    """Every object is decided again after about this long."""
    observer: DecisionObserver = observe_nothing
    refusals: RefusalObserver = observe_no_refusal
    strict: bool = False
    """As in RuntimeConfig."""
    extra: Sequence[Controller] = field(default=())
    """More of them, beside those of `names`."""
    event_ttl_s: float = EVENT_TTL_S
    """The garbage collector deletes an event so long after it happened last."""

    def make(self) -> list[Controller]:
        """Returns the controllers. Raises InvalidArgumentError for a name that gives none, and for two of one name."""
        made = [*make_controllers(self.names, event_ttl_s=self.event_ttl_s), *self.extra]
        check_distinct(made)
        return made


class ClusterControllers:
    """Runs cluster controllers in any number of processes; for each controller only the elected leader acts.

    The caller keeps `client` and `engine`: the engine holds memory and outbox, in rows of its own, and must not be
    shared with another process.
    """

    def __init__(
        self, host: Host, client: Client, engine: Engine, config: ClusterControllersConfig | None = None
    ) -> None:
        """Raises InvalidArgumentError for a name that gives no controller, and for two controllers of one name."""
        self._host = host
        self._client = client
        self._engine = engine
        self._config = config or ClusterControllersConfig()
        self._controllers = self._config.make()
        self._holder = f"{host.name}-{host.random.uid()}"

    async def run(self) -> None:
        """Runs until cancelled. Raises errors that no retry can help."""
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(self._stand(controller))

    async def _stand(self, controller: Controller) -> None:
        config = LeaderConfig(
            group=controller.name,
            holder=self._holder,
            duration_s=self._config.lease_s,
            retry_s=self._config.renew_s,
        )

        async def lead(leadership: Leadership) -> None:
            term = Term(leadership.fence, leadership.holds, self._engine, self._client, self._client)
            cache = InformerCache.of(self._client, self._host, configs_for(controller))
            await run_term(self._host, cache, controller, self._config, term)

        await LeaderElection(self._client, self._host, config).run(lead)


class Term(NamedTuple):
    """One leader's term: the fence of its calls, and the time until which it may act."""

    fence: Fence
    holds: Callable[[], bool]
    engine: Engine
    """The engine of memory and outbox, and the receivers of calls and of reads."""
    calls: Calls
    client: Client


async def run_term(
    host: Host, cache: InformerCache, controller: Controller, config: ClusterControllersConfig, term: Term
) -> None:
    """Runs one controller until cancelled, with a new cache, so that it sees everything again; pushes its types
    first."""
    runtime = Runtime(
        RuntimeConfig(
            host=host,
            controller=controller,
            cache=cache,
            calls=term.calls,
            engine=term.engine,
            fence=term.fence,
            may_act=term.holds,
            observer=config.observer,
            refusals=config.refusals,
            strict=config.strict,
            resync_s=config.resync_s,
        )
    )

    await _bring(host, controller, term, config)
    async with asyncio.TaskGroup() as group:
        group.create_task(cache.run())
        group.create_task(runtime.run())
        if brought_types(controller):
            group.create_task(follow_types(controller, term.client, host))


async def _bring(host: Host, controller: Controller, term: Term, config: ClusterControllersConfig) -> None:
    """Pushes the controller's types; tries until that succeeds. In a strict run a refusal is an error."""
    if not brought_types(controller):
        return
    backoff = Backoff(host.random.stream(f"controller/{controller.name}/types"), initial_s=0.2, max_s=REFUSED_S)
    failures = FailureLog(_LOG, f"{controller.name}: types")
    while True:
        try:
            await bring_types(controller, term.client, term.calls, term.fence)
        except (FailedPreconditionError, InvalidArgumentError) as error:
            if config.strict:
                raise
            _LOG.error("%s decides nothing: %s", controller.name, error.message)
            await host.clock.sleep(REFUSED_S)
        except RubeError as error:
            failures.failed(error.message, then="the controller waits")
            await host.clock.sleep(backoff.next_s())
        else:
            return
