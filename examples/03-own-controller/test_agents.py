"""The controller in a simulated cluster, killed at many instants: `python -m pytest test_agents.py`."""

from __future__ import annotations

import pytest
from agents import NAMESPACE, Agents

from rube.testing import Cluster, simulate


@pytest.mark.parametrize("killed_after_s", [0.0, 0.001, 0.003, 0.005, 0.02])
@simulate(seeds=3, nodes=2, controllers=[Agents])
def test_each_node_has_its_agent_whenever_the_controller_is_killed(cluster: Cluster, killed_after_s: float) -> None:
    cluster.eventually(lambda: cluster.unit("worker-1", NAMESPACE) == "active")
    cluster.delete("Unit", "worker-1", NAMESPACE)
    cluster.run_for(killed_after_s)
    cluster.kill("api-1", for_s=1)
    cluster.eventually(lambda: cluster.starts("worker-1", NAMESPACE) == 2)
    assert [unit.metadata.name for unit in cluster.list("Unit")] == ["worker-1", "worker-2"]
