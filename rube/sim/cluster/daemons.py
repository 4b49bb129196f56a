"""The daemons of a simulated cluster, composed of the shipped classes as rube.cli composes the real ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from rube.api import UnitAction
from rube.api.errors import DataLossError, ResourceExhaustedError, UnavailableError
from rube.api.well_known import EVERY_TYPE
from rube.client import Client
from rube.controllers.cluster.catalog import CLUSTER_CONTROLLERS, make_controllers
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.controllers.config import Decided, Refused
from rube.controllers.contract import Controller, TransformingController
from rube.controllers.nodes import Maker, NodeContext, make_node_controllers
from rube.host import Host
from rube.rubelet import Rubelet, RubeletConfig
from rube.server import ApiServer, ApiServerConfig
from rube.server.relay import Relay, RelayConfig
from rube.sim.cluster.commit_log import CommitLog
from rube.sim.cluster.convergence import SeenUnit
from rube.sim.cluster.durability import DurableView
from rube.sim.cluster.error_log import Pace, refusal_recorder
from rube.sim.cluster.group_observer import GroupWatch
from rube.sim.cluster.machines import Machine
from rube.sim.cluster.memories import Memories
from rube.sim.cluster.node_copies import is_decided, note_copy
from rube.sim.cluster.recording import RecordingStore
from rube.sim.cluster.running_units import UnitWatcher
from rube.sim.judges import Action, DaemonError, History, View
from rube.sim.judges.contents import digest_of
from rube.sim.units.service_manager import SimServiceDriver, SimServiceManager
from rube.sim.world.kernel import Trace
from rube.store import Store, StoreConfig, open_store, parse_store_url
from rube.store.replicated.store import ReplicatedStore
from rube.units.names import unit_name
from rube.units.node_controller import unit_node_controller
from rube.units.spec_checks import built_in_spec_checks

T = TypeVar("T")
_LOG = logging.getLogger("rube.sim")
_DISK_ERRORS = (DataLossError, ResourceExhaustedError)

API_PORT = 7823
RUBELET_URL = "sqlite:////var/lib/rube/rubelet.db"
NODE_VERSION = "0.1.0"
"""The version that nodes report, whatever the release, so that traces do not depend on it."""
CONTROLLERS_URL = "sqlite:////var/lib/rube/controllers.db"


async def _end_with_loss(server: ApiServer) -> None:
    raise await server.failed()


@dataclass(frozen=True, slots=True)
class Recorder:
    """The record of apiservers' commits, and of controllers' decisions and refused calls."""

    history: History
    now_ns: Callable[[], int]
    trace: Trace
    commit_log: CommitLog

    def loss(self, host: str, lost: Exception) -> None:
        """Notes that a daemon ends because its writes are not durable."""
        while isinstance(lost, ExceptionGroup):
            lost = lost.exceptions[0]
        self.trace.add("daemon-lost", host)
        self.history.losses.append(DaemonError(self.now_ns(), host, str(lost)))
        _LOG.error("%s: the daemon ends: %s", host, lost)

    def decisions(
        self, host: str, controllers: Sequence[Controller] = (), *, one_process: bool = True
    ) -> Callable[[Decided], None]:
        """Returns an observer of a controller runtime that notes each decision and its state, and ends a livelock.

        `controllers` are a user's own on that host. `one_process`: no other process hands over its
        memories, so each memory is one that this process has kept.
        """
        pace = Pace(self.now_ns, host)
        every = [*make_controllers(tuple(CLUSTER_CONTROLLERS)), *controllers]
        transforming = {one.name for one in every if isinstance(one, TransformingController)}
        selective = {one.name for one in every if one.selector or one.type == EVERY_TYPE}
        partial = {one.name for one in every if one.type == EVERY_TYPE}
        contents = self.history.contents
        memories = Memories(lambda text: self.history.machines.forgotten.append(DaemonError(self.now_ns(), host, text)))

        def record(decided: Decided) -> None:
            key = str(decided.key)
            self.trace.add("decide", host, decided.controller, key, decided.state_sha256, decided.decision_sha256)
            pace.decided(decided.controller, key)
            state = decided.state
            if one_process:
                memories.decided(decided)
            view = View(
                at_ns=self.now_ns(),
                host=host,
                controller=decided.controller,
                key=key,
                own=contents.of(state.object) if state.HasField("object") else None,
                related=tuple(contents.of(obj) for obj in state.related),
                whole=decided.controller not in transforming,
                selective=decided.controller in selective,
                partial=decided.controller in partial,
            )
            self.history.views.append(view)

        return record

    def refusals(self, host: str) -> Callable[[Refused], None]:
        """An observer of a controller runtime that notes the calls that were refused."""
        return refusal_recorder(self.history, self.now_ns, host)


class ApiserverProgram:
    """`rube apiserver` on a simulated host: a store, the server, and the cluster controllers as its clients."""

    def __init__(
        self,
        ports: Host,
        store_url: str,
        recorder: Recorder,
        controllers: Sequence[Controller] | None,
        group: GroupWatch,
        compaction: tuple[int, float] | None = None,
        view: DurableView | None = None,
    ) -> None:
        """`controllers` run beside the built-in ones; None: those do not run either. `group` watches a member, with
        the `view` of its disk.

        `compaction`: so many revisions are kept, and the others forgotten this often; None: the history stays whole.
        """
        self._compaction = compaction or (0, 60.0)
        self.store_url = store_url
        self._ports = ports
        self._recorder = recorder
        self._controllers = controllers
        self._store_config = StoreConfig(member_observer=group.observer(ports.name, view))
        self._store: Store | None = None
        self._replicated: ReplicatedStore | None = None

    @property
    def store(self) -> Store:
        """The store of the last incarnation."""
        assert self._store is not None, "the apiserver was never started"
        return self._store

    @property
    def leading_term(self) -> int:
        """The term in which this apiserver leads its replicated group, as far as it knows; 0: it does not."""
        inner = self._replicated
        return inner.member.term if inner is not None and inner.member.leads else 0

    async def main(self) -> None:
        """Serves until cancelled. Ends, as the program does, if its store does not answer or its disk fails, or is full
        when it is opened."""
        try:
            inner = await open_store(self._ports, self.store_url, self._store_config)
        except UnavailableError as error:
            _LOG.error("the apiserver does not start: %s", error.message)
            return
        except _DISK_ERRORS as lost:
            self._recorder.loss(self._ports.name, lost)
            return
        self._replicated = inner if isinstance(inner, ReplicatedStore) else None
        recorder = self._recorder
        self._store = RecordingStore(inner, recorder.history, recorder.now_ns, self._ports.name, recorder.commit_log)
        revisions, interval_s = self._compaction
        config = ApiServerConfig(
            listen=(f"0.0.0.0:{API_PORT}",),
            history_revisions_max=revisions,
            compaction_interval_s=interval_s,
            spec_checks=built_in_spec_checks(),
        )
        server = ApiServer(self._ports, self._store, config)
        try:
            await self._serve(server)
        finally:
            await inner.close()

    async def _serve(self, server: ApiServer) -> None:
        try:
            await server.start()
        except _DISK_ERRORS as lost:
            self._recorder.loss(self._ports.name, lost)
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_end_with_loss(server))
                group.create_task(self._run_controllers())
        except* _DISK_ERRORS as lost:
            self._recorder.loss(self._ports.name, lost)
        finally:
            await server.stop()

    async def _run_controllers(self) -> None:
        if self._controllers is None:
            return
        engine = await self._ports.storage.open(CONTROLLERS_URL)
        try:
            async with Client(self._ports, [f"127.0.0.1:{API_PORT}"]) as client:
                config = ClusterControllersConfig(
                    observer=self._recorder.decisions(self._ports.name, self._controllers),
                    refusals=self._recorder.refusals(self._ports.name),
                    strict=True,
                    extra=self._controllers,
                )
                await ClusterControllers(self._ports, client, engine, config).run()
        finally:
            await engine.close()


class RelayProgram:
    """`rube relay` on a simulated host."""

    def __init__(
        self, ports: Host, upstream: Sequence[str], *, history_revisions: int, lookback_revisions: int
    ) -> None:
        limits = ApiServerConfig(listen=(f"0.0.0.0:{API_PORT}",), history_revisions_max=history_revisions)
        self._ports = ports
        self._config = RelayConfig(upstream=upstream, server=limits, lookback_revisions=lookback_revisions)

    async def main(self) -> None:
        """Serves until cancelled."""
        relay = Relay(self._ports, self._config)
        try:
            await relay.start()
            await relay.run()
        finally:
            await relay.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimNode(NodeContext):
    """A simulated node, as the maker of a node controller sees it."""

    things: dict[Callable[[], Any], Any]

    def kept(self, make: Callable[[], T]) -> T:
        """Returns what `make` returned first on this machine: things which outlive the rubelet, and a boot."""
        if make not in self.things:
            self.things[make] = make()
        found: T = self.things[make]
        return found


class RubeletProgram:
    """`rubelet` on a simulated host, on that host's service manager."""

    def __init__(
        self,
        machine: Machine,
        servers: Sequence[str],
        *,
        lease_s: float,
        recorder: Recorder,
        makers: Sequence[Maker] = (),
    ) -> None:
        """`makers` are those of a user's own node controllers."""
        self._makers = makers
        self.things: dict[Callable[[], Any], Any] = {}
        host = self._host = machine.host
        self._machine = machine
        self._view = machine.durable_view(parse_store_url(RUBELET_URL).path)
        self._recorder = recorder
        self._ports = machine.ports
        self._servers = servers
        self._lease_s = lease_s
        self._history = recorder.history
        self.services = SimServiceManager(host)
        history = recorder.history
        machines = history.machines
        self._watcher = UnitWatcher(
            host, self.services, history.transitions.append, machines.inherited.append, self._note_installed
        )

    async def main(self) -> None:
        """Runs until cancelled. Ends, as the program does, if its disk fails, or is full when it is opened."""
        boot_id = f"{self._host.name}-{self._host.boots}"
        config = RubeletConfig(
            node=self._host.name,
            servers=self._servers,
            data_url=RUBELET_URL,
            boot_id=boot_id,
            lease_s=self._lease_s,
            renew_s=self._lease_s / 4,
            observer=self._recorder.decisions(self._host.name),
            refusals=self._recorder.refusals(self._host.name),
            strict=True,
            version=NODE_VERSION,
        )
        await self.note_copy()
        driver = SimServiceDriver(self._ports.clock, self.services, self._note_action)
        units = unit_node_controller(
            node=config.node, boot_id=boot_id, driver=driver, driver_name="simulated", clock=self._ports.clock
        )
        node = SimNode(
            node=config.node, boot_id=boot_id, host=self._ports, data=PurePosixPath("/var/lib/rube"), things=self.things
        )
        controllers = [units, *make_node_controllers(self._makers, node)]
        try:
            await Rubelet(self._ports, config, controllers).run()
        except _DISK_ERRORS as lost:
            self._recorder.loss(self._host.name, lost)
        finally:
            for one in controllers:
                await one.driver.close()

    async def note_copy(self) -> None:
        """Notes in the history what this node's disk has of the store."""
        await note_copy(self._history, self._machine, RUBELET_URL, self._host.world.now_ns)

    def _note_installed(self, uid: str, generation: int) -> None:
        self._history.machines.installed.setdefault((self._host.name, uid, generation), self._host.world.now_ns)

    def _note_action(self, action_id: str, action: UnitAction) -> None:
        kind = action.WhichOneof("action") or "nothing"
        what = f"{kind} {digest_of(action.SerializeToString(deterministic=True))}"
        decided = is_decided(self._view, action.unit, action_id)
        self._history.machines.actions.append(
            Action(self._host.world.now_ns, self._host.name, action_id, action.unit, what, decided)
        )

    def units(self) -> dict[str, SeenUnit]:
        """Every unit on this machine by `namespace/name`."""
        return self._watcher.units()

    def crash(self, namespace: str, name: str) -> None:
        """The unit's main process dies of SIGSEGV."""
        self.services.crash(unit_name(namespace, name))

    def remove(self, namespace: str, name: str) -> None:
        """Lets an operator remove the unit behind Rube's back."""
        self.services.remove_by_hand(unit_name(namespace, name))
