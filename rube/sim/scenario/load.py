"""The loader of scenario files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from google.protobuf.duration_pb2 import Duration

from rube.api import Object, Service, Unit, textproto
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.types import Types
from rube.server import ApiServerConfig
from rube.server.relay import RelayConfig
from rube.shipped import shipped_scenarios
from rube.sim.judges.rest import WITHIN_NS
from rube.sim.scenario.chaos import fill_chaos
from rube.sim.scenario.claims import check_claims
from rube.sim.scenario.disasters import fill_disaster
from rube.sim.scenario.files import read_text
from rube.sim.scenario.own_types import read_objects, read_types
from rube.sim.scenario.relays import RELAYS, relay_names
from rube.sim.scenario.replicas import REPLICAS, controller_replicas
from rube.sim.scenario.scenario_pb2 import Cluster, Fault, Scenario, Step
from rube.sim.scenario.settings import apply_settings
from rube.sim.scenario.sizes import check_sizes
from rube.sim.scenario.stores import etcd_members, etcd_url, raft_members, raft_url
from rube.sim.scenario.validate import validate
from rube.sim.scenario.yamlproto import Source, parse

STORE_URL = "sqlite:////var/lib/rube/apiserver.db"
NAMESPACE = "default"
NODE_LEASE_NS = 40_000_000_000
ETCD_MEMBERS = 3
RAFT_MEMBERS = 3
COMPACTION_REVISIONS = 50
COMPACTION_NS = 5_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A checked scenario with its defaults filled in. `file` is the user's name for it: for messages alone."""

    scenario: Scenario
    file: str
    units: dict[str, Unit]
    """The specs that steps take from files, by the step's name of the file; "" is the default unit."""
    objects: dict[str, list[Object]]
    """The objects in the files of `put_file`, by the step's name of the file."""
    types: list[Object]
    """The api.Type objects that a user pushes at the start."""
    brought: list[Object]
    """Those that controllers push."""
    written: Scenario
    """The scenario as written, without defaults, but with its settings."""
    settings: Sequence[str] = ()
    """`PATH=VALUE`, as they were given on the command line."""

    @property
    def arguments(self) -> str:
        """The arguments of `rube sim` to run this, quoted for a shell; a scenario that Rube ships by its name."""
        file = Path(self.file)
        shown = file.stem if shipped_scenarios().get(file.stem) == file else self.file
        return shlex.join([shown, *(word for setting in self.settings for word in ("--set", setting))])


def load(file: str, settings: Sequence[str] = ()) -> LoadedScenario:
    """Reads and checks a scenario file; `settings` (`PATH=VALUE`) change fields of it.

    Raises ScenarioError with one `file:line: …` for each mistake, NotFoundError or InvalidArgumentError if the file
    cannot be read.
    """
    return load_text(read_text(Path(file)), file, settings)


def load_text(text: str, file: str, settings: Sequence[str] = ()) -> LoadedScenario:
    """Like `load`, of a text; paths in it are relative to `file`."""
    scenario, source = parse(text, file, Scenario)
    apply_settings(scenario, settings, source)
    written = Scenario()
    written.CopyFrom(scenario)
    check_sizes(scenario, source)
    source.raise_errors()
    _fill_defaults(scenario)
    validate(scenario, source)
    types = read_types(scenario, file, source)
    source.raise_errors()  # without its type no object is right
    units = _units(scenario, file, source, types)
    objects = read_objects(scenario, file, source, types)
    check_claims(scenario, source, types)
    source.raise_errors()
    return LoadedScenario(
        scenario=scenario,
        file=file,
        units=units,
        objects=objects,
        types=types.pushed,
        brought=types.brought,
        written=written,
        settings=settings,
    )


def default_unit() -> Unit:
    """A service that runs until it is stopped and comes back one second after a failure."""
    service = Service(
        type=Service.EXEC, restart=Service.ON_FAILURE, exec=Service.Exec(start=["/usr/bin/sleep infinity"])
    )
    service.time.restart = 1
    return Unit(description="a simulated service", service=service)


def _fill_defaults(scenario: Scenario) -> None:
    cluster = scenario.cluster
    if not scenario.HasField("seed"):
        scenario.seed = 1
    if cluster.HasField("etcd"):
        cluster.etcd.members = cluster.etcd.members or ETCD_MEMBERS
    if cluster.HasField("raft"):
        cluster.raft.members = cluster.raft.members or RAFT_MEMBERS
        if not cluster.apiservers:
            for name in raft_members(cluster):
                cluster.apiservers.add(name=name, store=raft_url(cluster, name))
    if cluster.HasField("compaction"):
        cluster.compaction.revisions = cluster.compaction.revisions or COMPACTION_REVISIONS
        if not cluster.compaction.HasField("every"):
            cluster.compaction.every.FromNanoseconds(COMPACTION_NS)
    if cluster.HasField("controller_replicas"):
        cluster.controller_replicas.count = cluster.controller_replicas.count or REPLICAS
    if cluster.HasField("relays"):
        relays = cluster.relays
        relays.count = relays.count or RELAYS
        relays.history_revisions = relays.history_revisions or ApiServerConfig().history_revisions_max
        relays.lookback_revisions = relays.lookback_revisions or RelayConfig(upstream=()).lookback_revisions
    if not cluster.apiservers:
        cluster.apiservers.add(name="api-1")
    for index, apiserver in enumerate(cluster.apiservers):
        apiserver.name = apiserver.name or f"api-{index + 1}"
        apiserver.store = apiserver.store or (etcd_url(cluster) if cluster.HasField("etcd") else STORE_URL)
    if not cluster.nodes.names:
        cluster.nodes.names.extend(f"worker-{number + 1}" for number in range(cluster.nodes.count))
    if not cluster.HasField("node_lease"):
        cluster.node_lease.FromNanoseconds(NODE_LEASE_NS)
    _fill_workload(scenario)
    _fill_checks(scenario)


def _fill_workload(scenario: Scenario) -> None:
    workload = scenario.workload
    if workload.observers and not workload.filters:
        if scenario.cluster.nodes.names:
            workload.filters.add(labels=f"node={scenario.cluster.nodes.names[0]}")
        workload.filters.add(labels="!node")
        for first in [step.put for step in workload.steps if step.HasField("put")][:1]:
            name = first.name.replace("{i}", str(first.first if first.HasField("first") else 1))
            workload.filters.add(namespace=first.namespace or NAMESPACE, name=name)
    for step in scenario.workload.steps:
        step.times = step.times or 1
        _fill_step(step)
    for fault in scenario.faults:
        _fill_fault(fault, _daemon_hosts(scenario.cluster))


def _fill_step(step: Step) -> None:
    match step.WhichOneof("action"):
        case "put":
            step.put.count = step.put.count or 1
            if not step.put.HasField("first"):
                step.put.first = 1
            step.put.namespace = step.put.namespace or NAMESPACE
        case "change" | "stop" | "start" | "delete" | "read" | "edit" | "move" | "release" as action:
            target = getattr(step, action)
            target.namespace = target.namespace or NAMESPACE
        case "list" | "make_namespace" | "delete_namespace" | "put_file" | "delete_objects" | None:
            pass
        case other:
            assert_never(other)


def _fill_fault(fault: Fault, daemon_hosts: list[str]) -> None:
    kind = fault.WhichOneof("fault")
    if kind in ("crash_unit", "remove_unit"):
        target = getattr(fault, kind)
        target.namespace = target.namespace or NAMESPACE
    elif kind == "chaos":
        fill_chaos(fault.chaos, daemon_hosts)
    else:
        fill_disaster(fault, daemon_hosts)


def _daemon_hosts(cluster: Cluster) -> list[str]:
    servers = [apiserver.name for apiserver in cluster.apiservers]
    beside = [*relay_names(cluster), *controller_replicas(cluster)]
    return [*etcd_members(cluster), *servers, *beside, *cluster.nodes.names]


def _fill_checks(scenario: Scenario) -> None:
    for expectation in scenario.expect:
        check = expectation.WhichOneof("check")
        if check == "unit":
            expectation.unit.namespace = expectation.unit.namespace or NAMESPACE
        elif check == "watch_latency" and not expectation.watch_latency.HasField("percentile"):
            expectation.watch_latency.percentile = 99
        elif check == "comes_to_rest" and not expectation.comes_to_rest.HasField("within"):
            expectation.comes_to_rest.within.FromNanoseconds(WITHIN_NS)
        elif check in ("converged", "local_autonomy"):
            value = getattr(expectation, check)
            if not value.HasField("within"):
                value.within.CopyFrom(Duration(seconds=10))


def _units(scenario: Scenario, file: str, source: Source, types: Types) -> dict[str, Unit]:
    units = {"": default_unit()}
    for index, step in enumerate(scenario.workload.steps):
        named = step.put.file
        if not named or named in units:
            continue
        try:
            units[named] = _unit_of(Path(file).parent / named, types)
        except (InvalidArgumentError, NotFoundError) as error:
            source.error(("workload", "steps", index, "put", "file"), error.message)
    return units


def _unit_of(path: Path, types: Types) -> Unit:
    obj = textproto.parse(read_text(path), Object, filename=str(path), types=types)
    unit = Unit()
    if not obj.spec.Unpack(unit):
        raise InvalidArgumentError(f"{path}: the spec is not an api.systemd.Unit")
    return unit
