"""The rubelet's life: open the local store, run the units from it, and keep up with the apiserver when it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from grpc import aio

from rube.api import add_ApiServicer_to_server
from rube.api.errors import AlreadyExistsError, ResourceExhaustedError, RubeError
from rube.api.keys import ObjectKey, validate_name
from rube.api.well_known import NODE_LABEL, UNIT_TYPE
from rube.client import Batch, Client, InformerConfig
from rube.controllers.cache import InformerCache
from rube.controllers.config import Decided, Hands, Observer, RuntimeConfig
from rube.controllers.driver import Driver
from rube.controllers.runtime import Runtime
from rube.host import Engine, Host
from rube.rubelet.config import RubeletConfig
from rube.rubelet.identity import Identity
from rube.rubelet.local_copy import LocalCopy
from rube.rubelet.logs import UnitLogs
from rube.rubelet.node_api import NodeApi
from rube.rubelet.problems import Problems
from rube.rubelet.refusals import DiskRefusals
from rube.rubelet.registration import Registration
from rube.rubelet.requests import Requests
from rube.store.guard import GuardedEngine
from rube.units.controller import UnitController
from rube.units.unit_log import UnitLog

__all__ = ["Rubelet"]

_LOG = logging.getLogger("rube.rubelet")
STOP_GRACE_S = 1.0
LEFT_SHOWN_MAX = 20
"""Units that are named when a rubelet is displaced."""


def _say_nothing() -> None:
    """For callers that do not wait for readiness."""


class Rubelet:
    """One node. `run` it once; the driver stays its maker's, who closes it afterwards."""

    def __init__(self, host: Host, config: RubeletConfig, driver: Driver) -> None:
        """Raises InvalidArgumentError for a node name that is not a DNS label, or without servers."""
        validate_name("node", config.node)
        self._host = host
        self._config = config
        self._driver = driver
        self._client = Client(host, config.servers)

    async def run(self, on_ready: Callable[[], None] = _say_nothing) -> None:
        """Runs this node until cancelled, which leaves its units running. `on_ready` is called once it has its copy.

        With no apiserver in reach it runs what it last knew of. Raises AlreadyExistsError where the node's name is in
        use by another rubelet that is alive, FailedPreconditionError where the local store is of another node or in
        use, DataLossError where it is damaged or a write did not become durable.
        """
        try:
            engine = GuardedEngine(await self._host.storage.open(self._config.data_url))
            try:
                await self._run(engine, on_ready)
            finally:
                await engine.close()
        except ExceptionGroup as group:
            error = _most_telling(group)
            raise await self._displaced(error) if isinstance(error, AlreadyExistsError) else error from group
        finally:
            await self._client.close()

    async def _displaced(self, error: AlreadyExistsError) -> AlreadyExistsError:
        """The error, with the units that are left running and what to do about them."""
        try:
            names = await self._driver.list()
        except RubeError:
            return error
        if not names:
            return error
        shown = ", ".join(names[:LEFT_SHOWN_MAX]) + (" and more" if len(names) > LEFT_SHOWN_MAX else "")
        return AlreadyExistsError(
            f"{error.message}. Units of this rubelet that may still run here ({len(names)}): {shown}. If the node's "
            "name is to stay the other's, stop and remove them: the same command with --purge",
            **error.metadata,
        )

    async def _run(self, engine: GuardedEngine, on_ready: Callable[[], None]) -> None:
        config = self._config
        identity = await Identity.load(
            engine, self._host, config.node, machine_id=config.machine_id, policy=config.identity_policy
        )
        refusals = DiskRefusals(self._client, self._host.clock, config.node, retry_s=config.retry_s)
        cache = InformerCache(self._client, self._host, [self._copy_config(engine, refusals)])
        hands = self._hands()
        problems = Problems([engine.why_full])

        def unkept(key: ObjectKey, error: ResourceExhaustedError) -> None:
            if (obj := cache.get(key)) is not None:
                refusals.note(obj, error)

        observer = _all(UnitLog(self._host.clock).note, problems.note, config.observer)
        runtime = Runtime(replace(self._runtime_config(engine, cache, hands), observer=observer, unkept=unkept))
        logs = UnitLogs(cache, hands, self._config.node)
        server = await self._serve(NodeApi(cache, runtime, logs, self._config.node))
        registered = asyncio.Event()
        if identity.registered:
            registered.set()
        registration = Registration(self._client, self._host, self._config, identity.instance_id, problems.all)

        async def follow() -> None:
            # A new rubelet touches nothing before it is known that the name is its own.
            await registered.wait()
            await identity.save_registered()
            async with asyncio.TaskGroup() as group:
                group.create_task(cache.run())
                group.create_task(runtime.run())
                group.create_task(refusals.run())
                group.create_task(Requests(self._host, self._config, identity.instance_id, logs).run())

        async def end_with_loss() -> None:
            raise await engine.loss.wait()

        try:
            on_ready()
            async with asyncio.TaskGroup() as group:
                group.create_task(end_with_loss())
                group.create_task(registration.run(registered))
                group.create_task(follow())
        finally:
            if server is not None:
                await server.stop(STOP_GRACE_S)

    def _copy_config(self, engine: Engine, refusals: DiskRefusals) -> InformerConfig:
        store = LocalCopy(engine, UNIT_TYPE)
        state = store.load()
        _LOG.info("node %s has %d units at revision %d", self._config.node, len(state.objects), state.revision)

        async def persist(batch: Batch) -> None:
            try:
                await store.persist(batch)
            except ResourceExhaustedError as error:
                for change in batch.changes:
                    if change.new is not None:
                        refusals.note(change.new, error)
                raise

        return InformerConfig(
            type=UNIT_TYPE, label_selector=f"{NODE_LABEL}={self._config.node}", state=state, persist=persist
        )

    def _hands(self) -> Hands:
        controller = UnitController(node=self._config.node, boot_id=self._config.boot_id)
        return Hands(controller=controller, driver=self._driver)

    def _runtime_config(self, engine: Engine, cache: InformerCache, hands: Hands) -> RuntimeConfig:
        config = self._config
        return RuntimeConfig(
            host=self._host,
            controller=hands.controller,
            cache=cache,
            calls=self._client,
            engine=engine,
            hands=hands,
            refusals=config.refusals,
            strict=config.strict,
            backoff=config.backoff,
            resync_s=config.resync_s,
        )

    async def _serve(self, api: NodeApi) -> aio.Server | None:
        if not self._config.listen:
            return None
        server = self._host.network.server()
        add_ApiServicer_to_server(api, server)
        server.add_insecure_port(self._config.listen)
        await server.start()
        return server


def _all(*observers: Observer) -> Observer:
    def observe(decided: Decided) -> None:
        for each in observers:
            each(decided)

    return observe


def _most_telling(group: ExceptionGroup[Exception]) -> Exception:
    """The RubeError that ended everything, or the group where there is none or more than one."""
    errors = _leaves(group)
    first = errors[0]  # a lost disk may have met several tasks at once, in the same words
    return first if isinstance(first, RubeError) and len({str(error) for error in errors}) == 1 else group


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for child in error.exceptions for leaf in _leaves(child)]
    return [error]
