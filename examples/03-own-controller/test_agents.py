"""The controller in a simulated cluster, killed at many instants: `python -m pytest test_agents.py`."""

from __future__ import annotations

import pytest
from agents import NAMESPACE, Agents

from rube.api import State
from rube.controllers.contract import evaluate
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.user import User
from rube.sim.judges import acknowledged_writes, never_on_two_nodes
from rube.sim.world.kernel import World


def test_a_node_without_an_agent_gets_one() -> None:
    state = State()
    state.key.type, state.key.name = "api.Node", "worker-1"
    state.object.metadata.name = "worker-1"
    (call,) = evaluate(Agents(), state, check_purity=True).calls
    assert call.put.objects[0].metadata.labels["node"] == "worker-1"


async def _delete_one(user: User) -> None:
    await user.delete(NAMESPACE, ["worker-1"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("killed_after_s", [0.0, 0.001, 0.003, 0.005, 0.02])
def test_each_node_has_its_agent_whenever_the_controller_is_killed(seed: int, killed_after_s: float) -> None:
    with World(seed) as world:
        cluster = SimCluster(world)
        cluster.add_apiserver("api-1", controllers=[Agents()])
        for node in ("worker-1", "worker-2"):
            cluster.add_node(node)
        world.run_for(1)
        assert [obj.metadata.name for obj in cluster.objects()] == ["worker-1", "worker-2"]
        cluster.run(_delete_one)
        world.run_for(killed_after_s)
        cluster.faults.kill("api-1")
        world.run_for(1)
        cluster.faults.restart("api-1")
        world.run_for(30)
        cluster.run_until_converged(timeout_s=60)
        assert [obj.metadata.name for obj in cluster.objects()] == ["worker-1", "worker-2"]
        cluster.conclude()
        for verdict in (acknowledged_writes(cluster.history), never_on_two_nodes(cluster.history)):
            assert verdict.passed, verdict
