"""`rube sim --set` and `--against`: one scenario with another field, and two settings side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation.sim_calls import sim

RAFT = """\
name: group
duration: 20s
cluster:
  raft: {members: 3}
  nodes: {count: 1}
workload:
  observers: 1
  steps:
    - {at: 4s, put: {name: "web-{i}", count: 2}}
faults:
  - {at: 8s, for: 3s, kill: leader}
expect:
  - converged: {within: 10s}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(RAFT)
    return path


def test_a_setting_changes_a_field_and_stands_in_the_command_that_repeats_the_run(scenario: Path) -> None:
    plain = json.loads(sim(scenario, "--json").stdout)
    changed = json.loads(sim(scenario, "--json", "--set", "cluster.raft.pre_vote=false").stdout)
    assert plain["trace_sha256"] != changed["trace_sha256"]
    assert changed["repeat"] == f"rube sim {scenario} --set cluster.raft.pre_vote=false --seed 1"
    scenario.write_text(RAFT.replace("{members: 3}", "{members: 3, pre_vote: false}"))
    assert json.loads(sim(scenario, "--json").stdout)["trace_sha256"] == changed["trace_sha256"]


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("faults[0].kill=api-2", ("kill: leader", "kill: api-2")),
        ("faults[0].pause=api-1", ("kill: leader", "pause: api-1")),
        ("cluster.nodes.names=[a, b]", ("{count: 1}", "{count: 1, names: [a, b]}")),
        ("workload.steps[0].put.count=3", ("count: 2", "count: 3")),
        ("cluster.network={latency: 3ms, loss: 0.1}", ("  nodes:", "  network: {latency: 3ms, loss: 0.1}\n  nodes:")),
        ("duration=25s", ("20s", "25s")),
    ],
)
def test_a_setting_is_what_the_file_would_say(scenario: Path, setting: str, written: tuple[str, str]) -> None:
    changed = json.loads(sim(scenario, "--json", "--set", setting).stdout)
    scenario.write_text(RAFT.replace(*written))
    assert json.loads(sim(scenario, "--json").stdout)["trace_sha256"] == changed["trace_sha256"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("cluster.raft.pre_vot=false", "unknown key \"pre_vot\" in cluster.raft; did you mean 'pre_vote'?"),
        ("cluster.raft.pre_vote", "write PATH=VALUE"),
        ("cluster.raft.pre_vote=maybe", 'expected true or false, not "maybe"'),
        ("cluster.raft.pre_vote=", "no value: expected true or false"),
        ("faults[3].kill=api-1", "faults has 1 items, from 0 on"),
        ("faults.kill=api-1", "faults has no parts; set it as a whole"),
        ("faults[0]=x", "name a key of faults[0], or set the whole list"),
        ("name.first=x", "name has no parts"),
        ("cluster[0].raft=x", "cluster is no list"),
        ("a b=c", "is no path"),
        ("duration=[", "not YAML"),
        ("cluster.raft.members=9", "9 members"),
    ],
)
def test_a_wrong_setting_is_named_with_the_remedy(scenario: Path, setting: str, says: str) -> None:
    result = sim(scenario, "--set", setting)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_two_settings_stand_side_by_side(scenario: Path) -> None:
    options = ("--seeds", 3, "--jobs", 1, "--against", "cluster.raft.election_ticks=30")
    text = sim(scenario, *options).stdout
    assert "medians over 3 seeds:" in text
    head = next(line for line in text.splitlines() if "as it is" in line)
    assert head.split() == ["as", "it", "is", "cluster.raft.election_ticks=30"]
    assert any(line.split()[:3] == ["seeds", "that", "hold"] for line in text.splitlines())
    assert any(line.strip().startswith("commit to watcher p99, ms") for line in text.splitlines())
    found = json.loads(sim(scenario, *options, "--json").stdout)
    first, second = found["settings"]
    assert (first["name"], second["name"]) == ("as it is", "cluster.raft.election_ticks=30")
    assert [run["seed"] for run in first["runs"]] == [1, 2, 3]
    assert all(run["elections"] >= 2 and run["commits"] > 0 for run in first["runs"])
    assert max(run["watch_latency_ns"]["max_ns"] for run in second["runs"]) > 0


def test_every_seed_of_a_sweep_has_its_values(scenario: Path) -> None:
    found = json.loads(sim(scenario, "--seeds", 2, "--jobs", 1, "--json").stdout)
    alone = json.loads(sim(scenario, "--seed", 2, "--json").stdout)
    assert [run["seed"] for run in found["runs"]] == [1, 2]
    run = found["runs"][1]
    assert run["trace_sha256"] == alone["trace_sha256"]
    assert {name: run[name] for name in alone["simulated"]} == alone["simulated"]
    assert run["watch_latency_ns"]["p99_ns"] == alone["watch_latency_ns"][0]["p99_ns"]
