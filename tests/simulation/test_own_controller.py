"""How a user tests a controller of their own before they trust it: in a simulated cluster, under faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from examples.agents import NAMESPACE, Agents
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.user import User
from rube.sim.judges import acknowledged_writes, never_on_two_nodes
from rube.sim.scenario import ScenarioError, Simulation, load, load_text
from rube.sim.world.kernel import World


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


def test_the_example_scenario_holds_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("examples")
    hashes = []
    for _ in range(2):
        with Simulation(load("examples/agents.yaml")) as simulation:
            result = simulation.run()
        assert result.passed, result.verdicts
        hashes.append(result.trace_sha256)
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere:Agents", "cannot import 'nowhere'"),
        ("rube.controllers.cluster.placement:Placement", "two controllers are called 'placement'"),
    ],
)
def test_a_scenario_names_the_line_of_a_controller_that_cannot_be(name: str, says: str) -> None:
    text = Path("examples/agents.yaml").read_text().replace("agents:Agents", name)
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "s.yaml")
    (line,) = caught.value.lines
    assert line.startswith("s.yaml:6: ")
    assert says in line


def test_the_program_in_the_documentation_runs() -> None:
    found = re.search(r"```python\n(.*?)```", Path("docs/howto/controllers.md").read_text(), re.DOTALL)
    assert found is not None
    exec(compile(found[1], "docs/howto/controllers.md", "exec"), {"Agents": Agents})
