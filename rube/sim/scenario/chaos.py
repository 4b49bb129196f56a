"""Chaos: the faults that a seed draws. Pure: the same random numbers, the same faults."""

from __future__ import annotations

import random  # noqa: TID251 (the type of a named stream)
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rube.api.times import NS_PER_MS, NS_PER_S
from rube.sim.scenario.scenario_pb2 import Chaos, Cluster, DiskFault, Fault, Partition, SlowLink, UnitOnNode
from rube.sim.scenario.yamlproto import Path, Source

KINDS = tuple(kind for kind in Chaos.Kind.values() if Chaos.KIND_UNSPECIFIED < kind <= Chaos.DISK_FAIL_SYNC)
"""The default kinds."""

_OF_ONE_HOST = {
    Chaos.KILL: "kill",
    Chaos.TERMINATE: "terminate",
    Chaos.POWER_OFF: "power_off",
    Chaos.PAUSE: "pause",
    Chaos.ISOLATE: "isolate",
    Chaos.WIPE: "wipe",
    Chaos.FAIL_ACTIONS: "fail_actions",
    Chaos.REPLACE: "replace",
    Chaos.TRANSFER: "transfer",
}
_OF_LINKS = {Chaos.PARTITION: "partition", Chaos.SLOW: "slow", Chaos.CLOG: "clog", Chaos.RESET: "reset"}
_OF_DISKS = {
    Chaos.DISK_FULL: DiskFault.FULL,
    Chaos.DISK_STALL: DiskFault.STALL,
    Chaos.DISK_FAIL_SYNC: DiskFault.FAIL_SYNC,
    Chaos.DISK_FAIL_WRITE: DiskFault.FAIL_WRITE,
    Chaos.DISK_FAIL_READ: DiskFault.FAIL_READ,
    Chaos.DISK_LIE: DiskFault.LIE,
}
# These strike a disk.
_OF_WRITES = frozenset({*_OF_DISKS, Chaos.INTERRUPT})
# These strike members of a replicated group alone.
_OF_MEMBERS = frozenset({Chaos.REPLACE, Chaos.TRANSFER})
# These strike nodes alone.
_OF_NODES = frozenset({Chaos.WIPE, Chaos.FAIL_ACTIONS})
# These strike a unit on a node.
_OF_UNITS = {Chaos.CRASH_UNIT: "crash_unit", Chaos.REMOVE_UNIT: "remove_unit"}
# These happen at one instant: their damage heals by itself.
_INSTANT = frozenset({Chaos.RESET, Chaos.CLOCK_JUMP, *_OF_MEMBERS, *_OF_UNITS})
EVERY_NS = 1_000_000_000
EACH_NS = 5_000_000_000
NS_MIN = 1_000_000
HOSTS_AT_ONCE = 2
_SLOW_MS = (20, 500)
_CLOCK_JUMP_S_EXPONENT = 3.56  # an hour
_INTERRUPTED_WRITES = (1, 6)
_INTERRUPTED_MS_MAX = 30.0


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """All that there are, by name, and which of them are something."""

    names: Sequence[str]
    diskless: Collection[str] = ()
    """Hosts that keep nothing on a disk."""
    nodes: Sequence[str] = ()
    """Hosts with a rubelet."""
    members: Sequence[str] = ()
    """Hosts of a replicated group."""
    units: Sequence[tuple[str, str]] = ()
    """(namespace, name) of the units that there may be on nodes."""

    def strikable(self, kind: Chaos.Kind.ValueType, host: str) -> bool:
        """Returns whether that kind can strike that host."""
        if kind in _OF_WRITES:
            return host not in self.diskless
        if kind in _OF_MEMBERS:
            return host in self.members
        if kind in _OF_UNITS:
            return host in self.nodes and bool(self.units)
        return kind not in _OF_NODES or host in self.nodes


def fill_chaos(chaos: Chaos, hosts: Sequence[str]) -> None:
    """Puts in the defaults; `hosts` are all with a daemon."""
    chaos.kinds.extend([] if chaos.kinds else KINDS)
    chaos.hosts.extend([] if chaos.hosts else hosts)
    if not chaos.HasField("every"):
        chaos.every.FromNanoseconds(EVERY_NS)
    if not chaos.HasField("each"):
        chaos.each.FromNanoseconds(EACH_NS)
    chaos.hosts_at_once = chaos.hosts_at_once or HOSTS_AT_ONCE


def check_chaos(fault: Fault, path: Path, hosts: Sequence[str], cluster: Cluster, source: Source) -> None:
    """Notes its errors in `source`; another check makes sure that its hosts exist."""
    chaos = fault.chaos
    if not fault.HasField("lasts"):
        source.error(path, "a chaos needs `for`: when it is over")
    elif fault.lasts.ToNanoseconds() < 2 * chaos.every.ToNanoseconds():
        source.error((*path, "chaos"), "hardly anything would happen: make `for` longer, or `every` shorter")
    for name in ("every", "each"):
        if getattr(chaos, name).ToNanoseconds() < NS_MIN:
            source.error((*path, "chaos", name), "impossible time: the least is 1ms")
    if _OF_MEMBERS.intersection(chaos.kinds) and not (cluster.HasField("raft") and cluster.raft.members > 1):
        source.error((*path, "chaos", "kinds"), "no group replicates its store: add `raft: {members: 3}` to `cluster`")
    if len(hosts) < 2 and all(kind in _OF_LINKS for kind in chaos.kinds):
        source.error((*path, "chaos"), "there is one host, and no link that could fail: add a host, or other `kinds`")


def draw_faults(chaos: Fault, hosts: Hosts, draw: random.Random) -> Iterator[Fault]:
    """The faults of a chaos whose fields are all set, in the order of their begin.

    No host is struck by two at a time, and no link by two of one kind (any host may be at the far end of a link). All
    are over when the chaos is.
    """
    what = chaos.chaos
    now_ns = chaos.at.ToNanoseconds()
    end_ns = now_ns + chaos.lasts.ToNanoseconds()
    struck_until_ns: dict[str, int] = {}
    linked_until_ns: dict[tuple[int, frozenset[str]], int] = {}
    while (now_ns := now_ns + round(what.every.ToNanoseconds() * draw.uniform(0.2, 1.8))) < end_ns:
        lasts_ns = min(max(1, round(what.each.ToNanoseconds() * draw.uniform(0.1, 1))), end_ns - now_ns)
        kind = draw.choice(what.kinds)
        struck = [host for host, until_ns in struck_until_ns.items() if until_ns >= now_ns]
        free = [host for host in what.hosts if host not in struck and hosts.strikable(kind, host)]
        if len(struck) >= what.hosts_at_once or not free:
            continue
        host = draw.choice(free)
        ends = [
            other
            for other in hosts.names
            if other != host and linked_until_ns.get((kind, frozenset({host, other})), -1) < now_ns
        ]
        if kind in _OF_LINKS:
            if not ends:
                continue
            chosen = draw.sample(ends, draw.randint(1, len(ends)))
            ends = [end for end in ends if end in chosen]
            linked_until_ns |= {(kind, frozenset({host, end})): now_ns + lasts_ns for end in ends}
        ends = [*draw.sample(free, draw.randint(1, len(free)))] if kind == Chaos.BLACKOUT else ends
        fault = _fault(kind, host, ends, draw)
        if name := _OF_UNITS.get(kind):
            unit: UnitOnNode = getattr(fault, name)
            unit.node, (unit.namespace, unit.name) = host, draw.choice(hosts.units)
        fault.at.FromNanoseconds(now_ns)
        if kind not in _INSTANT:
            fault.lasts.FromNanoseconds(lasts_ns)
        for name in ends if kind == Chaos.BLACKOUT else [host]:
            struck_until_ns[name] = now_ns + lasts_ns
        yield fault
        if kind == Chaos.WIPE and draw.random() < 0.5:  # it is set up anew, and its clock with it
            jump = _fault(Chaos.CLOCK_JUMP, host, (), draw)
            jump.at.FromNanoseconds(now_ns)
            yield jump


def _fault(kind: Chaos.Kind.ValueType, host: str, ends: Sequence[str], draw: random.Random) -> Fault:
    fault = Fault()
    if name := _OF_ONE_HOST.get(kind):
        setattr(fault, name, host)
    elif name := _OF_LINKS.get(kind):
        link: Partition | SlowLink = getattr(fault, name)
        getattr(link, "from").append(host)
        link.to.extend(ends)
        if kind == Chaos.PARTITION:
            fault.partition.one_way = draw.random() < 0.5
        elif kind == Chaos.SLOW:
            fault.slow.latency.FromNanoseconds(round(draw.uniform(*_SLOW_MS) * NS_PER_MS))
            fault.slow.jitter.CopyFrom(fault.slow.latency)
    elif kind == Chaos.BLACKOUT:
        fault.blackout.hosts.extend(ends)
    elif kind == Chaos.INTERRUPT:
        fault.interrupt.host, fault.interrupt.power_off = host, draw.random() < 0.5
        fault.interrupt.write = draw.randint(*_INTERRUPTED_WRITES)
        fault.interrupt.after.FromNanoseconds(round(draw.choice((0, draw.uniform(0, _INTERRUPTED_MS_MAX))) * NS_PER_MS))
    elif kind == Chaos.CLOCK_JUMP:
        fault.clock_jump.host = host
        by_s = draw.choice((-1, 1)) * 10 ** draw.uniform(0, _CLOCK_JUMP_S_EXPONENT)
        fault.clock_jump.by.FromNanoseconds(round(by_s) * NS_PER_S)
    elif kind in _OF_DISKS:
        fault.disk.host, fault.disk.kind = host, _OF_DISKS[kind]
    return fault
