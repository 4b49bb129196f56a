"""How a user tests a controller of their own before they trust it: in a simulated cluster, under faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from rube import api_pb2
from rube.api import controller_pb2
from rube.api.keys import ObjectKey
from rube.api.registry import pack
from rube.controllers.cluster.types import NODE_TYPE, UNIT_TYPE
from rube.controllers.contract import Input, View
from rube.sim.checkers import acknowledged_writes, never_on_two_nodes
from rube.sim.cluster import SimCluster
from rube.sim.kernel import World
from rube.sim.scenario import default_unit
from rube.sim.user import User

NAMESPACE = "agents"


class Agents:
    """Puts one unit on each node, and puts it again when somebody deletes it."""

    name = "agents"
    type = NODE_TYPE
    selector = ""

    @property
    def inputs(self) -> Sequence[Input]:
        return (Input(type=UNIT_TYPE, namespace=NAMESPACE, requeue=_node_of, select=_agent_of),)

    def decide(self, state: controller_pb2.State) -> controller_pb2.Decision:
        decision = controller_pb2.Decision()
        if not state.HasField("object") or state.related:
            return decision
        node = state.key.name
        agent = api_pb2.Object(spec=pack(default_unit()))
        agent.metadata.namespace, agent.metadata.name, agent.metadata.labels["node"] = NAMESPACE, node, node
        put = decision.calls.add().put
        put.objects.append(agent)
        put.preconditions.add(key=ObjectKey(UNIT_TYPE, NAMESPACE, node).to_proto(), absent=True)
        return decision


def _node_of(agent: api_pb2.Object, view: View) -> Iterable[ObjectKey]:
    return [ObjectKey(NODE_TYPE, "", agent.metadata.name)]


def _agent_of(key: ObjectKey, node: api_pb2.Object | None, view: View) -> Iterable[api_pb2.Object]:
    agent = view.get(ObjectKey(UNIT_TYPE, NAMESPACE, key.name))
    return [] if agent is None else [agent]


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
