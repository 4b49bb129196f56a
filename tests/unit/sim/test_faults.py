"""Faults that overlap, and the hosts that count as cut off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.faults import Faults
from rube.sim.judges import Cut
from rube.sim.world.kernel import World

S = 1_000_000_000


@pytest.fixture
def cluster() -> Iterator[SimCluster]:
    with World(1) as world:
        made = SimCluster(world)
        made.add_apiserver("api-1")
        for name in ("worker-1", "worker-2"):
            made.add_node(name)
        yield made


def _cut_off(faults: Faults) -> list[str]:
    return [name for name in ("api-1", "worker-1", "worker-2") if faults.is_cut_off(name)]


def _link(cluster: SimCluster) -> tuple[float, float]:
    there, back = (cluster.fabric.route(*pair).link for pair in (("api-1", "worker-1"), ("worker-1", "api-1")))
    return there.latency_ms, back.latency_ms


def test_the_end_of_a_partition_leaves_a_host_isolated(cluster: SimCluster) -> None:
    cluster.faults.isolate("worker-1")
    cluster.faults.partition(["worker-1"], ["api-1"])
    cluster.faults.unite(["worker-1"], ["api-1"])
    assert _cut_off(cluster.faults) == ["worker-1"]
    assert cluster.fabric.route("worker-1", "api-1").blocked


def test_the_end_of_an_isolation_leaves_a_partition(cluster: SimCluster) -> None:
    cluster.faults.partition(["worker-1"], ["api-1"])
    cluster.faults.isolate("worker-1")
    cluster.faults.rejoin("worker-1")
    assert cluster.fabric.route("api-1", "worker-1").blocked
    assert not cluster.fabric.route("worker-2", "worker-1").blocked
    cluster.faults.heal("worker-1")
    assert not cluster.fabric.route("api-1", "worker-1").blocked


def test_an_isolated_apiserver_leaves_every_node_cut_off(cluster: SimCluster) -> None:
    cluster.faults.isolate("api-1")
    assert _cut_off(cluster.faults) == ["api-1", "worker-1", "worker-2"]
    cluster.world.run_for(5)
    cluster.faults.rejoin("api-1")
    assert cluster.history.cuts == [
        Cut(host=host, start_ns=0, end_ns=5 * S) for host in ("api-1", "worker-1", "worker-2")
    ]


def test_a_partition_between_nodes_cuts_nobody_off(cluster: SimCluster) -> None:
    cluster.faults.partition(["worker-1"], ["worker-2"])
    assert _cut_off(cluster.faults) == []


def test_a_cut_that_lasts_to_the_end_is_noted(cluster: SimCluster) -> None:
    cluster.faults.isolate("worker-2")
    cluster.world.run_for(1)
    cluster.faults.conclude()
    assert cluster.history.cuts == [Cut(host="worker-2", start_ns=0, end_ns=S)]


@pytest.mark.parametrize("host", ["worker-1", "api-1", None])
def test_healing_undoes_slow_links(cluster: SimCluster, host: str | None) -> None:
    usual = _link(cluster)
    cluster.faults.slow([("worker-1", "api-1")], latency_ms=300, jitter_ms=0)
    assert _link(cluster) == (300, 300)
    if host is None:
        cluster.faults.heal_all()
    else:
        cluster.faults.heal(host)
    assert _link(cluster) == usual


def test_healing_another_host_leaves_a_link_slow(cluster: SimCluster) -> None:
    cluster.faults.slow([("worker-1", "api-1")], latency_ms=300, jitter_ms=0)
    cluster.faults.heal("worker-2")
    assert _link(cluster) == (300, 300)


def test_a_host_that_lost_power_in_its_pause_is_not_resumed(cluster: SimCluster) -> None:
    cluster.faults.pause("worker-1")
    cluster.faults.power_off("worker-1")
    cluster.faults.resume("worker-1")
    cluster.faults.pause("worker-1")
    cluster.faults.power_on("worker-1")
    assert cluster.is_running("worker-1")


def test_a_daemon_that_was_asked_to_stop_runs_once_everything_is_healed(cluster: SimCluster) -> None:
    cluster.world.run_for(1)
    cluster.faults.terminate("api-1")
    cluster.faults.heal_everything()
    cluster.run_until_converged(timeout_s=30)
