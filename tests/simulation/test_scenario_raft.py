"""Scenarios whose apiservers replicate their store: who is struck, what is refused, the same trace anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rube.sim.scenario import Simulation, load, load_text
from rube.sim.scenario.yamlproto import ScenarioError
from rube.store import parse_store_url
from rube.store.replicated.backend import member_config

SCENARIOS = Path(__file__).parents[2] / "scenarios"
LEADER_LOSS = str(SCENARIOS / "raft-leader-loss.yaml")
SNAPSHOT = str(SCENARIOS / "raft-snapshot.yaml")
TEXT = """\
name: small
duration: 20s
cluster:
  raft: {tick: 50ms, election_ticks: 12, heartbeat_ticks: 2, log_entries_kept: 20, piece_bytes_max: 5000}
  nodes: {count: 1}
workload:
  steps:
    - {at: 4s, put: {name: web}}
faults:
  - {at: 6s, for: 3s, kill: leader}
expect:
  - acknowledged_writes
"""
PROGRAM = """
import sys
from rube.sim.scenario import Simulation, load
with Simulation(load(sys.argv[1])) as simulation:
    print(simulation.run().trace_sha256)
"""


def test_the_parameters_reach_every_member() -> None:
    apiservers = load_text(TEXT, "s.yaml").scenario.cluster.apiservers
    assert [apiserver.name for apiserver in apiservers] == ["api-1", "api-2", "api-3"]
    for apiserver in apiservers:
        config = member_config(parse_store_url(apiserver.store))
        assert config.name == apiserver.name
        assert [name for name, _ in config.members] == ["api-1", "api-2", "api-3"]
        assert (config.tick_s, config.election_ticks, config.heartbeat_ticks) == (0.05, 12, 2)
        assert (config.log_entries_kept, config.piece_bytes_max) == (20, 5000)


def test_the_leader_of_the_moment_is_struck_and_brought_back() -> None:
    with Simulation(load_text(TEXT, "s.yaml")) as simulation:
        before: list[str] = []
        kill, restart = simulation.cluster.faults.kill, simulation.cluster.faults.restart
        struck: list[tuple[str, str]] = []

        def note_kill(host: str) -> None:
            before.append(simulation.cluster.leader())
            struck.append(("kill", host))
            kill(host)

        def note_restart(host: str) -> None:
            struck.append(("restart", host))
            restart(host)

        simulation.cluster.faults.kill = note_kill  # type: ignore[method-assign]
        simulation.cluster.faults.restart = note_restart  # type: ignore[method-assign]
        assert simulation.run().passed
        (victim,) = before
        assert struck == [("kill", victim), ("restart", victim)]
        assert simulation.cluster.leader() not in ("", victim)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("raft: {", "raft: {members: 8, ", "8 members: write 1 to 7"),
        ("tick: 50ms", "tick: 10us", "impossible time: write at least 1ms"),
        ("  nodes", "  etcd: {members: 3}\n  nodes", "a replicated group and an etcd: leave one out"),
        ("  nodes", "  apiservers: [{name: a}]\n  nodes", "leave `apiservers` out"),
        ("for: 3s, kill: leader", "restart: leader", 'unknown host "leader"'),
        ("for: 3s, kill: leader", "reset: {from: [api-1], one_way: true}", "`reset` goes both ways"),
    ],
)
def test_what_cannot_be_is_refused(old: str, new: str, error: str) -> None:
    assert old in TEXT
    with pytest.raises(ScenarioError) as refused:
        load_text(TEXT.replace(old, new, 1), "s.yaml")
    assert error in str(refused.value)


def test_a_leader_is_known_only_to_a_replicated_group() -> None:
    start, end = TEXT.index("  raft:"), TEXT.index("  nodes:")
    with pytest.raises(ScenarioError, match='unknown host "leader"'):
        load_text(TEXT[:start] + TEXT[end:], "s.yaml")


def test_a_member_that_is_far_behind_gets_a_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="rube.replica")
    with Simulation(load(SNAPSHOT)) as simulation:
        simulation.run()
    sent = [record.getMessage() for record in caplog.records if "sends its state" in record.getMessage()]
    assert len(sent) >= 4, "two members join by one each; the others are for who was away"


def test_the_trace_is_the_same_under_other_hash_seeds() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, LEADER_LOSS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for hash_seed in ("0", "1")
    ]
    hashes = [run.communicate(timeout=100)[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(hashes[0]) == 64
    assert hashes[0] == hashes[1]
