"""`rube sim --shrink`: of a run that fails, the few faults that make it fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rube.cli.main import rube
from rube.sim.scenario import load, load_text
from rube.sim.shrink import faults_text, shrink, written_out
from rube.sim.sweep import run_seed

SCENARIO = """\
name: small
duration: 60s
cluster:
  nodes: {count: 2}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
FAULTS
expect:
  - unit: {at: 20s, node: worker-1, name: web-1, state: active}
  - converged: {within: 20s}
"""
CHAOS = "faults:\n  - {at: 5s, for: 30s, chaos: {every: 500ms}}"
FAILING_SEED = 3
LISTED = """\
faults:
  - {at: 4s, for: 2s, pause: worker-2}
  - {at: 5s, kill: api-1}
  - {at: 6s, clock_jump: {host: worker-2, by: -5s}}
  - {at: 9s, restart: api-1}
  - {at: 10s, disk: {host: worker-1, kind: fail_sync}}
  - {at: 19s, power_off: worker-1}
  - {at: 19500ms, for: 1s, partition: {from: [api-1], to: [worker-2], one_way: true}}
  - {at: 25s, power_on: worker-1}
"""


def _file(directory: Path, faults: str) -> Path:
    path = directory / "s.yaml"
    path.write_text(SCENARIO.replace("FAULTS", faults))
    return path


def _sim(*arguments: object) -> Result:
    return CliRunner().invoke(rube, ["sim", *map(str, arguments)])


@pytest.mark.parametrize("tie_break", [False, True])
def test_a_chaos_that_is_written_out_is_the_same_run(tmp_path: Path, tie_break: bool) -> None:
    loaded = load("scenarios/raft-chaos.yaml")
    faults = written_out(loaded, 2)
    assert len(faults) > 30
    text = Path("scenarios/raft-chaos.yaml").read_text()
    begin, end = text.index("faults:"), text.index("expect:")
    listed = load_text(f"{text[:begin]}{faults_text(faults)}\n\n{text[end:]}", "s.yaml")
    drawn, written = (run_seed(one, 2, tie_break=tie_break) for one in (loaded, listed))
    assert drawn.trace_sha256 == written.trace_sha256 != ""


def test_of_a_chaos_the_fault_that_matters_is_left_and_still_fails(tmp_path: Path) -> None:
    result = _sim(_file(tmp_path, CHAOS), "--seed", FAILING_SEED, "--shrink")
    assert result.exit_code == 1, result.output
    comments = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comments[0].startswith(f"# small, seed {FAILING_SEED}: 1 fault of ")
    assert comments[1] == "# unit: not so: default/web-1 is active on worker-1 at 20.000s"
    again = _sim(_file(tmp_path, result.stdout), "--seed", FAILING_SEED)
    assert again.exit_code == 1
    assert "✗ unit: not so: default/web-1 is active on worker-1 at 20.000s" in again.stdout


def test_what_undoes_another_fault_stays() -> None:
    runs: list[int] = []
    shrunk = shrink(load_text(SCENARIO.replace("FAULTS", LISTED), "s.yaml"), 1, told=runs.append)
    assert shrunk is not None
    assert faults_text(shrunk.faults).splitlines() == [
        "faults:",
        "  - {at: 9s, restart: api-1}",
        "  - {at: 19s, power_off: worker-1}",
        "  - {at: 25s, power_on: worker-1}",
    ]
    assert [verdict.check for verdict in shrunk.run.violated] == ["unit"]
    assert (shrunk.faults_before, shrunk.runs) == (8, len(runs) + 1)


def test_an_interrupt_ends_the_search_with_what_it_has_found() -> None:
    def interrupted(runs: int) -> None:
        raise KeyboardInterrupt

    shrunk = shrink(load_text(SCENARIO.replace("FAULTS", LISTED), "s.yaml"), 1, told=interrupted)
    assert shrunk is not None
    assert shrunk.runs == 2
    assert not shrunk.run.passed


def test_a_run_that_holds_has_nothing_to_shrink(tmp_path: Path) -> None:
    result = _sim(_file(tmp_path, "faults:\n  - {at: 5s, for: 2s, kill: worker-2}"), "--shrink")
    assert result.exit_code == 0
    assert result.stdout == "small: every check holds under seed 1: there is nothing to shrink\n"


def test_options_of_other_reports_are_refused(tmp_path: Path) -> None:
    result = _sim(_file(tmp_path, CHAOS), "--shrink", "--seeds", 2)
    assert result.exit_code == 2
    assert "--shrink goes with --seed and --tie-break alone" in result.stderr
