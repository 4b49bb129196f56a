"""The example of a user's own controller in a scenario; beside it is the test that a user would write."""

from __future__ import annotations

import pytest

from rube.shipped import shipped_directory
from rube.sim.scenario import ScenarioError, Simulation, load_text

EXAMPLE = shipped_directory("examples") / "03-own-controller"


def test_the_example_scenario_holds_and_repeats_in_python_and_in_rust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    text = (EXAMPLE / "agents.yaml").read_text()
    hashes = []
    for name in ("agents:Agents", "agents:Agents", "agents.wasm"):
        with Simulation(load_text(text.replace("agents:Agents", name), "agents.yaml")) as simulation:
            result = simulation.run()
        assert result.passed, result.verdicts
        hashes.append(result.trace_sha256)
    assert len(set(hashes)) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere:Agents", "cannot import 'nowhere'"),
        ("rube.controllers.cluster.placement:Placement", "two controllers are called 'placement'"),
    ],
)
def test_a_scenario_names_the_line_of_a_controller_that_cannot_be(name: str, says: str) -> None:
    text = (EXAMPLE / "agents.yaml").read_text().replace("agents:Agents", name)
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "s.yaml")
    (line,) = caught.value.lines
    assert line.startswith("s.yaml:6: ")
    assert says in line
