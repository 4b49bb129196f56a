"""Chaos: the faults that a seed draws. Pure: the same random numbers, the same faults."""

from __future__ import annotations

import random  # noqa: TID251 (the type of a named stream)
from collections.abc import Iterator, Sequence

from rube.sim.scenario_pb2 import Chaos, DiskFault, Fault, Partition, SlowLink

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
KINDS = tuple(kind for kind in Chaos.Kind.values() if kind != Chaos.KIND_UNSPECIFIED)

_OF_ONE_HOST = {
    Chaos.KILL: "kill",
    Chaos.TERMINATE: "terminate",
    Chaos.POWER_OFF: "power_off",
    Chaos.PAUSE: "pause",
    Chaos.ISOLATE: "isolate",
}
_OF_LINKS = {Chaos.PARTITION: "partition", Chaos.SLOW: "slow", Chaos.CLOG: "clog", Chaos.RESET: "reset"}
_OF_DISKS = {
    Chaos.DISK_FULL: DiskFault.FULL,
    Chaos.DISK_STALL: DiskFault.STALL,
    Chaos.DISK_FAIL_SYNC: DiskFault.FAIL_SYNC,
}
# These happen at one moment: what they break comes back by itself.
_INSTANT = frozenset({Chaos.RESET, Chaos.CLOCK_JUMP, Chaos.DISK_FAIL_SYNC})
_SLOW_MS = (20, 500)
_CLOCK_JUMP_S_EXPONENT = 3.56  # an hour


def draw_faults(chaos: Fault, hosts: Sequence[str], draw: random.Random) -> Iterator[Fault]:
    """The faults of a chaos whose fields are all set, in the order of their begin. `hosts` are all there are.

    No host is struck by two at a time (but any may be at the far end of a link), and all are over when the chaos is.
    """
    what = chaos.chaos
    now_ns = chaos.at.ToNanoseconds()
    end_ns = now_ns + chaos.lasts.ToNanoseconds()
    each_ns = what.each.ToNanoseconds()
    struck_until_ns: dict[str, int] = {}
    while (now_ns := now_ns + round(what.every.ToNanoseconds() * draw.uniform(0.2, 1.8))) < end_ns:
        lasts_ns = min(round(each_ns * draw.uniform(0.1, 1)), end_ns - now_ns)
        kind = draw.choice(what.kinds)
        struck = [host for host, until_ns in struck_until_ns.items() if until_ns >= now_ns]
        free = [host for host in what.hosts if host not in struck]
        if len(struck) >= what.hosts_at_once or not free:
            continue
        host = draw.choice(free)
        struck_until_ns[host] = now_ns + lasts_ns
        fault = _fault(kind, host, [other for other in hosts if other != host], draw)
        fault.at.FromNanoseconds(now_ns)
        if kind not in _INSTANT:
            fault.lasts.FromNanoseconds(lasts_ns)
        yield fault


def _fault(kind: Chaos.Kind.ValueType, host: str, others: Sequence[str], draw: random.Random) -> Fault:
    fault = Fault()
    if name := _OF_ONE_HOST.get(kind):
        setattr(fault, name, host)
    elif name := _OF_LINKS.get(kind):
        link: Partition | SlowLink = getattr(fault, name)
        link.SetInParent()
        getattr(link, "from").append(host)
        ends = draw.sample(others, draw.randint(1, len(others)))
        if len(ends) < len(others):  # none named are all
            link.to.extend(other for other in others if other in ends)
        if kind == Chaos.PARTITION:
            fault.partition.one_way = draw.random() < 0.5
        elif kind == Chaos.SLOW:
            fault.slow.latency.FromNanoseconds(round(draw.uniform(*_SLOW_MS) * _NS_PER_MS))
            fault.slow.jitter.CopyFrom(fault.slow.latency)
    elif kind == Chaos.CLOCK_JUMP:
        fault.clock_jump.host = host
        by_s = draw.choice((-1, 1)) * 10 ** draw.uniform(0, _CLOCK_JUMP_S_EXPONENT)
        fault.clock_jump.by.FromNanoseconds(round(by_s) * _NS_PER_S)
    else:
        fault.disk.host, fault.disk.kind = host, _OF_DISKS[kind]
    return fault
