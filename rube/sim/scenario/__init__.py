"""Scenarios: files that say what a simulated world is made of, what happens in it and what must hold.

`load` reads and checks a file against rube/sim/scenario.proto; `run` builds the world, plays it and judges it.
"""

from rube.sim.scenario.load import LoadedScenario, load, load_text
from rube.sim.scenario.yamlproto import ScenarioError

__all__ = ["LoadedScenario", "ScenarioError", "load", "load_text"]
