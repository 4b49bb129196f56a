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


FAILS_AT_BOOT = """\
{at: 8s, for: 1s, power_off: HOST}
  - {at: 8500ms, for: 10s, disk: {host: HOST, kind: fail_sync}}"""


@pytest.mark.parametrize("host", ["api-1", "worker-1", "etcd-1"])
@pytest.mark.parametrize("fault", ["{at: 0s, for: 8s, disk: {host: HOST, kind: full}}", FAILS_AT_BOOT])
def test_a_daemon_whose_disk_fails_or_is_full_when_it_starts_ends_and_is_started_again(host: str, fault: str) -> None:
    text = (
        SCENARIO[: SCENARIO.index("faults:")] + "faults:\n  - " + fault + "\n" + SCENARIO[SCENARIO.index("expect:") :]
    )
    if host == "etcd-1":
        text = text.replace("  nodes:", "  etcd: {members: 3}\n  nodes:")
    with Simulation(load_text(text.replace("HOST", host), "s.yaml")) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []
    assert simulation.cluster.is_running(host)


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
