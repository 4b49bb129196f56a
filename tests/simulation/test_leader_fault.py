"""The fault target `leader`: who leads when the fault begins, of an etcd and of replicated controllers."""

from __future__ import annotations

import pytest

from rube.sim.cluster.cluster import SimCluster
from rube.sim.judges import GroupHistory
from rube.sim.scenario import ScenarioError, Simulation, load_text

TEXT = """\
name: leader
duration: 50s
cluster:
  CLUSTER
  nodes: {count: 1}
workload:
  steps:
    - {at: 2s, put: {name: "web-{i}", count: 2}}
    - {at: 5s, every: 500ms, times: 40, change: {names: [web-1]}}
faults:
  - {at: 10s, for: 5s, kill: leader}
  - {at: 20s, for: 5s, isolate: leader}
expect:
  - acknowledged_writes
  - converged: {within: 20s}
"""


def group_of(cluster: SimCluster, name: str) -> GroupHistory:
    return cluster.history.etcd if name.startswith("etcd") else cluster.history.controllers


@pytest.mark.parametrize("name", ["etcd", "controller_replicas"])
def test_each_fault_strikes_who_leads_then(name: str) -> None:
    with Simulation(load_text(TEXT.replace("CLUSTER", f"{name}: {{}}"), "s.yaml")) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []
    led = group_of(simulation.cluster, name).leaderships
    for struck_s in (10, 20):
        before = [one.member for one in led if one.at_ns < struck_s * 10**9][-1]
        after = next(one.member for one in led if one.at_ns >= struck_s * 10**9)
        assert after != before
        assert after in simulation.cluster.hosts


def test_without_a_group_nobody_leads() -> None:
    with pytest.raises(ScenarioError, match='unknown host "leader"'):
        load_text(TEXT.replace("CLUSTER", "clocks: {}"), "s.yaml")
