"""Scenarios whose apiservers replicate their store: who is struck, what is refused, the same trace anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from rube.cli.main import rube
from rube.raft.config import ReadMode
from rube.sim.scenario import Simulation, load, load_text
from rube.sim.scenario.yamlproto import ScenarioError
from rube.store import parse_store_url
from rube.store.replicated.backend import member_config
from tests.unit.raft.test_raft_broken import answers_do_not_wait, leaders_answer_reads_alone, one_copy_commits

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
WITHOUT_GROUP = TEXT[: TEXT.index("  raft:")] + TEXT[TEXT.index("  nodes:") :]
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
        assert (config.pre_vote, config.check_quorum, config.read_mode) == (True, True, ReadMode.SAFE)


def test_any_parameter_of_raft_can_be_set() -> None:
    parameters = (
        "pre_vote: false, check_quorum: true, read_mode: lease_based, patience: 1500ms, message_bytes_max: 2000, "
        "inflight_messages_max: 3, inflight_bytes_max: 4000, uncommitted_bytes_max: 90000, log_bytes_kept: 70000, "
        "caught_up_entries: 7, "
    )
    text = TEXT.replace("raft: {", f"raft: {{{parameters}")
    config = member_config(parse_store_url(load_text(text, "s.yaml").scenario.cluster.apiservers[1].store))
    assert (config.pre_vote, config.check_quorum, config.read_mode) == (False, True, ReadMode.LEASE_BASED)
    assert (config.patience_s, config.message_bytes_max) == (1.5, 2000)
    assert (config.inflight_messages_max, config.inflight_bytes_max) == (3, 4000)
    assert (config.uncommitted_bytes_max, config.log_bytes_kept, config.caught_up_entries) == (90000, 70000, 7)


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
        ("raft: {", "raft: {inflight_bytes_max: 9, ", "inflight_bytes_max must be at least message_bytes_max"),
        ("election_ticks: 12", "election_ticks: 2", "election_ticks must be more than heartbeat_ticks"),
        ("raft: {", "raft: {read_mode: clock, ", "expected one of safe, lease_based"),
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
    with pytest.raises(ScenarioError, match='unknown host "leader"'):
        load_text(WITHOUT_GROUP, "s.yaml")


def test_the_invariants_need_a_replicated_group() -> None:
    text = WITHOUT_GROUP.replace("kill: leader", "kill: api-1").replace("acknowledged_writes", "raft_invariants")
    with pytest.raises(ScenarioError, match="there is no Raft group"):
        load_text(text, "s.yaml")


@pytest.mark.parametrize("pre_vote", ["true", "false"])
def test_a_member_that_comes_back_disrupts_the_group_without_pre_vote(pre_vote: str) -> None:
    text = (SCENARIOS / "raft-pre-vote.yaml").read_text().replace("pre_vote: true", f"pre_vote: {pre_vote}")
    with Simulation(load_text(text, "s.yaml")) as simulation:
        assert simulation.run().passed
        group = simulation.cluster.history.group
        assert len(group.leaderships) == (1 if pre_vote == "true" else 2)
        assert group.elections == 1 if pre_vote == "true" else group.elections > 8, "one every 0.8 to 1.6 s, for 10 s"


def test_the_report_says_which_replica_of_the_controllers_leads() -> None:
    text = TEXT.replace("  raft:", "  controller_replicas: {count: 3}\n  raft:").replace(
        "kill: leader", "kill: controller-1"
    )
    with Simulation(load_text(text, "s.yaml")) as simulation:
        result = simulation.run()
    led = [text.partition(" leads the controllers")[0] for _, text in result.events if " leads the controllers" in text]
    assert result.counts.controllers == 3
    assert led[0] == "controller-1", "who is named first forms the group, and is then killed"
    assert led[1] in ("controller-2", "controller-3")


def test_the_report_says_who_led_when() -> None:
    with Simulation(load(LEADER_LOSS)) as simulation:
        result = simulation.run()
    leaders = [(at_ns, text) for at_ns, text in result.events if " leads, in term " in text]
    assert len(leaders) == 5, "one at first, one after each of four losses"
    lost_ns = [at_ns for at_ns, text in result.events if "leader is killed" in text or "leader loses" in text]
    for at_ns, (next_ns, _) in zip(lost_ns, leaders[1:], strict=True):
        assert 0 < next_ns - at_ns < 5e9, "at most three elections, of 0.8 to 1.6 s"
    (verdict,) = (verdict for verdict in result.verdicts if verdict.check == "raft_invariants")
    assert verdict.passed
    assert "(5 elections, 5 leaders)" in verdict.text


@pytest.mark.parametrize(
    ("sabotage", "name", "broken"),
    [
        (one_copy_commits, "leader-loss", "COMMIT_ON_QUORUM"),
        (answers_do_not_wait, "leader-loss", "DURABLE_ACKNOWLEDGEMENT"),
        # A leader that was paused does not know of the next one yet.
        (leaders_answer_reads_alone, "clocks", "LINEARIZABLE_READ"),
    ],
)
def test_a_broken_group_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None], name: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    with Simulation(load(str(SCENARIOS / f"raft-{name}.yaml"))) as simulation:
        result = simulation.run()
    (verdict,) = (verdict for verdict in result.verdicts if verdict.check == "raft_invariants")
    assert not verdict.passed
    assert broken in verdict.offending[0]


def test_a_member_that_is_far_behind_gets_a_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="rube.group")
    with Simulation(load(SNAPSHOT)) as simulation:
        simulation.run()
    sent = [record.getMessage() for record in caplog.records if "sends its state" in record.getMessage()]
    assert len(sent) >= 4, "two members join by one each; the others are for those that were away"


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


@pytest.mark.parametrize(
    ("place", "name", "old", "new"),
    [
        (0, "pre-vote", "", ""),
        (1, "pre-vote", "pre_vote: true", "pre_vote: false"),
        (2, "clocks", "raft: {", "raft: {read_mode: lease_based, "),
    ],
)
def test_the_documentation_shows_what_these_scenarios_print(
    tmp_path: Path, place: int, name: str, old: str, new: str
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text((SCENARIOS / f"raft-{name}.yaml").read_text().replace(old, new))
    printed = _whole(CliRunner().invoke(rube, ["sim", str(path)]).output)
    shown = re.findall(
        r"```text\n(.*?)```", (SCENARIOS.parent / "docs" / "tutorials" / "raft.md").read_text(), re.DOTALL
    )
    for line in _whole(shown[place]).splitlines():
        pattern = re.escape(line).replace("…", r"\d+")
        assert re.search(f"^{pattern}$", printed, re.MULTILINE), f"tutorials/raft.md: {line!r} is not in:\n{printed}"


def _whole(text: str) -> str:
    """The text, with lines that were broken made whole."""
    return re.sub(r"\n +(?=committed before it was asked \()", " ", text)
