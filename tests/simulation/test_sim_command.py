"""`rube sim` as users and programs call it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from rube.cli.main import rube
from rube.rubelet import Rubelet
from tests.simulation.sim_calls import sim

GOOD = """\
name: small
description: two nodes
duration: 15s
cluster:
  nodes: {count: 2}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4}}
expect:
  - converged: {within: 10s}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    return path


def test_a_run_that_holds_ends_with_0_and_says_how_to_repeat_it(scenario: Path) -> None:
    result = sim(scenario)
    assert result.exit_code == 0, result.output
    assert "✓ converged: everything converged within" in result.stdout
    assert result.stdout.splitlines()[-1] == f"repeat: rube sim {scenario} --seed 1"
    assert result.stderr == ""


def test_the_command_that_is_printed_gives_the_same_trace(scenario: Path) -> None:
    first = json.loads(sim(scenario, "--seed", 5, "--json").stdout)
    again = json.loads(CliRunner().invoke(rube, [*first["repeat"].split()[1:], "--json"]).stdout)
    assert first["seed"] == 5
    assert first["trace_sha256"] == again["trace_sha256"]


def test_a_violated_check_ends_with_1_and_shows_what_offends(scenario: Path) -> None:
    scenario.write_text(GOOD + "  - unit: {at: 10s, node: worker-1, name: web-1, state: failed}\n")
    result = sim(scenario)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    place = lines.index("  ✗ unit: not so: default/web-1 is failed on worker-1 at 10.000s")
    assert lines[place + 1].strip().startswith("10.000s default/web-1 is ")
    checks = sum(line.startswith(("  ✓ ", "  ✗ ")) for line in lines)
    assert any(line.startswith(f"VIOLATED: {checks - 1} of {checks} checks hold") for line in lines)


def test_a_violated_check_in_json(scenario: Path) -> None:
    scenario.write_text(GOOD + "  - local_autonomy\n")
    result = sim(scenario, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [check["check"] for check in report["checks"] if not check["passed"]] == ["local_autonomy"]


def test_a_misspelt_key_ends_with_2_and_one_line(scenario: Path) -> None:
    scenario.write_text(GOOD.replace("observers", "obsevers"))
    result = sim(scenario)
    assert result.exit_code == 2
    assert result.stderr == f"rube sim: {scenario}:7: unknown key \"obsevers\" in workload; did you mean 'observers'?\n"
    assert result.stdout == ""


def test_a_missing_file_ends_with_2(tmp_path: Path) -> None:
    result = sim(tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "no such file" in result.stderr


def test_an_unwritable_trace_ends_with_2(scenario: Path, tmp_path: Path) -> None:
    result = sim(scenario, "--trace", tmp_path / "missing" / "trace.txt")
    assert result.exit_code == 2
    assert "missing/trace.txt" in result.stderr


def test_an_apiserver_that_is_away_in_the_end_is_a_failed_run(scenario: Path) -> None:
    scenario.write_text(GOOD + "faults: [{at: 10s, kill: api-1}]\n")
    result = sim(scenario)
    assert result.exit_code == 1
    assert "rube sim: the run failed: " in result.stderr
    assert result.stderr.splitlines()[-1] == f"repeat: rube sim {scenario} --seed 1"


def test_a_daemon_that_crashes_is_a_failed_run(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(self: Rubelet) -> None:
        raise ZeroDivisionError("a mistake in the rubelet")

    monkeypatch.setattr(Rubelet, "run", crash)
    result = sim(scenario)
    assert result.exit_code == 1
    assert "ZeroDivisionError: a mistake in the rubelet" in result.stderr
    assert result.stderr.splitlines()[-1] == f"repeat: rube sim {scenario} --seed 1"


def test_trace_and_log_go_to_files(scenario: Path, tmp_path: Path) -> None:
    result = sim(scenario, "--trace", tmp_path / "trace.txt", "--log", tmp_path / "daemons.log")
    assert result.exit_code == 0
    assert " start worker-2 rubelet 1\n" in (tmp_path / "trace.txt").read_text()
    lines = (tmp_path / "daemons.log").read_text().splitlines()
    assert any("registered node worker-1" in line for line in lines)
    assert all(line.startswith("time=1970-01-01T00:00:") for line in lines)
    assert "registered" not in result.output


def test_verbose_logs_to_stderr(scenario: Path) -> None:
    result = sim(scenario, "-v")
    assert "registered node worker-1" in result.stderr
    assert "registered" not in result.stdout


def test_a_trace_that_is_asked_for_is_whole(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rube.sim.scenario.simulation.RECORDS_MAX", 5)
    records = json.loads(sim(scenario, "--json", "--trace", tmp_path / "trace.txt").stdout)["simulated"]["records"]
    lines = (tmp_path / "trace.txt").read_text().splitlines()
    assert len([line for line in lines if line.split()[1] != "send"]) == records


SLOW = """\
name: slow
duration: 24h
cluster:
  nodes: {count: 2}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4}}
faults:
  - {at: 5s, for: 2s, kill: api-1}
expect:
  - converged: {within: 20s}
  - unit: {at: 3s, node: worker-1, name: web-1, state: failed}
"""


def test_ctrl_c_judges_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(SLOW)
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-m", "rube.cli.main", "sim", str(path), "--log", str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The apiserver is back: the run is past the puts and what is checked at 3 s.
        while not (log.exists() and "works again" in log.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "rube sim: stopping, to judge what there is" in err
    assert "a user puts web-1" in out
    assert "✗ unit: not so: default/web-1 is failed on worker-1" in out
    assert re.search(r"stopped at [\d.]+s, judged as of then; VIOLATED: (\d+) of (?!\1 )\d+ checks hold", out)
    assert "trace sha256" in out
