"""Daemons on simulated disks that fail: they end, and nothing that was acknowledged is lost."""

from __future__ import annotations

import pytest

from rube.sim.scenario import Simulation, load_text

SCENARIO = """\
name: failing-disk
duration: 40s
cluster:
  nodes: {count: 1}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4}}
    - {at: 5s, every: 2ms, times: 60, change: {names: [web-1, web-2]}}
faults:
  - {at: 5050ms, disk: {host: HOST, kind: fail_sync}}
  - {at: 9s, for: 2s, power_off: HOST}
expect:
  - acknowledged_writes
  - revisions_monotonic
  - watch_promises
  - converged: {within: 20s}
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("host", ["api-1", "worker-1"])
def test_a_daemon_ends_after_a_failed_sync_and_nothing_acknowledged_is_lost(
    host: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Simulation(load_text(SCENARIO.replace("HOST", host), "s.yaml"), seed=seed) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []
    ends = [record.message for record in caplog.records if "the daemon ends" in record.message]
    assert len(ends) == 1
    assert ends[0].startswith(f"{host}: the daemon ends: /var/lib/rube/")
    assert "the disk failed (EIO on sync); nothing more is written" in ends[0]
