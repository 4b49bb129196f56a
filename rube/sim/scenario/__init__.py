"""Scenarios: files that describe a simulated world, its events and the expectations.

`load` reads and checks a file against scenario.proto; a `Simulation` builds the world, plays the scenario and has its
history judged.
"""

from __future__ import annotations

from rube.sim.scenario.load import LoadedScenario, default_unit, load, load_text
from rube.sim.scenario.simulation import Simulation
from rube.sim.scenario.yamlproto import ScenarioError

__all__ = ["LoadedScenario", "ScenarioError", "Simulation", "default_unit", "load", "load_text"]
