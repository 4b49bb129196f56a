"""The examples in docs/reference/scenarios.md and docs/explanation/simulation.md run, and both leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

from rube.sim.cluster.cluster import SimCluster
from rube.sim.scenario import Simulation, default_unit, load_text
from rube.sim.scenario.scenario_pb2 import Expectation, Fault, Step
from rube.sim.world.kernel import World
from rube.sim.world.kernel.guards import REFUSED, REFUSED_EVENTS, REFUSED_WITHOUT_ARGUMENT

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "reference" / "scenarios.md").read_text()
SIMULATION = (DOCS / "explanation" / "simulation.md").read_text()


def _block(language: str, page: str = PAGE) -> str:
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_holds() -> None:
    with Simulation(load_text(_block("yaml"), "s.yaml")) as simulation:
        result = simulation.run()
    assert result.passed, result.verdicts


def test_the_program_runs() -> None:
    names = {"World": World, "SimCluster": SimCluster, "default_unit": default_unit}
    exec(compile(_block("python"), "docs/reference/scenarios.md", "exec"), names)
    assert names["cluster"].problems  # type: ignore[attr-defined]


def test_every_step_fault_and_check_is_named() -> None:
    for message, oneof in ((Step, "action"), (Fault, "fault"), (Expectation, "check")):
        for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields:
            assert re.search(rf"`{field.name}\b", PAGE), f"docs/reference/scenarios.md does not tell of {field.name}"


def test_every_guarded_module_is_named() -> None:
    table = SIMULATION.partition("## What the guards catch")[2].partition("Let through")[0]
    guarded = {place.__name__.rpartition(".")[2] for place, *_ in (*REFUSED, *REFUSED_WITHOUT_ARGUMENT)}
    guarded |= {event.partition(".")[0] for event in REFUSED_EVENTS} - {"pty"}
    missing = {name for name in guarded - {"events"} if name not in table}
    assert missing == set()
