"""Nodes at moments that are hard to hit: found by scenarios/nodes-chaos and store-chaos."""

from __future__ import annotations

from rube.sim.report import Result
from rube.sim.scenario import Simulation, load_text

CLUSTER = """\
name: torn
duration: 60s
cluster:
  nodes: {count: 1}
  node_lease: 4s
  disks: {sync: 50ms}
workload:
  steps:
    - {at: 5s, put: {name: web, node: worker-1}}
"""
EXPECT = """\
expect:
  - converged: {within: 20s}
  - status_reported
"""
WRITES_TO_A_START = 8
"""A rubelet's writes until its unit runs: the copy, the decision; then the outcome of the action."""


def _run(text: str) -> Result:
    with Simulation(load_text(text, "s.yaml")) as simulation:
        return simulation.run()


def _assert_holds(text: str) -> None:
    assert [verdict for verdict in _run(text).verdicts if not verdict.passed] == [], text


def test_a_unit_whose_start_was_under_way_at_a_power_loss_is_started_after_it() -> None:
    """The driver has done the start and noted its id, and nothing says so yet: whichever write is struck."""
    for write in range(1, WRITES_TO_A_START + 1):
        strike = f"{{host: worker-1, power_off: true, write: {write}, after: 10ms}}"
        fault = f"faults:\n  - {{at: 4900ms, for: 5s, interrupt: {strike}}}\n"
        _assert_holds(CLUSTER + fault + EXPECT)


def test_what_runs_without_an_object_is_removed_as_soon_as_a_node_has_its_copy() -> None:
    steps = "    - {at: 12s, delete: {names: [web]}}\n"
    fault = "faults:\n  - {at: 10s, for: 5s, wipe: worker-1}\n"
    _assert_holds(CLUSTER + steps + fault + EXPECT.replace("  - status_reported\n", ""))
