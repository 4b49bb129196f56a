"""Daemons on simulated disks that fail: they end, and nothing that was acknowledged is lost."""

from __future__ import annotations

import re

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


ENDS = {"fail_sync": r"EIO on sync|SQLITE_IOERR_FSYNC", "fail_write": r"EIO on write|SQLITE_IOERR_WRITE"}
KINDS = """\
name: disk-kinds
duration: 40s
cluster:
  engine: ENGINE
  nodes: {count: 1}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 3}}
    - {at: 5s, every: 200ms, times: 60, change: {names: [web-1, web-2]}}
    - {at: 5s, every: 200ms, times: 60, read: {names: [web-1, web-3]}}
faults:
FAULTS
expect:
  - acknowledged_writes
  - status_reported
  - converged: {within: 20s}
"""


def played(engine: str, host: str, *faults: str) -> Simulation:
    """The simulation, which is over and whose checks held."""
    listed = "\n".join(f"  - {fault}" for fault in faults)
    text = KINDS.replace("ENGINE", engine).replace("FAULTS", listed).replace("HOST", host)
    with Simulation(load_text(text, "s.yaml")) as simulation:
        result = simulation.run()
    assert [verdict for verdict in result.verdicts if not verdict.passed] == []
    return simulation


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("host", ["api-1", "worker-1"])
@pytest.mark.parametrize("kind", ENDS)
def test_a_daemon_whose_disk_fails_a_call_ends_once_and_comes_back(kind: str, host: str, engine: str) -> None:
    """Real daemons do the same: tests/real/test_disk_faults_sync.py."""
    cluster = played(engine, host, f"{{at: 6s, disk: {{host: HOST, kind: {kind}}}}}").cluster
    assert [loss.host for loss in cluster.history.losses] == [host]
    assert re.search(rf"the disk failed \(.*({ENDS[kind]}).*restart: what was acknow", cluster.history.losses[0].text)
    assert cluster.is_running(host)


@pytest.mark.parametrize("host", ["api-1", "worker-1"])
def test_a_daemon_that_cannot_read_its_disk_ends_when_it_starts_and_comes_back(host: str) -> None:
    faults = "{at: 6s, disk: {host: HOST, kind: fail_read}}", "{at: 6100ms, for: 1s, kill: HOST}"
    cluster = played("memory", host, *faults).cluster
    assert ["EIO on read" in loss.text for loss in cluster.history.losses] == [True]


def test_a_read_that_fails_on_sqlite_ends_no_daemon() -> None:
    """It ends no real daemon either: tests/real/test_disk_faults_sync.py."""
    assert played("sqlite", "api-1", "{at: 6s, disk: {host: HOST, kind: fail_read}}").cluster.history.losses == []


@pytest.mark.parametrize("kind", ["fail_sync", "fail_write", "fail_read"])
def test_a_fault_that_met_no_call_is_over_with_its_time(kind: str) -> None:
    faults = f"{{at: 500ms, for: 100ms, disk: {{host: HOST, kind: {kind}}}}}", "{at: 4s, for: 1s, kill: HOST}"
    quiet = "nothing is written", "{at: 490ms, for: 150ms, pause: HOST}"
    assert played("memory", "worker-1", quiet[1], *faults).cluster.history.losses == []


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_lie_is_harmless_while_no_power_is_lost(engine: str) -> None:
    lies = [f"{{at: 5500ms, for: 4s, disk: {{host: {host}, kind: lie}}}}" for host in ("api-1", "worker-1")]
    kills = [f"{{at: 7s, for: 1s, kill: {host}}}" for host in ("api-1", "worker-1")]
    assert played(engine, "", *lies, *kills).cluster.history.losses == []


def test_a_node_whose_disk_lied_learns_anew_what_it_forgot() -> None:
    faults = "{at: 5500ms, for: 3s, disk: {host: HOST, kind: lie}}", "{at: 8s, for: 2s, power_off: HOST}"
    cluster = played("memory", "worker-1", *faults).cluster
    assert cluster.history.losses == []
    assert cluster.history.forgetful_disks == {"worker-1"}
