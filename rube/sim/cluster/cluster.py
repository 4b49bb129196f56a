"""SimCluster: apiservers, rubelets and their users in a World, built of the classes that the real daemons are built of.

    with World(seed=1) as world:
        cluster = SimCluster(world)
        cluster.add_apiserver("api-1")
        cluster.add_node("worker-1")
        cluster.run(lambda user: user.put("default", [("web", default_unit(), "worker-1")]))
        cluster.faults.isolate("worker-1")
        world.run_for(30)
        cluster.faults.heal("worker-1")
        cluster.run_until_converged(timeout_s=20)

Everything is synchronous: the world stands still between two calls. `history` has the users' calls, the commits, the
observers' events and the units that ran, for rube.sim.judges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from rube.api import Object, Unit, WatchRequest
from rube.api.errors import RubeError
from rube.api.keys import key_of
from rube.api.well_known import UNIT_TYPE
from rube.controllers.contract import Controller
from rube.controllers.nodes import Maker
from rube.host import Host
from rube.sim.cluster import convergence
from rube.sim.cluster.commit_log import CommitLog
from rube.sim.cluster.controller_group import ControllerMemberProgram
from rube.sim.cluster.daemons import API_PORT, ApiserverProgram, Recorder, RelayProgram, RubeletProgram
from rube.sim.cluster.disasters import Disasters
from rube.sim.cluster.durability import DurablePairs
from rube.sim.cluster.faults import Faults
from rube.sim.cluster.follower import follow
from rube.sim.cluster.group_observer import GroupWatch
from rube.sim.cluster.machines import Daemon, Machine, make_machine
from rube.sim.cluster.user import User
from rube.sim.cluster.watch_observer import WatchObserver
from rube.sim.cluster.wire import Wire
from rube.sim.etcd import (
    CLIENT_PORT,
    DATA_URL,
    LOG_ENTRIES_KEPT,
    PEER_PORT,
    MemberConfig,
    Quirks,
    run_member,
)
from rube.sim.judges import Disturbance, Follower, GroupHistory, History
from rube.sim.world.kernel import RunTimeoutError, SimHost, World
from rube.sim.world.network import Link, SimFabric, SimNetwork
from rube.store import open_store, parse_store_url

STORE_URL = "sqlite:////var/lib/rube/apiserver.db"
POLL_S = 0.25
RESTART_S = 2.0
"""A daemon that ends, because its store does not answer or its disk is full or fails, is started again."""
USERS_HOST = "users"

T = TypeVar("T")
UserAct = Callable[[User], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """The properties of the machines and of the network between them."""

    link: Link = field(default_factory=Link)
    # Each host's clock is wrong by a draw from minus this to plus this.
    drift_ppm_max: int = 0
    clock_offset_ns_max: int = 0
    node_lease_s: float = 40.0
    """A node is silent once it has not renewed its lease for so long; it tries four times in that time."""
    raft_invariants: bool = True
    """Raft's invariants are checked at every step of a replicated group, which costs a fifth of the time."""
    disk_sync_ms: tuple[float, float] | None = None
    """The time that a sync of a disk takes: a draw between these. None: the default of `rube.sim.world.disk`."""
    sqlite: bool = False
    """`sqlite:` URLs open SQLite on the disks; otherwise the memory engine stands for it."""
    compaction: tuple[int, float] | None = None
    """The store keeps so many revisions, and forgets the others this often, in seconds. None: all are kept."""


class SimCluster:
    """A cluster in `world`. Hosts go by name; each runs one daemon. What breaks them is in `faults`."""

    def __init__(self, world: World, config: ClusterConfig | None = None) -> None:
        self.world = world
        self.config = config or ClusterConfig()
        self.history = History()
        self._commit_log = CommitLog(self.history.contents)
        self.fabric = SimFabric(world, self.config.link)
        self._recorder = Recorder(self.history, lambda: self.world.now_ns, world.trace, self._commit_log)
        self._machines: dict[str, Machine] = {}
        self._apiservers: dict[str, ApiserverProgram] = {}
        self._relays: list[str] = []
        self._rubelets: dict[str, RubeletProgram] = {}
        self._specs: dict[tuple[str, str], Unit] = {}
        self._users_made = 0
        self._desk = make_machine(self.world, self.fabric, world.observer, self._wire("desk"))
        self._group = self._watch(self.history.group, judged=self.config.raft_invariants)
        self._etcd = self._watch(self.history.etcd, judged=self.config.raft_invariants)
        # Not judged: replicas that were lost all at once form a new group, whose log starts over.
        self._controllers = self._watch(self.history.controllers, judged=False)
        self.faults = Faults(world, self.fabric, self._machines, self.history, self.config.link)
        self.disasters = Disasters(self.faults, self._machines, self._apiservers, self._users_machine)

    # Building

    def add_etcd(
        self, members: Sequence[str] = ("etcd-1",), quirks: Quirks | None = None, *, log_entries_kept: int = 0
    ) -> str:
        """Hosts with a member of one etcd each, started. Returns its store URL.

        `log_entries_kept`: a member that is further behind gets a snapshot; 0: etcd's default.
        """
        for name in members:
            machine = self._machine(name)
            config = MemberConfig(
                name=name,
                peers={member: f"{member}:{PEER_PORT}" for member in members},
                log_entries_kept=log_entries_kept or LOG_ENTRIES_KEPT,
                quirks=quirks or Quirks(),
                observer=self._etcd.observer(name, DurablePairs(machine.disk, DATA_URL)),
            )
            main = partial(run_member, machine.ports, config)
            machine.daemon = Daemon(name="etcd", main=main, restart_s=RESTART_S)
        for name in members:
            self._machines[name].start()
        return f"etcd://{','.join(f'{name}:{CLIENT_PORT}' for name in members)}"

    def add_apiserver(
        self, name: str = "api-1", *, store: str = STORE_URL, controllers: Sequence[Controller] | None = ()
    ) -> SimHost:
        """A host with an apiserver, the cluster controllers and a user's own `controllers`, started. None: without any.

        Several of them need a store that they share: that of `add_etcd`.
        """
        machine = self._machine(name)
        compaction = self.config.compaction
        url = parse_store_url(store)
        view = machine.durable_view(url.path) if url.is_member else None
        program = ApiserverProgram(machine.ports, store, self._recorder, controllers, self._group, compaction, view)
        self._apiservers[name] = program
        machine.daemon = Daemon(name="apiserver", main=program.main, restart_s=RESTART_S)
        machine.start()
        return machine.host

    def add_relay(
        self, name: str = "relay-1", *, history_revisions: int = 10_000, lookback_revisions: int = 1_000
    ) -> SimHost:
        """A host with a relay of the apiservers, started. Add them first, and the nodes after it: they use relays
        alone."""
        machine = self._machine(name, wire=self._wire(name, relay=True))
        upstream = _from(self.targets, len(self._relays))
        program = RelayProgram(
            machine.ports, upstream, history_revisions=history_revisions, lookback_revisions=lookback_revisions
        )
        self._relays.append(name)
        machine.daemon = Daemon(name="relay", main=program.main, restart_s=RESTART_S)
        machine.start()
        return machine.host

    def add_controllers(self, names: Sequence[str], own: Sequence[Sequence[Controller]]) -> None:
        """Hosts with a replica of the cluster controllers and of a user's own, each, started. Add the apiservers
        first, with `controllers=None`."""
        for name, extra in zip(names, own, strict=True):
            machine = self._machine(name)
            observer = self._controllers.observer(name)
            program = ControllerMemberProgram(
                machine.ports, names, lambda: self.targets, self._recorder, extra, observer
            )
            machine.daemon = Daemon(name="controller", main=program.main, restart_s=RESTART_S)
            machine.start()

    def add_node(self, name: str, makers: Sequence[Maker] = ()) -> SimHost:
        """A host with a service manager and a rubelet, started. Add the apiservers and relays first.

        `makers` are those of a user's own node controllers, which are called with a `SimNode`.
        """
        machine = self._machine(name)
        program = RubeletProgram(
            machine, self._targets_of_nodes(), lease_s=self.config.node_lease_s, recorder=self._recorder, makers=makers
        )
        self._rubelets[name] = program
        machine.daemon = Daemon(name="rubelet", main=program.main, restart_s=RESTART_S)
        machine.start()
        return machine.host

    def add_observer(self, name: str, filters: Sequence[WatchRequest] = ()) -> SimHost:
        """A host with a client that watches all units, and those that each of `filters` asks for, by itself."""
        machine = self._machine(name, observer=True)
        first = len(self._machines)
        observers = [
            WatchObserver(name=name, host=machine.ports, targets=self._targets_from(first + place), wanted=wanted)
            for place, wanted in enumerate([WatchRequest(type=UNIT_TYPE), *filters])
        ]

        client = f"{name}-informer"
        ports = replace(machine.ports, network=SimNetwork(self.fabric, machine.host, tap=self._wire(client)))
        targets = self._targets_from(first + 1)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for observer in observers:
                    group.create_task(observer.run())
                follower = Follower(client, name, targets)
                group.create_task(follow(follower, ports, self.history, lambda: self.world.now_ns))

        machine.daemon = Daemon(name="observer", main=main)
        machine.start()
        return machine.host

    @property
    def targets(self) -> Sequence[str]:
        """The addresses of the apiservers."""
        return _addresses(self._apiservers)

    @property
    def nodes(self) -> Sequence[str]:
        """The hosts with a rubelet, in the order of their making."""
        return list(self._rubelets)

    @property
    def hosts(self) -> Sequence[str]:
        """All hosts, in the order of their making."""
        return list(self._machines)

    def program_of(self, host: str) -> str:
        """`apiserver`, `relay`, `etcd`, `controller`, `rubelet` or `observer`."""
        daemon = self._machines[host].daemon
        return daemon.name if daemon else "nothing"

    def is_running(self, host: str) -> bool:
        """Returns whether the host's daemon runs."""
        return self._machines[host].running

    def leader(self) -> str:
        """The host that leads, in the newest term: of the apiservers' group, else of the etcd, else of the replicated
        controllers. "": none does."""
        if self._group.known:
            return self._leading_apiserver()
        return (self._etcd if self._etcd.known else self._controllers).leader(self.is_running)

    def _leading_apiserver(self) -> str:
        """The apiserver that leads the replicated group, in the newest term; "": none does."""
        terms = {name: self._apiservers[name].leading_term for name in self._apiservers if self.is_running(name)}
        leading = [name for name, term in terms.items() if term]
        return max(leading, key=lambda name: terms[name], default="")

    # Users

    def run(self, act: UserAct, timeout_s: float = 300.0) -> None:
        """Lets a user do something and waits, in virtual time, until it is acknowledged."""

        async def main() -> None:
            await act(self._user("user", self._desk))

        self.world.run(main, timeout_s=timeout_s)

    def start_user(self, name: str, act: UserAct) -> None:
        """Lets a user do something, on a host that users share, and does not wait."""
        machine = self._users_machine()

        async def main() -> None:
            await act(self._user(name, machine))

        machine.host.spawn(name, main)

    def ports_of_client(self, name: str) -> Host:
        """Returns the ports of a user's own client, on a machine that never fails; what it asks is judged."""
        network = SimNetwork(self.fabric, self.world.observer, tap=self._wire(name, user=True))
        return replace(self._desk.ports, network=network)

    # Units on their machines, and other things

    def kept(self, node: str, make: Callable[[], T]) -> T:
        """Returns the things of a user's own node controller on that node, as `SimNode.kept` gives them."""
        found: T = self._rubelets[node].things[make]
        return found

    def look(self, node: str, namespace: str, name: str) -> tuple[str, int]:
        """A unit's state as its machine says (`absent` if it is not there), and how often it was started there.

        With an empty node: on the first machine that runs it, or else has it, and how often on all together."""
        unit = f"{namespace}/{name}"
        starts = sum(
            transition.running and transition.unit == unit and node in ("", transition.node)
            for transition in self.history.transitions
        )
        seen = self._rubelets[where].units().get(unit) if (where := node or self.machine_of(namespace, name)) else None
        return (seen.state if seen else "absent"), starts

    def machine_of(self, namespace: str, name: str) -> str:
        """Returns the first machine that runs a unit, or else the first that has it; empty: none has it."""
        machines = {node: rubelet.units().get(f"{namespace}/{name}") for node, rubelet in self._rubelets.items()}
        states = {node: seen.state for node, seen in machines.items() if seen}
        return min(states, key=lambda node: states[node] != "active", default="")

    def crash_unit(self, node: str, namespace: str, name: str) -> None:
        """The unit's main process dies of a signal. Nothing if it does not run."""
        self._disturb(node, namespace, name, "crashed")
        self._rubelets[node].crash(namespace, name)

    def remove_unit(self, node: str, namespace: str, name: str) -> None:
        """Lets an operator stop the unit and remove it from the machine, by hand."""
        self._disturb(node, namespace, name, "was removed")
        self._rubelets[node].remove(namespace, name)

    def fail_actions(self, node: str, *, fails: bool) -> None:
        """Fails whatever the node's driver is asked to do from now on, though about half of it is done; or no more."""
        self._rubelets[node].services.fail_actions(fails=fails)

    # Judging

    def objects(self) -> list[Object]:
        """Every unit in the store, as the API lists them. Raises a RubeError if no apiserver answers."""
        return self.world.run(convergence.list_units, self._desk.ports, self.targets, timeout_s=60)

    def problems(self) -> list[str]:
        """Returns the reasons why the cluster is not converged, by the API and every machine."""
        try:
            objects = self.objects()
        except RubeError as error:
            return [f"the apiserver does not answer: {error.message}"]
        return convergence.problems(objects, self._seen())

    def run_until_converged(self, timeout_s: float = 60.0) -> None:
        """Lets time pass until the cluster is converged. Raises RunTimeoutError with the problems."""
        deadline_ns = self.world.now_ns + round(timeout_s * 1e9)
        while problems := self.problems():
            if self.world.now_ns >= deadline_ns:
                raise RunTimeoutError(f"not converged within {timeout_s} s of virtual time: {'; '.join(problems[:10])}")
            self.world.run_for(POLL_S)

    def conclude(self) -> None:
        """Completes the history: the store's log, its objects and the statuses, as they are now.

        Raises a RubeError if no apiserver answers.
        """
        self.faults.conclude()
        objects = self.objects()
        self.history.final = {str(key_of(obj)): obj.metadata.revision for obj in objects}
        self.history.statuses = convergence.status_pairs(objects, self._seen())
        self.history.end_ns = self.world.now_ns
        self.history.nodes = set(self._rubelets)
        self.history.failed_disks = {name for name, machine in self._machines.items() if machine.disk.has_failed}
        self.history.forgetful_disks = {name for name, machine in self._machines.items() if machine.disk.has_forgotten}
        self.history.down = {
            name for name, machine in self._machines.items() if not machine.running or machine.host.paused
        }
        self.world.run(self._note_copies, timeout_s=60)
        self.world.run(self._read_log, timeout_s=60)
        self.history.store_id, self.history.log = self._commit_log.store_id, self._commit_log.log
        self.history.terms = self._commit_log.terms

    # Inside

    def _watch(self, history: GroupHistory, *, judged: bool) -> GroupWatch:
        return GroupWatch(history, lambda: self.world.now_ns, self.world.trace, judged=judged)

    async def _note_copies(self) -> None:
        for program in self._rubelets.values():
            await program.note_copy()

    async def _read_log(self) -> None:
        """Reads the stores' logs. A store on a disk has one user, which is asked; one on servers is opened once
        more."""
        apiserver = self._apiservers[self._leading_apiserver() or next(iter(self._apiservers))]
        if not parse_store_url(apiserver.store_url).servers:
            await self._commit_log.keep(apiserver.store)
            return
        store = await open_store(self._desk.ports, apiserver.store_url)
        try:
            await self._commit_log.keep(store)
        finally:
            await store.close()

    def _targets_from(self, number: int) -> Sequence[str]:
        """The apiservers and relays, beginning with another one for each number."""
        return _from([*self.targets, *_addresses(self._relays)], number)

    def _targets_of_nodes(self) -> Sequence[str]:
        """The relays, beginning with another one for each node; without any the apiservers."""
        return _from(_addresses(self._relays), len(self._rubelets)) if self._relays else self.targets

    def _wire(self, client: str, *, user: bool = False, observer: bool = False, relay: bool = False) -> Wire:
        return Wire(
            client=client,
            history=self.history,
            now_ns=lambda: self.world.now_ns,
            user=user,
            observer=observer,
            relay=relay,
        )

    def _machine(self, name: str, *, observer: bool = False, wire: Wire | None = None) -> Machine:
        draw = self.world.random(f"cluster/clock/{name}")
        drift, offset = self.config.drift_ppm_max, self.config.clock_offset_ns_max
        host = self.world.host(
            name, drift_ppm=draw.randint(-drift, drift), clock_offset_ns=draw.randint(-offset, offset)
        )
        wire = wire or self._wire(name, observer=observer)
        machine = self._machines[name] = make_machine(self.world, self.fabric, host, wire, sqlite=self.config.sqlite)
        if self.config.disk_sync_ms is not None:
            machine.disk.latency_ms(*self.config.disk_sync_ms)
        return machine

    def _users_machine(self) -> Machine:
        return self._machines.get(USERS_HOST) or self._machine(USERS_HOST)

    def _user(self, name: str, machine: Machine) -> User:
        self._users_made += 1
        wire = self._wire(name, user=True)
        return User(
            name=name,
            host=replace(machine.ports, network=SimNetwork(self.fabric, machine.host, tap=wire)),
            next_call=wire.next_call,
            targets=self._targets_from(self._users_made),
            specs=self._specs,
        )

    def _seen(self) -> dict[str, dict[str, convergence.SeenUnit]]:
        return {name: program.units() for name, program in self._rubelets.items()}

    def _disturb(self, node: str, namespace: str, name: str, kind: str) -> None:
        now_ns = self.world.now_ns
        self.history.disturbances.append(Disturbance(at_ns=now_ns, node=node, unit=f"{namespace}/{name}", kind=kind))


def _addresses(names: Iterable[str]) -> list[str]:
    return [f"{name}:{API_PORT}" for name in names]


def _from(targets: Sequence[str], number: int) -> list[str]:
    """Returns the targets, beginning with another one for each number."""
    first = number % len(targets)
    return [*targets[first:], *targets[:first]]
