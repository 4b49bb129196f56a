"""Runs a scenario: builds its cluster in a world, plays steps and faults, watches, and has the history judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from rube.api import Object, WatchRequest
from rube.api.well_known import UNIT_TYPE
from rube.controllers.cluster.catalog import make_controllers
from rube.controllers.contract import Controller
from rube.controllers.nodes import node_makers
from rube.sim.cluster.cluster import ClusterConfig, SimCluster
from rube.sim.cluster.error_log import errors_counted
from rube.sim.judges import History, Outcome, Sample, UnitProbe, summarize_latency, summarize_refusals
from rube.sim.report import Counts, Result
from rube.sim.scenario.faults import Event, fault_events
from rube.sim.scenario.judging import judge_all
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.own_types import messages_of, types_with
from rube.sim.scenario.relays import relay_names
from rube.sim.scenario.replicas import controller_replicas
from rube.sim.scenario.scenario_pb2 import SQLITE, Cluster, Scenario, UnitState
from rube.sim.scenario.scenario_pb2 import Link as LinkSpec
from rube.sim.scenario.stores import etcd_members
from rube.sim.scenario.validate import observer_names
from rube.sim.scenario.workload import step_events
from rube.sim.story.narrator import FrameNarrator
from rube.sim.world.disk import SYNC_LATENCY_NS
from rube.sim.world.kernel import World
from rube.sim.world.kernel.trace import RECORDS_MAX
from rube.sim.world.network import Link

SAMPLE_NS = 250_000_000
"""The interval of looks at convergence after the last step and fault, until it is there."""
SAMPLE_CONVERGED_NS = 1_000_000_000
"""The interval of looks once it is there."""
SLICE_NS = 200_000_000
"""So much virtual time passes at most between two questions whether to go on."""


class Simulation:
    """One run of a scenario: `with Simulation(load(file)) as simulation: result = simulation.run()`.

    `world` can be looked at before and after. The same scenario and seed give an equal Result, always.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        *,
        seed: int | None = None,
        tie_break: bool = False,
        records_max: int | None = RECORDS_MAX,
        narrated: bool = False,
        own: Callable[[], Sequence[Controller]] = tuple,
    ) -> None:
        """`tie_break`: the seed orders tasks that are ready at one instant. `records_max`: see `Trace`. `narrated`: the
        records say in words what is sent, and to where; the run and its digest stay the same. `own` makes controllers
        beside those that the scenario names."""
        self._loaded = loaded
        self._scenario = loaded.scenario
        self.seed = loaded.scenario.seed if seed is None else seed
        self.world = World(self.seed, tie_break=tie_break, records_max=records_max)
        self.cluster = SimCluster(self.world, config=_cluster_config(self._scenario))
        if narrated:
            self.cluster.fabric.narrator = FrameNarrator()
        self._goes_on: Callable[[int], bool] = lambda now_ns: True
        self._stopped = False
        self._sample_at_ns = 0
        self._own = own

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.world.__exit__(kind, error, traceback)

    def run(self, goes_on: Callable[[int], bool] = lambda now_ns: True) -> Result:
        """Plays the scenario to its end, or until `goes_on`, which is called with the virtual time again and again,
        returns False.

        Raises SimulationFailures for an exception that no simulated code handled.
        """
        self.build()
        self._goes_on = goes_on
        events = sorted(self._events(), key=lambda event: event.at_ns)
        history = self.cluster.history
        history.quiet_ns = max((event.at_ns for event in events if not event.looks), default=0)
        history.end_ns = self._scenario.duration.ToNanoseconds()
        with errors_counted(history, lambda: self.world.now_ns):
            for event in events:
                self._run_to(event.at_ns)
                if self._stopped:
                    break
                event.act()
            self._run_to(history.end_ns)
            self.cluster.conclude()
        return self._result([event for event in events if event.text and event.at_ns <= history.end_ns])

    def schedule(self, tell: Callable[[str], None]) -> None:
        """Lets the steps and faults happen at their times, whoever drives the world, in the place of `run`. `tell` gets
        each as it happens."""
        for event in sorted(self._events(), key=lambda event: event.at_ns):

            def happen(event: Event = event) -> None:
                tell(event.text)
                event.act()

            if not event.looks:
                self.world.loop.after_ns(event.at_ns, self.world.outside, happen)

    def build(self, types: Sequence[Object] = ()) -> None:
        """Puts the cluster together, before anything happens; `run` does it. `types` are more that will be pushed."""
        cluster = self._scenario.cluster
        self.cluster.history.messages.update(messages_of([*self._loaded.types, *self._loaded.brought, *types]))
        if members := etcd_members(cluster):
            self.cluster.add_etcd(members, log_entries_kept=cluster.etcd.log_entries_kept)
        replicas = controller_replicas(cluster)
        for apiserver in cluster.apiservers:
            own = None if replicas else self._controllers()
            self.cluster.add_apiserver(apiserver.name, store=apiserver.store, controllers=own)
        if replicas:
            self.cluster.add_controllers(replicas, [self._controllers() for _ in replicas])
        relays = cluster.relays
        for name in relay_names(cluster):
            self.cluster.add_relay(
                name,
                history_revisions=relays.history_revisions,
                lookback_revisions=relays.lookback_revisions,
            )
        makers = node_makers(cluster.nodes.controllers)
        for name in cluster.nodes.names:
            self.cluster.add_node(name, makers)
        filters = [
            WatchRequest(type=UNIT_TYPE, namespace=wanted.namespace, name=wanted.name, label_selector=wanted.labels)
            for wanted in self._scenario.workload.filters
        ]
        for name in observer_names(self._scenario):
            self.cluster.add_observer(name, filters)
            filters = []

    def _controllers(self) -> list[Controller]:
        return [*make_controllers(self._scenario.cluster.controllers), *self._own()]

    def _run_to(self, at_ns: int) -> None:
        """Lets time pass; after the last step and fault it samples the problems."""
        history = self.cluster.history
        while self.world.now_ns < at_ns and not self._stopped:
            next_ns = at_ns
            if self.world.now_ns >= max(history.quiet_ns, self._sample_at_ns):
                sample = Sample(self.world.now_ns, tuple(self.cluster.problems()))
                history.samples.append(sample)
                self._sample_at_ns = sample.at_ns + (SAMPLE_NS if sample.problems else SAMPLE_CONVERGED_NS)
                next_ns = min(at_ns, self._sample_at_ns)
            elif at_ns > max(history.quiet_ns, self._sample_at_ns):
                next_ns = max(history.quiet_ns, self._sample_at_ns)
            next_ns = min(next_ns, self.world.now_ns + SLICE_NS)
            if next_ns > self.world.now_ns:
                self.world.run_for((next_ns - self.world.now_ns) / 1e9)
            self._stopped = not self._goes_on(self.world.now_ns)

    def _events(self) -> Iterator[Event]:
        yield from step_events(self._loaded, self.cluster)
        yield from fault_events(self._scenario, self.cluster)
        for expectation in self._scenario.expect:
            if expectation.WhichOneof("check") == "unit":
                yield self._look(expectation.unit)

    def _look(self, unit: UnitState) -> Event:
        at_ns = unit.at.ToNanoseconds()

        def look() -> None:
            node = unit.node or self.cluster.machine_of(unit.namespace, unit.name)
            state, starts = self.cluster.look(unit.node, unit.namespace, unit.name)
            probe = UnitProbe(
                at_ns=at_ns,
                asked=unit.node,
                node=node,
                unit=f"{unit.namespace}/{unit.name}",
                state=state,
                starts=starts,
                cut_off=bool(node) and self.cluster.faults.is_cut_off(node),
            )
            self.cluster.history.probes.append(probe)

        return Event(at_ns=at_ns, text="", act=look, looks=True)

    def _result(self, events: list[Event]) -> Result:
        history = self.cluster.history
        types = types_with([*self._loaded.brought, *self._loaded.types])
        users = [attempt for attempt in history.attempts if attempt.user]
        return Result(
            name=self._scenario.name,
            description=self._scenario.description,
            seed=self.seed,
            tie_break=self.world.loop.tie_break is not None,
            counts=Counts(
                etcd_members=len(etcd_members(self._scenario.cluster)),
                apiservers=len(self._scenario.cluster.apiservers),
                relays=len(relay_names(self._scenario.cluster)),
                controllers=len(controller_replicas(self._scenario.cluster)),
                nodes=len(self._scenario.cluster.nodes.names),
                units=len(history.final),
                observers=self._scenario.workload.observers,
                attempts=len(users),
                acknowledged=sum(attempt.outcome is Outcome.OK for attempt in users),
                commits=len(history.commits),
                watch_events=sum(
                    len(delivery.events)
                    for stream in history.streams
                    if stream.observer
                    for delivery in stream.deliveries
                ),
                records=self.world.trace.records_total,
            ),
            events=sorted(
                [*((event.at_ns, event.text) for event in events), *_leaders(history)], key=lambda event: event[0]
            ),
            faults=[(event.at_ns, event.ends_ns) for event in events if event.ends_ns is not None],
            verdicts=judge_all(self._scenario, history, types),
            latencies=summarize_latency(history),
            refusals=summarize_refusals(history),
            errors=[history.errors[place] for place in sorted(history.errors)],
            virtual_ns=history.end_ns,
            trace_sha256=self.world.trace.digest(),
            elections=history.group.elections + history.etcd.elections,
            stopped=self._stopped,
        )


def _leaders(history: History) -> Iterator[tuple[int, str]]:
    groups = (
        ("leads", history.group),
        ("leads the etcd", history.etcd),
        ("leads the controllers", history.controllers),
    )
    for what, group in groups:
        for leadership in group.leaderships:
            yield leadership.at_ns, f"{leadership.member} {what}, in term {leadership.term}"


def _cluster_config(scenario: Scenario) -> ClusterConfig:
    clocks = scenario.cluster.clocks
    return ClusterConfig(
        link=_link(scenario.cluster.network),
        drift_ppm_max=clocks.drift_ppm_max,
        clock_offset_ns_max=clocks.offset_max.ToNanoseconds(),
        node_lease_s=scenario.cluster.node_lease.ToNanoseconds() / 1e9,
        raft_invariants=any(expectation.HasField("raft_invariants") for expectation in scenario.expect),
        disk_sync_ms=_sync_ms(scenario.cluster),
        sqlite=scenario.cluster.engine == SQLITE,
        compaction=_compaction(scenario.cluster),
    )


def _compaction(cluster: Cluster) -> tuple[int, float] | None:
    if not cluster.HasField("compaction"):
        return None
    return cluster.compaction.revisions, cluster.compaction.every.ToNanoseconds() / 1e9


def _sync_ms(cluster: Cluster) -> tuple[float, float] | None:
    if not cluster.HasField("disks"):
        return None
    given = cluster.disks.HasField("sync")
    least_ns = cluster.disks.sync.ToNanoseconds() if given else SYNC_LATENCY_NS
    return least_ns / 1e6, (least_ns + cluster.disks.jitter.ToNanoseconds()) / 1e6


def _link(spec: LinkSpec) -> Link:
    given: dict[str, float] = {}
    if spec.HasField("latency"):
        given["latency_ms"] = spec.latency.ToNanoseconds() / 1e6
    if spec.HasField("jitter"):
        given["jitter_ms"] = spec.jitter.ToNanoseconds() / 1e6
    if spec.HasField("bandwidth_mbit"):
        given["bandwidth_mbps"] = spec.bandwidth_mbit
    return Link(loss=spec.loss, **given)
