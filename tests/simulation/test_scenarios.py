"""The scenarios that Rube ships: every check holds, and the same run has the same trace, anywhere."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rube.sim.report import Result
from rube.sim.scenario import Simulation, load, load_text

SCENARIOS = Path(__file__).parents[2] / "scenarios"
PARTITION = str(SCENARIOS / "partition.yaml")

SMALL = """\
name: small
duration: 20s
cluster:
  nodes: {count: 2}
  network: {latency: 1ms, jitter: 500us}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 6s, change: {names: [web-1]}}
faults:
  - {at: 5s, for: 3s, isolate: worker-1}
expect:
  - converged: {within: 10s}
  - watch_promises
"""

PROGRAM = """
import sys
from rube.sim.scenario import Simulation, load
garbage = [[object() for _ in range(int(sys.argv[2]))] for _ in range(100)]
cycle = []
cycle.append(cycle)
for _ in range(int(sys.argv[3])):
    with Simulation(load(sys.argv[1])) as simulation:
        print(simulation.run().trace_sha256)
"""
"""Leaves garbage behind, runs the scenario as often as told in one process, prints the hashes."""


def _run(text: str, seed: int | None = None) -> Result:
    with Simulation(load_text(text, "s.yaml"), seed=seed) as simulation:
        return simulation.run()


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_holds(path: Path) -> None:
    with Simulation(load(str(path))) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []


def test_partition_holds_under_other_seeds() -> None:
    for seed in (2, 3):
        with Simulation(load(PARTITION), seed=seed) as simulation:
            result = simulation.run()
        assert [verdict for verdict in result.verdicts if not verdict.passed] == [], f"rube sim --seed {seed}"


@pytest.mark.parametrize("seed", [1, 2])
def test_partition_holds_in_other_orders(seed: int) -> None:
    with Simulation(load(PARTITION), seed=seed, tie_break=True) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []


def test_the_trace_is_the_same_in_every_process() -> None:
    hashes: list[str] = []
    for hash_seed, garbage, runs in (("0", 10, 2), ("1", 1000, 1), ("random", 333, 1)):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, PARTITION, str(garbage), str(runs)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        hashes += re.findall(r"^[0-9a-f]{64}$", done.stdout, re.MULTILINE)
    assert len(hashes) == 4
    assert len(set(hashes)) == 1


def test_two_copies_of_a_file_have_the_same_trace(tmp_path: Path) -> None:
    hashes = []
    for name in ("one.yaml", "another-name.yaml"):
        (tmp_path / name).write_text(SMALL)
        with Simulation(load(str(tmp_path / name))) as simulation:
            hashes.append(simulation.run().trace_sha256)
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("latency: 1ms", "latency: 1001us"),
        ("jitter: 500us", "jitter: 501us"),
        ("for: 3s", "for: 3001ms"),
        ("names: [web-1]", "names: [web-3]"),
    ],
    ids=["latency", "jitter", "a fault's end", "another unit"],
)
def test_another_scenario_has_another_trace(old: str, new: str) -> None:
    assert old in SMALL
    assert _run(SMALL).trace_sha256 != _run(SMALL.replace(old, new)).trace_sha256


def test_another_seed_has_another_trace() -> None:
    assert _run(SMALL, seed=1).trace_sha256 != _run(SMALL, seed=2).trace_sha256


def test_one_changed_byte_has_another_trace(tmp_path: Path) -> None:
    """Two units that differ in one letter of their description: all times and sizes are the same."""
    hashes = []
    for letter in "ab":
        unit = f'description: "{letter}" service {{ exec {{ start: "/usr/bin/sleep infinity" }} }}'
        (tmp_path / "unit.textproto").write_text(
            f'metadata {{ name: "x" }} spec {{ [rube/api.systemd.Unit] {{ {unit} }} }}'
        )
        (tmp_path / "s.yaml").write_text(SMALL.replace("count: 4,", "count: 4, file: unit.textproto,"))
        with Simulation(load(str(tmp_path / "s.yaml"))) as simulation:
            result = simulation.run()
            hashes.append(result.trace_sha256)
        assert result.passed, result.verdicts
    assert hashes[0] != hashes[1]


def test_logging_does_not_change_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = _run(SMALL)
    assert caplog.records
    caplog.set_level(logging.CRITICAL)
    assert told == _run(SMALL)


def test_a_world_that_ends_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its watches are open and its handlers suspended: they are closed as dead code."""
    with Simulation(load_text(SMALL, "s.yaml")) as simulation:
        simulation.run()
        caplog.clear()
        caplog.set_level(logging.DEBUG)
    assert caplog.records == []


def test_an_equal_scenario_gives_an_equal_result() -> None:
    assert _run(SMALL) == _run(SMALL)


PLACED = """\
name: placed
duration: 12s
cluster: {nodes: {count: 2}}
workload:
  steps:
    - {at: 2s, put: {name: web-1}}
    - {at: 6s, stop: {names: [web-1]}}
expect:
  - unit: {at: 1s, name: web-1, state: absent}
  - unit: {at: 5s, name: web-1, state: active, starts_min: 1, starts_max: 1}
  - unit: {at: 10s, name: web-1, state: inactive}
  - unit: {at: 10s, name: web-1, state: active}
"""


def test_a_unit_is_found_on_the_node_that_placement_chose() -> None:
    with Simulation(load_text(PLACED, "placed.yaml")) as simulation:
        *right, wrong = simulation.run().verdicts[:4]
    assert [verdict.passed for verdict in right] == [True] * 3
    assert not wrong.passed
    (found,) = wrong.offending
    assert found.startswith("10.000s default/web-1 is inactive on worker-")
