"""The size limits of a scenario, checked before anything is built: a count of billions must not fill the memory."""

from __future__ import annotations

from rube.sim.scenario.chaos import NS_MIN
from rube.sim.scenario.scenario_pb2 import Scenario
from rube.sim.scenario.yamlproto import Source

NODES_MAX = 1_000
UNITS_MAX = 100_000
OBSERVERS_MAX = 1_000
STEPS_MAX = 1_000_000
"""All steps together, each counted as often as it is repeated."""
FAULTS_MAX = 10_000
CHAOS_DRAWS_MAX = 100_000
"""The most faults that one chaos draws."""
NUMBER_MAX = 1_000_000_000
"""A unit's number in its name."""


def check_sizes(scenario: Scenario, source: Source) -> None:
    """Notes in `source` what there is too much of."""
    nodes = scenario.cluster.nodes
    if (count := max(nodes.count, len(nodes.names))) > NODES_MAX:
        source.error(("cluster", "nodes"), f"{count} nodes; the most is {NODES_MAX}")
    if (observers := scenario.workload.observers) > OBSERVERS_MAX:
        source.error(("workload", "observers"), f"{observers} observers; the most is {OBSERVERS_MAX}")
    steps = scenario.workload.steps
    if (units := sum(max(1, step.put.count) for step in steps if step.HasField("put"))) > UNITS_MAX:
        source.error(("workload", "steps"), f"{units} units; the most is {UNITS_MAX}")
    if (acts := sum(max(1, step.times) for step in steps)) > STEPS_MAX:
        source.error(("workload", "steps"), f"{acts} steps with all their `times`; the most is {STEPS_MAX}")
    if (faults := len(scenario.faults)) > FAULTS_MAX:
        source.error(("faults",), f"{faults} faults; the most is {FAULTS_MAX}")
    for index, step in enumerate(steps):
        if step.put.first > NUMBER_MAX:
            source.error(("workload", "steps", index, "put", "first"), f"the most is {NUMBER_MAX}")
    for index, fault in enumerate(scenario.faults):
        every_ns = fault.chaos.every.ToNanoseconds()
        lasts = fault.lasts if fault.HasField("lasts") else scenario.duration
        if every_ns >= NS_MIN and lasts.ToNanoseconds() > CHAOS_DRAWS_MAX * every_ns:
            path = ("faults", index, "chaos", "every")
            source.error(path, f"more than {CHAOS_DRAWS_MAX} faults within `for`: write a longer time")
