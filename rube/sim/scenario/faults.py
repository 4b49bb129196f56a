"""The faults of a scenario as acts on the cluster, with their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

from rube.sim.cluster.cluster import SimCluster
from rube.sim.scenario.chaos import Hosts, draw_faults
from rube.sim.scenario.disasters import blackout_deeds, interrupt_deeds, one_host_deeds
from rube.sim.scenario.disks import disk_deeds
from rube.sim.scenario.relays import relay_names
from rube.sim.scenario.replicas import controller_replicas
from rube.sim.scenario.scenario_pb2 import Fault, Partition, Scenario, SlowLink
from rube.sim.scenario.stores import LEADER, raft_members
from rube.sim.scenario.validate import HEAL_ALL, INSTANT, observer_names, units_put


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that the scenario makes happen at one moment, in words and in deed."""

    at_ns: int
    text: str
    """Empty for acts that a report need not show."""
    act: Callable[[], object]
    ends_ns: int | None = None
    """When the fault that it begins ends; None: it begins none. A fault of one moment ends when it begins."""
    looks: bool = False
    """Does nothing to the cluster: looking does not disturb."""


def fault_events(scenario: Scenario, cluster: SimCluster) -> Iterator[Event]:
    """The beginning of each fault, and its end if it has one."""
    for fault in all_faults(scenario, cluster):
        at_ns = fault.at.ToNanoseconds()
        begin, end = _deeds(fault, scenario, cluster)
        kind = fault.WhichOneof("fault")
        assert (end is None) == (kind in INSTANT or kind == "clog"), f"{kind}: it is over at once, or has an end"
        lasts_ns = fault.lasts.ToNanoseconds()
        lasting = f" for {lasts_ns / 1e9:g}s" if lasts_ns else ""
        yield Event(at_ns=at_ns, text=begin[0] + lasting, act=begin[1], ends_ns=at_ns + lasts_ns)
        if lasts_ns and end is not None:
            yield Event(at_ns=at_ns + lasts_ns, text=end[0], act=end[1])


def all_faults(scenario: Scenario, cluster: SimCluster) -> Iterator[Fault]:
    """Yields the faults that the scenario names, and those that the seed draws for it."""
    for index, fault in enumerate(scenario.faults):
        if fault.WhichOneof("fault") == "chaos":
            hosts = Hosts(
                names=cluster.hosts,
                diskless=[
                    *relay_names(scenario.cluster),
                    *controller_replicas(scenario.cluster),
                    *observer_names(scenario),
                ],
                nodes=cluster.nodes,
                members=raft_members(scenario.cluster),
                units=units_put(scenario),
            )
            yield from draw_faults(fault, hosts, cluster.world.random(f"chaos/{index}"))
        else:
            yield fault


Deed = tuple[str, Callable[[], object]]


def _deeds(fault: Fault, scenario: Scenario, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    """Returns the begin and the end of a fault, if its end is an act of its own."""
    kind = fault.WhichOneof("fault")
    match kind:
        case "isolate" | "heal" | "kill" | "terminate" | "restart" | "power_off" | "power_on" | "pause" | "resume":
            return _host_deeds(kind, getattr(fault, kind), cluster)
        case "partition" | "slow" | "reset" | "clog":
            return _link_deeds(kind, getattr(fault, kind), fault, scenario, cluster)
        case "wipe" | "fail_actions" | "replace" | "transfer" | "backup" | "restore":
            return one_host_deeds(kind, getattr(fault, kind), cluster)
        case "blackout":
            return blackout_deeds(fault.blackout, cluster)
        case "interrupt":
            return interrupt_deeds(fault.interrupt, cluster)
        case "disk":
            return disk_deeds(fault.disk, cluster)
        case "clock_jump":
            jump, by_ns = fault.clock_jump, fault.clock_jump.by.ToNanoseconds()
            text = f"the clock of {jump.host} jumps by {by_ns / 1e9:+g}s"
            return (text, lambda: cluster.faults.jump_clock(jump.host, by_ns)), None
        case "crash_unit":
            unit = fault.crash_unit
            text = f"{unit.namespace}/{unit.name} crashes on {unit.node}"
            return (text, lambda: cluster.crash_unit(unit.node, unit.namespace, unit.name)), None
        case "remove_unit":
            gone = fault.remove_unit
            text = f"{gone.namespace}/{gone.name} is removed from {gone.node} by hand"
            return (text, lambda: cluster.remove_unit(gone.node, gone.namespace, gone.name)), None
        case "chaos" | None:
            raise AssertionError("chaos is drawn before, and a fault without kind refused")
        case _:
            assert_never(kind)


def _host_deeds(kind: str, host: str, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    if host == HEAL_ALL:
        return ("everything is healed", cluster.faults.heal_all), None
    if host == LEADER:
        return _leader_deeds(kind, cluster)
    heal: Deed = (f"{host} is healed", lambda: cluster.faults.heal(host))
    restart: Deed = (f"the {cluster.program_of(host)} of {host} starts again", lambda: cluster.faults.restart(host))
    power_on: Deed = (f"{host} boots", lambda: cluster.faults.power_on(host))
    resume: Deed = (f"{host} goes on", lambda: cluster.faults.resume(host))
    pairs: dict[str, tuple[Deed, Deed | None]] = {
        "isolate": (
            (f"{host} is cut off", lambda: cluster.faults.isolate(host)),
            (f"{host} is joined again", lambda: cluster.faults.rejoin(host)),
        ),
        "heal": (heal, None),
        "kill": (
            (f"the {cluster.program_of(host)} of {host} is killed (-9)", lambda: cluster.faults.kill(host)),
            restart,
        ),
        "terminate": (
            (f"the {cluster.program_of(host)} of {host} is stopped", lambda: cluster.faults.terminate(host)),
            restart,
        ),
        "restart": (restart, None),
        "power_off": ((f"{host} loses power", lambda: cluster.faults.power_off(host)), power_on),
        "power_on": (power_on, None),
        "pause": ((f"{host} is paused", lambda: cluster.faults.pause(host)), resume),
        "resume": (resume, None),
    }
    return pairs[kind]


def _leader_deeds(kind: str, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    """Returns `_host_deeds` of the host that leads when the fault begins; nothing if none does."""
    struck: list[Deed] = []

    def begin() -> None:
        if leader := cluster.leader():
            (_, act), end = _host_deeds(kind, leader, cluster)
            act()
            if end is not None:
                struck.append(end)

    def finish() -> None:
        for _, act in struck:
            act()

    verb = {"kill": "is killed (-9)", "terminate": "is stopped", "isolate": "is cut off", "power_off": "loses power"}
    return (f"the leader {verb.get(kind, 'is paused')}", begin), ("that host is back", finish)


def _link_deeds(
    kind: str, value: Partition | SlowLink, fault: Fault, scenario: Scenario, cluster: SimCluster
) -> tuple[Deed, Deed | None]:
    side_a: list[str] = list(getattr(value, "from"))
    side_b: list[str] = list(value.to) or [name for name in cluster.hosts if name not in side_a]
    between = f"{', '.join(side_a)} and {', '.join(side_b) if value.to else 'all others'}"
    pairs = [(a, b) for a in side_a for b in side_b if a != b]
    if kind == "partition":
        one_way = fault.partition.one_way
        across = f"from {', '.join(side_a)} to {', '.join(side_b)}" if one_way else f"between {between}"
        text = f"nothing passes {across}"
        begin: Deed = (text, lambda: cluster.faults.partition(side_a, side_b, one_way=one_way))
        return begin, (f"{between} are joined again", lambda: cluster.faults.unite(side_a, side_b))
    if kind == "reset":
        return (f"connections between {between} break", lambda: cluster.faults.reset_connections(pairs)), None
    if kind == "clog":
        seconds = fault.lasts.ToNanoseconds() / 1e9
        return (f"everything between {between} is held back", lambda: cluster.faults.clog(pairs, seconds)), None
    slow = fault.slow
    latency_ms, jitter_ms = slow.latency.ToNanoseconds() / 1e6, slow.jitter.ToNanoseconds() / 1e6
    text = f"{latency_ms:g} ms (+{jitter_ms:g}) between {between}"
    return (
        (text, lambda: cluster.faults.slow(pairs, latency_ms=latency_ms, jitter_ms=jitter_ms)),
        (f"{between} are as fast as before", lambda: cluster.faults.normal_speed(pairs)),
    )
