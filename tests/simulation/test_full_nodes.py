"""A node whose disk is full says so: in the statuses of the units it cannot take over, and in its own."""

from __future__ import annotations

import pytest

from rube.api import GetRequest, NodeStatus, Object, UnitStatus
from rube.client import Client
from rube.controllers.cluster.types import node_key
from rube.host import Host
from rube.sim.cluster.cluster import ClusterConfig, SimCluster
from rube.sim.scenario.load import default_unit
from rube.sim.world.kernel import World

NODE = "worker-1"
SAID = f"node {NODE} stores nothing new, and this status may be old: the disk that holds /var/lib/rube/"


def status(cluster: SimCluster, name: str) -> UnitStatus:
    found = UnitStatus()
    next(obj for obj in cluster.objects() if obj.metadata.name == name).status.Unpack(found)
    return found


def problems(cluster: SimCluster) -> list[str]:
    async def ask(ports: Host) -> Object:
        async with Client(ports, cluster.targets) as client:
            return (await client.get(GetRequest(key=node_key(NODE).to_proto()))).object

    found = NodeStatus()
    cluster.world.run(ask, cluster._desk.ports, timeout_s=60).status.Unpack(found)
    return list(found.problems)


def put(cluster: SimCluster, name: str, *, description: str = "") -> None:
    unit = default_unit()
    unit.description = description
    cluster.run(lambda user: user.put("default", [(name, unit, NODE)]))


@pytest.mark.parametrize("seed", range(3))
def test_a_full_node_says_so_in_the_status_of_new_and_changed_units_and_in_its_own(seed: int) -> None:
    with World(seed) as world:
        cluster = SimCluster(world, ClusterConfig(node_lease_s=8.0))
        cluster.add_apiserver("api-1")
        cluster.add_node(NODE)
        put(cluster, "old")
        cluster.run_until_converged()
        cluster.faults.disk(NODE).fill()
        put(cluster, "new")
        put(cluster, "old", description="changed")
        world.run_for(30)
        for name, state in (("new", ""), ("old", "active")):
            said = status(cluster, name)
            assert said.message.startswith(SAID)
            assert "is full: free some space" in said.message
            assert (said.node, said.active_state) == (NODE, state)
        (problem,) = problems(cluster)
        assert problem.startswith("the disk that holds /var/lib/rube/")
        cluster.faults.disk(NODE).free()
        world.run_for(30)
        cluster.run_until_converged()
        assert [status(cluster, name).message for name in ("new", "old")] == ["", ""]
        assert [status(cluster, name).active_state for name in ("new", "old")] == ["active", "active"]
        assert problems(cluster) == []
        cluster.conclude()


def test_what_happens_to_a_unit_on_a_full_node_may_be_old_news_and_is_told_so() -> None:
    with World(1) as world:
        cluster = SimCluster(world, ClusterConfig(node_lease_s=8.0))
        cluster.add_apiserver("api-1")
        cluster.add_node(NODE)
        put(cluster, "old")
        cluster.run_until_converged()
        cluster.faults.disk(NODE).fill()
        cluster.crash_unit(NODE, "default", "old")
        world.run_for(30)
        said = status(cluster, "old").message
        assert said.startswith(SAID)
        cluster.faults.disk(NODE).free()
        world.run_for(30)
        cluster.run_until_converged()
        assert status(cluster, "old").message == ""
        cluster.conclude()
