"""The faults of `rube.sim.cluster.disasters`: their defaults, their errors, and their effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.sim.cluster.cluster import SimCluster
from rube.sim.scenario.scenario_pb2 import Blackout, Cluster, Fault, Interrupt
from rube.sim.scenario.yamlproto import Path, Source, check_known
from rube.store import parse_store_url

Deed = tuple[str, Callable[[], object]]

# The hosts that the faults of one host may name.
OF_NODES = frozenset({"wipe", "fail_actions"})
OF_MEMBERS = frozenset({"replace", "transfer"})
OF_STORES = frozenset({"backup", "restore"})
OF_ONE_HOST = OF_NODES | OF_MEMBERS | OF_STORES
INSTANT = frozenset({"replace", "transfer", "backup", "restore"})
"""Faults that are over at once, or when an operator has finished."""
WRITE_MAX = 10_000
AFTER_NS_MAX = 60_000_000_000


def fill_disaster(fault: Fault, daemon_hosts: Sequence[str]) -> None:
    """Puts in the defaults of a fault."""
    if fault.HasField("blackout"):
        fault.blackout.hosts.extend([] if fault.blackout.hosts else daemon_hosts)
    elif fault.HasField("interrupt"):
        fault.interrupt.write = fault.interrupt.write or 1


def check_disaster(fault: Fault, path: Path, cluster: Cluster, hosts: Sequence[str], source: Source) -> None:
    """Notes in `source` the errors of a fault that is one of these."""
    kind = fault.WhichOneof("fault") or ""
    if kind == "blackout":
        for index, name in enumerate(fault.blackout.hosts):
            check_known("host", name, hosts, (*path, kind, "hosts", index), source)
    elif kind == "interrupt":
        _check_interrupt(fault.interrupt, (*path, kind), hosts, source)
    elif kind in OF_NODES:
        check_known("node", getattr(fault, kind), list(cluster.nodes.names), (*path, kind), source)
    elif kind in OF_MEMBERS:
        if not cluster.HasField("raft"):
            source.error((*path, kind), "no group replicates its store: add `raft: {members: 3}` to `cluster`")
        elif kind == "replace" and cluster.raft.members < 2:
            source.error((*path, kind), "the group has one member, whose disk is all there is: add `members: 3`")
        else:
            check_known("member", getattr(fault, kind), _apiservers(cluster), (*path, kind), source)
    elif kind in OF_STORES:
        _check_backup(getattr(fault, kind), (*path, kind), cluster, source)


def _check_interrupt(interrupt: Interrupt, path: Path, hosts: Sequence[str], source: Source) -> None:
    check_known("host", interrupt.host, hosts, (*path, "host"), source)
    if interrupt.write > WRITE_MAX:
        source.error((*path, "write"), f"write {interrupt.write}: the most is {WRITE_MAX}")
    if not 0 <= interrupt.after.ToNanoseconds() <= AFTER_NS_MAX:
        source.error((*path, "after"), "impossible time: write at least 0s and at most 60s")


def _check_backup(host: str, path: Path, cluster: Cluster, source: Source) -> None:
    check_known("apiserver", host, _apiservers(cluster), path, source)
    stores = [apiserver.store for apiserver in cluster.apiservers if apiserver.name == host]
    if stores and not parse_store_url(stores[0]).is_engine:
        source.error(path, f"the store of {host} is not on its own disk: leave out `raft` and `etcd`")


def _apiservers(cluster: Cluster) -> list[str]:
    return [apiserver.name for apiserver in cluster.apiservers]


def blackout_deeds(blackout: Blackout, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    """Returns the begin and the end of the fault, as the functions below do."""
    hosts = list(blackout.hosts)
    shown = ", ".join(hosts)
    return (
        (f"{shown} lose power at once", lambda: cluster.disasters.blackout(hosts)),
        (f"{shown} boot", lambda: cluster.disasters.relight(hosts)),
    )


def interrupt_deeds(interrupt: Interrupt, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    host, power_off, after_ns = interrupt.host, interrupt.power_off, interrupt.after.ToNanoseconds()
    struck = f"{host} loses power" if power_off else f"the {cluster.program_of(host)} of {host} is killed (-9)"
    text = f"{struck} {after_ns / 1e6:g} ms after write {interrupt.write} from now begins"

    def begin() -> None:
        cluster.disasters.interrupt(host, power_off=power_off, writes=interrupt.write, after_ns=after_ns)

    return (text, begin), (f"{host} runs again", lambda: cluster.disasters.end_interrupt(host))


def one_host_deeds(kind: str, host: str, cluster: SimCluster) -> tuple[Deed, Deed | None]:
    disasters, program = cluster.disasters, cluster.program_of(host)
    pairs: dict[str, tuple[Deed, Deed | None]] = {
        "wipe": (
            (f"the {program} of {host} is killed and its disk emptied", lambda: disasters.wipe(host)),
            (f"the {program} of {host} starts again", lambda: cluster.faults.restart(host)),
        ),
        "fail_actions": (
            (f"the driver of {host} fails", lambda: cluster.fail_actions(host, fails=True)),
            (f"the driver of {host} works again", lambda: cluster.fail_actions(host, fails=False)),
        ),
        "replace": ((f"the disk of {host} is lost and replaced", lambda: disasters.replace(host)), None),
        "transfer": ((f"{host} is asked to lead", lambda: disasters.transfer(host)), None),
        "backup": ((f"the store of {host} is backed up", lambda: disasters.back_up(host)), None),
        "restore": ((f"the backup is restored on {host}", lambda: disasters.restore(host)), None),
    }
    return pairs[kind]
