"""The rules of a scenario beyond its schema: names that exist, possible times, one action a step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, assert_never

from google.protobuf.duration_pb2 import Duration

from rube.api import selectors
from rube.api.errors import InvalidArgumentError
from rube.api.keys import validate_name
from rube.controllers.cluster.catalog import CLUSTER_CONTROLLERS, make_controllers
from rube.controllers.nodes import node_makers
from rube.sim.scenario import disasters
from rube.sim.scenario.chaos import NS_MIN, check_chaos
from rube.sim.scenario.disasters import check_disaster
from rube.sim.scenario.disks import DISK_KINDS, check_lies
from rube.sim.scenario.judging import ALWAYS
from rube.sim.scenario.relays import check_relays, relay_names
from rube.sim.scenario.replicas import check_replicas, controller_replicas
from rube.sim.scenario.scenario_pb2 import (
    Blackout,
    Cluster,
    Expectation,
    Fault,
    Filter,
    Interrupt,
    Listing,
    Partition,
    Scenario,
    SlowLink,
    Step,
    UnitGroup,
    UnitState,
)
from rube.sim.scenario.stores import LEADER, check_stores, etcd_members, may_lead
from rube.sim.scenario.yamlproto import Path, Source, check_known, suggest
from rube.sim.world.kernel.hostclock import DRIFT_PPM_MAX

DURATION_NS_MAX = 30 * 24 * 3600 * 1_000_000_000
HEAL_ALL = "all"
STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "absent")
"""systemd's active states, and that of a unit that a machine does not have."""

UNDOES = {
    "heal": ("isolate", "partition", "slow"),
    "restart": ("kill", "terminate", "wipe", "interrupt"),
    "power_on": ("power_off", "blackout", "interrupt"),
    "resume": ("pause",),
}
"""A fault that undoes another: the faults it undoes."""
INSTANT = frozenset({"reset", "crash_unit", "remove_unit", "clock_jump", *disasters.INSTANT, *UNDOES})
"""Faults that are over at once, and take no `for`."""
UnitsAction = Literal["change", "stop", "start", "delete", "read", "edit", "move", "release"]
"""The actions of a step with units that there are."""


def validate(scenario: Scenario, source: Source) -> None:
    """Notes in `source` the errors of a scenario whose defaults are filled in."""
    _header(scenario, source)
    hosts = _hosts(scenario, source)
    nodes = list(scenario.cluster.nodes.names)
    for index, step in enumerate(scenario.workload.steps):
        _step(step, ("workload", "steps", index), scenario, source)
    for index, wanted in enumerate(scenario.workload.filters):
        _selection(wanted, ("workload", "filters", index), source)
    for index, fault in enumerate(scenario.faults):
        _fault(fault, ("faults", index), scenario, hosts, nodes, source)
    _undoing(scenario, source)
    check_lies(scenario, source)
    for index, expectation in enumerate(scenario.expect):
        _expectation(expectation, ("expect", index), scenario, nodes, source)
    for index, name in enumerate(scenario.unchecked):
        check_known("check", name, list(ALWAYS), ("unchecked", index), source)


def _header(scenario: Scenario, source: Source) -> None:
    if not scenario.name:
        source.error((), "no name: add `name: …`, a word for this scenario")
    if not scenario.HasField("duration"):
        source.error((), "no duration: add `duration: 60s`, how long the world lasts")
    elif not 0 < scenario.duration.ToNanoseconds() <= DURATION_NS_MAX:
        source.error(("duration",), "impossible time: write more than 0s and at most 720h")
    if not scenario.expect:
        source.error((), "nothing is expected: add `expect:` with at least one check, such as `- watch_promises`")


def _hosts(scenario: Scenario, source: Source) -> list[str]:
    seen: list[str] = []
    for index, apiserver in enumerate(scenario.cluster.apiservers):
        _name(apiserver.name, ("cluster", "apiservers", index), seen, source)
    _period(scenario.cluster.node_lease, ("cluster", "node_lease"), source)
    _machines(scenario.cluster, source)
    _controllers(scenario.cluster, source)
    for index, name in enumerate(scenario.cluster.nodes.names):
        _name(name, ("cluster", "nodes", "names", index), seen, source)
    for name in etcd_members(scenario.cluster):
        _name(name, ("cluster", "etcd"), seen, source)
    for name in relay_names(scenario.cluster):
        _name(name, ("cluster", "relays"), seen, source)
    for name in controller_replicas(scenario.cluster):
        _name(name, ("cluster", "controller_replicas"), seen, source)
    check_relays(scenario.cluster, source)
    check_replicas(scenario.cluster, source)
    check_stores(scenario.cluster, source)
    return [*seen, *observer_names(scenario)]


def observer_names(scenario: Scenario) -> list[str]:
    """The hosts of the clients that watch everything."""
    return [f"observer-{number + 1}" for number in range(scenario.workload.observers)]


def _machines(cluster: Cluster, source: Source) -> None:
    """The clocks and links that the machines are to have."""
    if cluster.clocks.drift_ppm_max > DRIFT_PPM_MAX:
        source.error(("cluster", "clocks", "drift_ppm_max"), f"the most is {DRIFT_PPM_MAX}")
    _span(cluster.clocks.offset_max, ("cluster", "clocks", "offset_max"), source)
    for name in ("latency", "jitter"):
        _span(getattr(cluster.network, name), ("cluster", "network", name), source)
    if cluster.HasField("compaction"):
        _period(cluster.compaction.every, ("cluster", "compaction", "every"), source)
    for name in ("sync", "jitter"):
        _span(getattr(cluster.disks, name), ("cluster", "disks", name), source)
    if not 0 <= cluster.network.loss < 1:
        source.error(("cluster", "network", "loss"), "a share is at least 0 and less than 1")


def _controllers(cluster: Cluster, source: Source) -> None:
    """A user's own controllers: each can be made, and no two of all that run are called the same."""
    for index in range(len(cluster.controllers)):
        try:
            make_controllers([*CLUSTER_CONTROLLERS, *cluster.controllers[: index + 1]])
        except InvalidArgumentError as error:
            source.error(("cluster", "controllers", index), error.message)
            return
    for index, name in enumerate(cluster.nodes.controllers):
        try:
            node_makers([name])
        except InvalidArgumentError as error:
            source.error(("cluster", "nodes", "controllers", index), error.message)


def _name(name: str, path: Path, seen: list[str], source: Source) -> None:
    if name in seen:
        source.error(path, f'host name "{name}" appears twice')
    _dns_label("host name", name, path, source)
    seen.append(name)


def _time(value: Duration, path: Path, scenario: Scenario, source: Source) -> None:
    if value.ToNanoseconds() < 0:
        source.error(path, f"impossible time {text_of(value)}: it is before the start")
    elif value.ToNanoseconds() > scenario.duration.ToNanoseconds():
        source.error(
            path, f"impossible time {text_of(value)}: the scenario ends at {text_of(scenario.duration)} (`duration`)"
        )


def _positive(value: Duration, path: Path, source: Source) -> None:
    if value.ToNanoseconds() <= 0:
        source.error(path, f"impossible time {text_of(value)}: write more than 0s")


def _period(value: Duration, path: Path, source: Source) -> None:
    """A time after which something is done again: much shorter, the world would make no headway."""
    if not NS_MIN <= value.ToNanoseconds() <= DURATION_NS_MAX:
        source.error(path, f"impossible time {text_of(value)}: write at least {NS_MIN // 1_000_000}ms and at most 720h")


def _span(value: Duration, path: Path, source: Source) -> None:
    if not 0 <= value.ToNanoseconds() <= DURATION_NS_MAX:
        source.error(path, f"impossible time {text_of(value)}: write at least 0s and at most 720h")


def _step(step: Step, path: Path, scenario: Scenario, source: Source) -> None:
    action = step.WhichOneof("action")
    _time(step.at, (*path, "at"), scenario, source)
    if action is None:
        known = [field.name for field in Step.DESCRIPTOR.oneofs_by_name["action"].fields]
        source.error(path, f"a step without action: add {', '.join(known[:-1])} or {known[-1]}")
        return
    if step.times > 1 and not step.HasField("every"):
        source.error((*path, "times"), "`times` needs `every`: how long to wait between them")
    if step.HasField("every"):
        _positive(step.every, (*path, "every"), source)
        last = Duration()
        last.FromNanoseconds(step.at.ToNanoseconds() + step.every.ToNanoseconds() * (step.times - 1))
        _time(last, (*path, "times"), scenario, source)
    if step.refused and action != "put_file":
        source.error((*path, "refused"), f"a refused {action} is not checked: put what is to be refused by `put_file`")
    match action:
        case "put":
            _put_step(step.put, (*path, "put"), scenario, source)
        case "list":
            _selection(step.list, (*path, "list"), source)
        case "put_file" | "delete_objects":
            pass  # once the files are read: rube.sim.scenario.own_types
        case "make_namespace" | "delete_namespace":
            _dns_label("namespace", getattr(step, action), (*path, action), source)
        case "change" | "stop" | "start" | "delete" | "read" | "edit" | "move" | "release":
            _units_step(step, action, (*path, action), scenario, source)
        case _:
            assert_never(action)


def _put_step(put: UnitGroup, path: Path, scenario: Scenario, source: Source) -> None:
    if not put.name:
        source.error(path, "no name: add `name: web-{i}`")
    else:
        _dns_label("name", put.name.replace("{i}", "1"), (*path, "name"), source)
    _dns_label("namespace", put.namespace, (*path, "namespace"), source)
    if put.count > 1 and "{i}" not in put.name:
        source.error((*path, "name"), f"{put.count} units need a name with {{i}} in it")
    for index, owner in enumerate(put.owners):
        _known_unit(owner, (*path, "owners", index), scenario, source)
    if put.node:
        _known_node(put.node, (*path, "node"), scenario, source)


def _units_step(step: Step, action: UnitsAction, path: Path, scenario: Scenario, source: Source) -> None:
    """Checks a step with units that are there by then."""
    names = getattr(step, action).names
    if not names:
        source.error(path, "no names: add `names: [web-1]`")
    if action == "move" and step.move.node:
        _known_node(step.move.node, (*path, "node"), scenario, source)
    namespace, known = getattr(step, action).namespace, unit_names(scenario)
    before = _put_before(step, namespace, scenario)
    for index, name in enumerate(names):
        place = (*path, "names", index)
        _known_unit(name, place, scenario, source)
        if name in known and name not in before:
            source.error(place, f"impossible order: no step puts {namespace}/{name} before {text_of(step.at)}")


def _selection(wanted: Filter | Listing, path: Path, source: Source) -> None:
    """Checks the units that a watch or a list is about."""
    if isinstance(wanted, Filter) and not (wanted.namespace or wanted.name or wanted.labels):
        source.error(path, "it filters nothing: add `labels: node=worker-1`, `name` or `namespace`")
    for what in ("namespace", "name"):
        if given := getattr(wanted, what):
            _dns_label(what, given, (*path, what), source)
    try:
        selectors.parse(wanted.labels)
    except InvalidArgumentError as error:
        source.error((*path, "labels"), error.message)


def _put_before(step: Step, namespace: str, scenario: Scenario) -> set[str]:
    """The names of the units of a namespace that the users have put when a step begins."""
    at_ns = step.at.ToNanoseconds()
    puts = (other for other in scenario.workload.steps if other.at.ToNanoseconds() < at_ns)
    return {name for put in puts if put.put.namespace == namespace for name in _names_of(put)}


def _dns_label(what: str, name: str, path: Path, source: Source) -> None:
    try:
        validate_name(what, name)
    except InvalidArgumentError as error:
        source.error(path, error.message)


def _known_node(template: str, path: Path, scenario: Scenario, source: Source) -> None:
    names = list(scenario.cluster.nodes.names)
    pattern = re.compile(re.escape(template).replace(re.escape("{i}"), r"\d+"))
    if not any(pattern.fullmatch(name) for name in names):
        source.error(path, f'unknown node "{template}"', hint=suggest(template, names))


def unit_names(scenario: Scenario) -> list[str]:
    """The names of all units that the workload puts."""
    return [name for step in scenario.workload.steps for name in _names_of(step)]


def units_put(scenario: Scenario) -> list[tuple[str, str]]:
    """(namespace, name) of all units that the workload puts, each once."""
    steps = scenario.workload.steps
    return list(dict.fromkeys((step.put.namespace, name) for step in steps for name in _names_of(step)))


def _names_of(step: Step) -> list[str]:
    """The names of the units that a step puts."""
    if step.WhichOneof("action") != "put":
        return []
    return [step.put.name.replace("{i}", str(step.put.first + number)) for number in range(step.put.count)]


def _known_unit(name: str, path: Path, scenario: Scenario, source: Source) -> None:
    """Names a unit that the workload puts; a user's own controllers may put others."""
    if not (name and scenario.cluster.controllers):
        check_known("unit", name, unit_names(scenario), path, source)


def _fault(fault: Fault, path: Path, scenario: Scenario, hosts: list[str], nodes: list[str], source: Source) -> None:
    kind = fault.WhichOneof("fault")
    _time(fault.at, (*path, "at"), scenario, source)
    if kind is None:
        source.error(path, "a fault without kind: add isolate, partition, kill, power_off, crash_unit or another")
        return
    if kind == "clog" and not fault.HasField("lasts"):
        source.error(path, "a clog needs `for`: how long it holds everything back")
    if fault.HasField("lasts"):
        _lasting(fault, kind, path, scenario, source)
    match kind:
        case "isolate" | "heal" | "kill" | "terminate" | "restart" | "power_off" | "power_on" | "pause" | "resume":
            others = [HEAL_ALL] if kind == "heal" else [LEADER] if _leader_allowed(kind, scenario) else []
            check_known("host", getattr(fault, kind), [*hosts, *others], (*path, kind), source)
        case "partition" | "slow" | "reset" | "clog":
            _link_fault(fault, kind, (*path, kind), hosts, source)
        case "wipe" | "fail_actions" | "replace" | "transfer" | "backup" | "restore" | "blackout" | "interrupt":
            check_disaster(fault, path, scenario.cluster, hosts, source)
        case "crash_unit" | "remove_unit":
            on_node = getattr(fault, kind)
            check_known("node", on_node.node, nodes, (*path, kind, "node"), source)
            _known_unit(on_node.name, (*path, kind, "name"), scenario, source)
        case "clock_jump":
            check_known("host", fault.clock_jump.host, hosts, (*path, kind, "host"), source)
        case "disk":
            check_known("host", fault.disk.host, hosts, (*path, kind, "host"), source)
            if not fault.disk.kind:
                source.error((*path, kind), f"no kind: add {', '.join(f'`kind: {name}`' for name in DISK_KINDS)}")
        case "chaos":
            check_chaos(fault, path, hosts, scenario.cluster, source)
            for index, name in enumerate(fault.chaos.hosts):
                check_known("host", name, hosts, (*path, kind, "hosts", index), source)
        case _:
            assert_never(kind)


def _link_fault(fault: Fault, kind: str, path: Path, hosts: list[str], source: Source) -> None:
    link: Partition | SlowLink = getattr(fault, kind)
    if not getattr(link, "from"):
        source.error(path, "no hosts: add `from: [worker-1]`")
    if isinstance(link, SlowLink):
        _slow(link, path, source)
    elif kind != "partition" and link.one_way:
        source.error((*path, "one_way"), f"`{kind}` goes both ways: leave `one_way` out")
    for side in ("from", "to"):
        for index, name in enumerate(getattr(link, side)):
            check_known("host", name, hosts, (*path, side, index), source)


def _leader_allowed(kind: str, scenario: Scenario) -> bool:
    """Returns whether `leader` can replace a host: not if a fault of that host is to be undone."""
    return bool(may_lead(scenario.cluster)) and kind not in UNDOES


def _slow(link: SlowLink, path: Path, source: Source) -> None:
    if not (link.HasField("latency") or link.HasField("jitter")):
        source.error(path, "how slow? add `latency: 200ms`")
    _span(link.latency, (*path, "latency"), source)
    _span(link.jitter, (*path, "jitter"), source)


def _lasting(fault: Fault, kind: str, path: Path, scenario: Scenario, source: Source) -> None:
    if kind in INSTANT:
        source.error((*path, "for"), f"`{kind}` happens at one moment and takes no `for`")
        return
    _positive(fault.lasts, (*path, "for"), source)
    end = Duration()
    end.FromNanoseconds(fault.at.ToNanoseconds() + fault.lasts.ToNanoseconds())
    _time(end, (*path, "for"), scenario, source)


def _undoing(scenario: Scenario, source: Source) -> None:
    """A heal before a cut, a restart before a kill: the author meant something else."""
    for index, fault in enumerate(scenario.faults):
        kind = fault.WhichOneof("fault") or ""
        if has_nothing_to_undo(fault, scenario.faults):
            source.error(
                ("faults", index, kind),
                f'impossible order: "{kind}: {getattr(fault, kind)}" at {text_of(fault.at)} has nothing to undo',
                hint=f": put it after {' or '.join(UNDOES[kind])}",
            )


def has_nothing_to_undo(fault: Fault, faults: Iterable[Fault]) -> bool:
    """Returns whether `faults` lacks a fault that this one could undo."""
    kind = fault.WhichOneof("fault") or ""
    if kind not in UNDOES:
        return False
    host = getattr(fault, kind)
    earlier = (
        other
        for other in faults
        if other.WhichOneof("fault") in UNDOES[kind] and other.at.ToNanoseconds() <= fault.at.ToNanoseconds()
    )
    return not any(host == HEAL_ALL or host in _struck(other) or not _struck(other) for other in earlier)


def _struck(fault: Fault) -> list[str]:
    value = getattr(fault, fault.WhichOneof("fault") or "")
    if isinstance(value, str):
        return [value]
    if isinstance(value, Interrupt):
        return [value.host]
    return list(value.hosts) if isinstance(value, Blackout) else [*getattr(value, "from"), *value.to]


def _expectation(expectation: Expectation, path: Path, scenario: Scenario, nodes: list[str], source: Source) -> None:
    match expectation.WhichOneof("check"):
        case None:
            known = list(Expectation.DESCRIPTOR.fields_by_name)
            source.error(path, "an expectation without check", hint=suggest("", known))
        case "converged" | "local_autonomy" | "comes_to_rest" as check:
            value = getattr(expectation, check)
            if value.HasField("within"):
                _positive(value.within, (*path, check, "within"), source)
        case "unit":
            _unit_state(expectation.unit, (*path, "unit"), scenario, nodes, source)
        case "watch_latency" as check:
            if not 0 < expectation.watch_latency.percentile <= 100:
                source.error((*path, check, "percentile"), "a percentile is more than 0 and at most 100")
            if not scenario.workload.observers:
                source.error((*path, check), "there is no watch: add `observers: 3` to `workload`")
        case "raft_invariants" as check:
            if not (scenario.cluster.HasField("raft") or scenario.cluster.HasField("etcd")):
                text = "there is no Raft group: add `raft: {members: 3}` or `etcd: {}` to `cluster`"
                source.error((*path, check), text)
        case "watch_promises" | "acknowledged_writes" | "revisions_monotonic" | "never_on_two_nodes":
            pass
        case "status_reported" | "reads" | "contents" | "conditions":
            pass
        case "always" | "eventually" | "never" | "judge":
            pass  # once the types are read: rube.sim.scenario.claims
        case other:
            assert_never(other)


def _unit_state(unit: UnitState, path: Path, scenario: Scenario, nodes: list[str], source: Source) -> None:
    _time(unit.at, (*path, "at"), scenario, source)
    if unit.node:
        check_known("node", unit.node, nodes, (*path, "node"), source)
    _known_unit(unit.name, (*path, "name"), scenario, source)
    if unit.starts_max and unit.starts_min > unit.starts_max:
        source.error((*path, "starts_max"), f"fewer than starts_min, {unit.starts_min}")
    if unit.state:
        check_known("state", unit.state, STATES, (*path, "state"), source)


def text_of(value: Duration) -> str:
    """A duration as the scenario file writes it."""
    return f"{value.ToNanoseconds() / 1e9:g}s"
