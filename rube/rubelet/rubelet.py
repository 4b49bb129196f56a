"""The rubelet's lifecycle: open the local store, run the node controllers from it, and keep up with the apiserver
when it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from grpc import aio

from rube.api import add_ApiServicer_to_server
from rube.api.errors import AlreadyExistsError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.api.keys import ObjectKey, validate_name
from rube.api.well_known import NODE_LABEL
from rube.client import Batch, Client, InformerConfig
from rube.controllers.cache import InformerCache
from rube.controllers.config import Decided, DecisionObserver, NodeController, RuntimeConfig
from rube.controllers.ports import Cache
from rube.controllers.runtime import Runtime
from rube.host import Engine, Host
from rube.host.network import listen
from rube.rubelet.config import RubeletConfig
from rube.rubelet.identity import Identity
from rube.rubelet.local_copy import LocalCopy
from rube.rubelet.logs import NodeLogs
from rube.rubelet.node_api import NodeApi
from rube.rubelet.problems import Problems
from rube.rubelet.registration import Registration
from rube.rubelet.requests import Requests
from rube.rubelet.unstored import UnstoredReports
from rube.store.guard import GuardedEngine

_LOG = logging.getLogger("rube.rubelet")
STOP_GRACE_S = 1.0
LEFT_SHOWN_MAX = 20
"""Things that are named when a rubelet is displaced."""


def _say_nothing() -> None:
    """Does nothing, for callers that do not wait for readiness."""


class Rubelet:
    """One node. `run` it once; the caller closes the driver afterwards."""

    def __init__(self, host: Host, config: RubeletConfig, controllers: Sequence[NodeController]) -> None:
        """The controllers share the local store, and each has a type of its own.

        Raises InvalidArgumentError for a node name that is not a DNS label, without servers, and for controllers that
        cannot run here together.
        """
        validate_name("node", config.node)
        self._host = host
        self._config = config
        self._controllers = _by_type(controllers)
        self._client = Client(host, config.servers)

    async def run(self, on_ready: Callable[[], None] = _say_nothing) -> None:
        """Runs this node until cancelled, which leaves its things running. `on_ready` is called once it has its copy.

        With no apiserver in reach it goes on with the objects that it last knew. Raises AlreadyExistsError if another
        living rubelet uses the node's name, FailedPreconditionError if the local store is of another node or in use,
        DataLossError if it is damaged or a write did not become durable.
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
        """Returns the error, with the things that are left running and what to do about them."""
        names: list[str] = []
        for one in self._controllers.values():
            try:
                names += await one.driver.list()
            except RubeError:
                continue  # the error names the things of the others all the same
        if not names:
            return error
        shown = ", ".join(names[:LEFT_SHOWN_MAX]) + (" and more" if len(names) > LEFT_SHOWN_MAX else "")
        return AlreadyExistsError(
            f"{error.message}. Units and other things of this rubelet that may still run here ({len(names)}): "
            f"{shown}. If the other rubelet shall keep the node's name, stop and remove them: add --purge",
            **error.metadata,
        )

    async def _run(self, engine: GuardedEngine, on_ready: Callable[[], None]) -> None:
        config = self._config
        identity = await Identity.load(
            engine, self._host, config.node, machine_id=config.machine_id, policy=config.identity_policy
        )
        config.identified(identity.instance_id)
        statuses = {name: one.unstored_status for name, one in self._controllers.items()}
        unstored = UnstoredReports(self._client, self._host.clock, config.node, statuses, retry_s=config.retry_s)
        copies = [self._copy_config(name, engine, unstored) for name in self._controllers]
        cache = InformerCache.of(self._client, self._host, copies)
        problems = Problems(
            [engine.why_full, *config.problems, *(partial(_unknown, cache, name) for name in self._controllers)]
        )
        runtimes = {
            name: Runtime(self._runtime_config(one, engine, cache.part(name), unstored, problems))
            for name, one in self._controllers.items()
        }
        logs = NodeLogs(cache, self._controllers, config.node)
        server = await self._serve(NodeApi(cache, runtimes, logs, config.node))
        registered = asyncio.Event()
        if identity.registered:
            registered.set()
        drivers = [one.driver_name for one in self._controllers.values()]
        registration = Registration(self._client, self._host, config, identity.instance_id, drivers, problems.all)

        async def follow() -> None:
            # A new rubelet touches nothing before it has the name for certain.
            await registered.wait()
            await identity.save_registered()
            async with asyncio.TaskGroup() as group:
                group.create_task(cache.run())
                for runtime in runtimes.values():
                    group.create_task(runtime.run())
                group.create_task(unstored.run())
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

    def _copy_config(self, type_name: str, engine: Engine, unstored: UnstoredReports) -> InformerConfig:
        node = self._config.node
        store = LocalCopy(engine, type_name)
        state = store.load()
        _LOG.info("node %s has %d objects of %s at revision %d", node, len(state.objects), type_name, state.revision)

        async def persist(batch: Batch) -> None:
            try:
                await store.persist(batch)
            except ResourceExhaustedError as error:
                for change in batch.changes:
                    if change.new is not None:
                        unstored.note(change.new, error)
                raise

        return InformerConfig(type=type_name, label_selector=f"{NODE_LABEL}={node}", state=state, persist=persist)

    def _runtime_config(
        self, one: NodeController, engine: Engine, cache: Cache, unstored: UnstoredReports, problems: Problems
    ) -> RuntimeConfig:
        config = self._config

        def unrecorded(key: ObjectKey, error: ResourceExhaustedError) -> None:
            if (obj := cache.get(key)) is not None:
                unstored.note(obj, error)

        return RuntimeConfig(
            host=self._host,
            controller=one,
            cache=cache,
            calls=self._client,
            engine=engine,
            observer=_all(one.observer, problems.observer(one.problem), config.observer),
            refusals=config.refusals,
            unrecorded=unrecorded,
            strict=config.strict,
            backoff=config.backoff,
            resync_s=config.resync_s,
        )

    async def _serve(self, api: NodeApi) -> aio.Server | None:
        if not self._config.listen:
            return None
        server = self._host.network.server()
        add_ApiServicer_to_server(api, server)
        listen(server, self._config.listen, self._host.network)
        await server.start()
        return server


def _by_type(controllers: Sequence[NodeController]) -> dict[str, NodeController]:
    """Returns them by the type of their objects. Raises InvalidArgumentError for what cannot run on one node."""
    by_type: dict[str, NodeController] = {}
    names: set[str] = set()
    for one in controllers:
        controller = one.controller
        if controller.type in by_type:
            raise InvalidArgumentError(f"two node controllers of {controller.type}: a node has one for each type")
        if controller.name in names:
            raise InvalidArgumentError(f"two node controllers are called {controller.name!r}: rename one of them")
        if controller.selector or controller.inputs:
            raise InvalidArgumentError(
                f"node controller {controller.name!r} has a selector or inputs: it sees all objects of its type that "
                "are bound to the node, and no others"
            )
        by_type[controller.type] = one
        names.add(controller.name)
    return by_type


def _unknown(cache: InformerCache, type_name: str) -> str:
    """Returns the problem that the apiserver does not know a type; empty if it does."""
    why = cache.refusal(type_name)
    return f"the apiserver does not know {type_name}, whose objects stay here as they are: {why}" if why else ""


def _all(*observers: DecisionObserver) -> DecisionObserver:
    def observe(decided: Decided) -> None:
        for each in observers:
            each(decided)

    return observe


def _most_telling(group: ExceptionGroup[Exception]) -> Exception:
    """Returns the RubeError that ended everything, or the group if there is none or more than one."""
    errors = _leaves(group)
    first = errors[0]  # several tasks may have found the lost disk, with the same error
    return first if isinstance(first, RubeError) and len({str(error) for error in errors}) == 1 else group


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for child in error.exceptions for leaf in _leaves(child)]
    return [error]
