"""The faults of a scenario's disks, and the rule of those that lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rube.sim.cluster.cluster import SimCluster
from rube.sim.scenario.scenario_pb2 import Chaos, DiskFault, Fault, Scenario
from rube.sim.scenario.stores import LEADER, etcd_members, may_lead, raft_members
from rube.sim.scenario.yamlproto import Source
from rube.sim.world.disk import DiskCall
from rube.store import parse_store_url

Deed = tuple[str, Callable[[], object]]

DISK_KINDS = [name.lower() for name, kind in DiskFault.Kind.items() if kind]
_TAKE_POWER = frozenset({Chaos.POWER_OFF, Chaos.BLACKOUT, Chaos.INTERRUPT})
BROKEN_BY_LIES = (
    "reads",
    "watch_promises",
    "acknowledged_writes",
    "revisions_monotonic",
    "contents",
    "conditions",
    "fencing",
    "leases",
    "bindings",
    "readiness",
    "starts",
    "generations",
    "copies",
    "views",
    "clients",
    "positions",
    "followers",
)
"""The checks of promises that no store keeps once it has forgotten what it acknowledged."""


def disk_deeds(value: DiskFault, cluster: SimCluster) -> tuple[Deed, Deed]:
    """Returns the begin and the end of the fault."""
    disk, where = cluster.faults.disk(value.host), f"the disk of {value.host}"
    pairs: dict[DiskFault.Kind.ValueType, tuple[Deed, Deed]] = {
        DiskFault.FULL: ((f"{where} is full", disk.fill), (f"{where} has room", disk.free)),
        DiskFault.STALL: ((f"{where} stalls", disk.stall), (f"{where} goes on", disk.unstall)),
        DiskFault.LIE: (
            (f"{where} lies: no sync makes anything durable", disk.lie),
            (f"{where} lies no more", lambda: disk.lie(False)),
        ),
    }
    for kind, call, fail in (
        (DiskFault.FAIL_SYNC, DiskCall.SYNC, disk.fail_sync),
        (DiskFault.FAIL_WRITE, DiskCall.WRITE, disk.fail_writes),
        (DiskFault.FAIL_READ, DiskCall.READ, disk.fail_reads),
    ):
        pairs[kind] = (
            (f"the next {call.value} of {where} is to fail", fail),
            (f"{where} fails no {call.value} any more", partial(disk.spare, call)),
        )
    return pairs[value.kind]


def check_lies(scenario: Scenario, source: Source) -> None:
    """Refuses a store's disk that lies and then loses its power.

    Allowed is that where nothing can be lost, and where the scenario leaves out the checks that would show it.
    """
    lost_at_ns = dict(_power_losses(scenario))
    forgetful: dict[str, int] = {}
    for index, fault in enumerate(scenario.faults):
        for host in _liars(fault):
            if lost_at_ns.get(host, -1) >= fault.at.ToNanoseconds():
                forgetful.setdefault(host, index)
    stores = [host for host in forgetful if host in _store_hosts(scenario)]
    missing = [check for check in BROKEN_BY_LIES if check not in scenario.unchecked]
    if not stores or not missing or _is_borne(scenario, stores):
        return
    for host in stores:
        source.error(
            ("faults", forgetful[host]),
            f"the disk of {host} lies, and {host} loses its power later: what its store has acknowledged is lost then",
            hint=f": let {host} keep its power; or let one member alone do so in a group of an even number (`raft: "
            f"{{members: 4}}`), with no `replace` of another one; or give up what cannot hold: `unchecked: "
            f"[{', '.join(missing)}]`",
        )


def _liars(fault: Fault) -> list[str]:
    if fault.HasField("disk"):
        return [fault.disk.host] if fault.disk.kind == DiskFault.LIE else []
    return list(fault.chaos.hosts) if Chaos.DISK_LIE in fault.chaos.kinds else []


def _power_losses(scenario: Scenario) -> Iterator[tuple[str, int]]:
    """Yields the hosts that lose power, and the last moment at which they may."""
    hosts: dict[str, int] = {}
    for fault in scenario.faults:
        end_ns = fault.at.ToNanoseconds()
        struck: list[str] = []
        if fault.HasField("power_off"):
            struck = may_lead(scenario.cluster) if fault.power_off == LEADER else [fault.power_off]
        elif fault.HasField("blackout"):
            struck = list(fault.blackout.hosts)
        elif fault.HasField("interrupt") and fault.interrupt.power_off:
            struck, end_ns = [fault.interrupt.host], scenario.duration.ToNanoseconds()
        elif _TAKE_POWER.intersection(fault.chaos.kinds):
            struck, end_ns = list(fault.chaos.hosts), end_ns + fault.lasts.ToNanoseconds()
        for host in struck:
            hosts[host] = max(hosts.get(host, 0), end_ns)
    yield from hosts.items()


def _store_hosts(scenario: Scenario) -> list[str]:
    """The hosts whose disks hold what the cluster's users write."""
    own = [one.name for one in scenario.cluster.apiservers if not parse_store_url(one.store).servers]
    return [*own, *etcd_members(scenario.cluster)]


def _is_borne(scenario: Scenario, forgetful: Sequence[str]) -> bool:
    """Returns whether a group loses nothing if these hosts forget.

    Two majorities of an even number of members have two members in common. If one host forgets, the other remembers.
    That holds while it is itself replaced, and not while another member is.
    """
    members = raft_members(scenario.cluster)
    replaced = {host for fault in scenario.faults for host in _replaced(fault)}
    return len(forgetful) == 1 and forgetful[0] in members and len(members) % 2 == 0 and replaced <= {*forgetful}


def _replaced(fault: Fault) -> Sequence[str]:
    if fault.HasField("replace"):
        return [fault.replace]
    return fault.chaos.hosts if Chaos.REPLACE in fault.chaos.kinds else ()
