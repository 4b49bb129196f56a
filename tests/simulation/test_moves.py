"""The places and moves of units, and their status while their node is lost: whole clusters."""

from __future__ import annotations

from collections import Counter

import pytest

from rube.api import Object, Unit, UnitStatus
from rube.api.well_known import MOVE_ANNOTATION, MOVED_FROM_ANNOTATION, bound_node
from rube.sim.cluster.cluster import ClusterConfig, SimCluster
from rube.sim.judges import never_on_two_nodes
from rube.sim.scenario.load import default_unit
from rube.sim.world.kernel import World

LEASE_S = 8.0


def cluster_of(world: World, nodes: int) -> SimCluster:
    cluster = SimCluster(world, ClusterConfig(node_lease_s=LEASE_S))
    cluster.add_apiserver("api-1")
    for number in range(nodes):
        cluster.add_node(f"worker-{number + 1}")
    return cluster


def put(cluster: SimCluster, *names: str, node: str = "", unit: Unit | None = None) -> None:
    units = [(name, unit or default_unit(), node) for name in names]
    cluster.run(lambda user: user.put("default", units))


def units(cluster: SimCluster) -> dict[str, Object]:
    return {obj.metadata.name: obj for obj in cluster.objects()}


def status(cluster: SimCluster, name: str) -> UnitStatus:
    found = UnitStatus()
    units(cluster)[name].status.Unpack(found)
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("together", [True, False])
def test_units_are_spread_evenly_whether_they_come_together_or_one_by_one(seed: int, together: bool) -> None:
    with World(seed) as world:
        cluster = cluster_of(world, 2)
        world.run_for(3)
        names = [f"web-{number}" for number in range(11)]
        for some in [names] if together else [[name] for name in names]:
            put(cluster, *some)
        cluster.run_until_converged(timeout_s=30)
        loads = Counter(bound_node(obj.metadata) for obj in units(cluster).values())
        assert sorted(loads.values()) == [5, 6]


@pytest.mark.parametrize("seed", range(3))
def test_a_move_stops_here_before_it_starts_there(seed: int) -> None:
    with World(seed) as world:
        cluster = cluster_of(world, 2)
        put(cluster, "web", node="worker-1")
        cluster.run_until_converged()
        cluster.run(lambda user: user.move("default", ["web"], "worker-2"))
        world.run_for(20)
        cluster.run_until_converged()
        assert cluster.look("worker-2", "default", "web") == ("active", 1)
        assert cluster.look("worker-1", "default", "web") == ("absent", 1)
        moved = units(cluster)["web"]
        assert MOVE_ANNOTATION not in moved.metadata.annotations
        cluster.conclude()
        assert never_on_two_nodes(cluster.history).passed


def test_a_move_from_a_silent_node_waits_and_says_so() -> None:
    with World(1) as world:
        cluster = cluster_of(world, 2)
        put(cluster, "web", node="worker-1")
        cluster.run_until_converged()
        cluster.faults.isolate("worker-1")
        cluster.run(lambda user: user.move("default", ["web"], "worker-2"))
        world.run_for(60)
        assert cluster.look("worker-2", "default", "web") == ("absent", 0)
        assert cluster.look("worker-1", "default", "web") == ("active", 1)
        assert "node worker-1 is silent since" in status(cluster, "web").message
        cluster.faults.heal("worker-1")
        world.run_for(20)
        cluster.run_until_converged()
        assert cluster.look("worker-2", "default", "web") == ("active", 1)
        cluster.conclude()
        assert never_on_two_nodes(cluster.history).passed


def test_a_unit_of_a_silent_node_is_unknown_until_the_node_is_heard_again() -> None:
    with World(1) as world:
        cluster = cluster_of(world, 2)
        put(cluster, "web", node="worker-1")
        cluster.run_until_converged()
        cut_s = world.now_ns // 10**9
        cluster.faults.isolate("worker-1")
        world.run_for(LEASE_S * 3)
        lost = status(cluster, "web")
        assert lost.active_state == "unknown"
        assert lost.message.endswith("then it was active (running)")
        wall_s = lost.unknown_since.seconds - status_epoch_s(world)
        assert cut_s - LEASE_S <= wall_s <= cut_s + 2, "when it was last heard"
        cluster.faults.heal("worker-1")
        cluster.run_until_converged(timeout_s=30)
        back = status(cluster, "web")
        assert (back.active_state, back.message, back.HasField("unknown_since")) == ("active", "", False)


def test_a_unit_moves_away_from_a_lost_node_once_if_its_policy_says_so() -> None:
    policy = default_unit()
    policy.node_lost.move_after = 20
    with World(1) as world:
        cluster = cluster_of(world, 3)
        put(cluster, "moves", node="worker-1", unit=policy)
        put(cluster, "stays", node="worker-1")
        cluster.run_until_converged()
        cluster.faults.power_off("worker-1")
        world.run_for(15)
        assert bound_node(units(cluster)["moves"].metadata) == "worker-1", "not yet"
        world.run_for(25)
        first = bound_node(units(cluster)["moves"].metadata)
        assert first in ("worker-2", "worker-3")
        assert units(cluster)["moves"].metadata.annotations[MOVED_FROM_ANNOTATION] == "worker-1"
        assert cluster.look(first, "default", "moves") == ("active", 1)
        assert bound_node(units(cluster)["stays"].metadata) == "worker-1"
        cluster.faults.power_off(first)
        world.run_for(60)
        assert bound_node(units(cluster)["moves"].metadata) == first, "once"
        cluster.faults.power_on("worker-1")
        cluster.faults.power_on(first)
        world.run_for(30)
        cluster.run_until_converged(timeout_s=60)
        assert cluster.look("worker-1", "default", "moves")[0] == "absent", "it began there, offline, and was removed"


def test_a_unit_that_no_node_can_take_says_why() -> None:
    with World(1) as world:
        cluster = cluster_of(world, 0)
        put(cluster, "web")
        put(cluster, "bound", node="worker-9")
        world.run_for(20)
        assert "no node takes units" in status(cluster, "web").message
        assert "node 'worker-9' does not exist" in status(cluster, "bound").message
        cluster.add_node("worker-9")
        world.run_for(20)
        cluster.run_until_converged(timeout_s=60)
        assert status(cluster, "web").message == ""


def status_epoch_s(world: World) -> int:
    """The wall time at which the world began."""
    return world.host("epoch").clock.now_ns() // 10**9 - world.now_ns // 10**9
