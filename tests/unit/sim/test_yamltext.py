"""The text as which a scenario file is written."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from rube.sim.scenario.scenario_pb2 import Fault, Scenario
from rube.sim.scenario.yamlproto import parse, parse_duration
from rube.sim.scenario.yamltext import duration_text, flow_text

FAULTS = """\
faults:
  - {at: 12s, for: 1500ms, partition: {from: [api-1], to: [worker-1, worker-2], one_way: true}}
  - {at: 5s, disk: {host: api-1, kind: fail_sync}}
  - {at: 5s, clock_jump: {host: api-1, by: -5s}}
  - {at: 5s, crash_unit: {node: 'yes', name: '007', namespace: a b}}
  - {at: 5s, for: 1us, chaos: {kinds: [kill, disk_full], hosts_at_once: 3}}
  - {at: 5s, for: 10s, slow: {from: [a], latency: 20ms}}
"""


def test_faults_are_written_as_they_are_read() -> None:
    scenario, _ = parse(FAULTS, "s.yaml", Scenario)
    assert "".join(f"  - {flow_text(fault)}\n" for fault in scenario.faults) == FAULTS.removeprefix("faults:\n")


@given(st.text(), st.text())
def test_any_name_reads_back(name: str, namespace: str) -> None:
    fault = Fault()
    fault.crash_unit.node, fault.crash_unit.name, fault.crash_unit.namespace = "worker-1", name, namespace
    scenario, _ = parse(f"faults:\n  - {flow_text(fault)}\n", "s.yaml", Scenario)
    assert list(scenario.faults) == [fault]


@pytest.mark.parametrize("text", ["0s", "12s", "-5s", "1500ms", "1us", "18084863066ns"])
def test_a_duration_keeps_every_nanosecond(text: str) -> None:
    duration = Duration()
    duration.FromNanoseconds(parse_duration(text))
    assert duration_text(duration) == text
