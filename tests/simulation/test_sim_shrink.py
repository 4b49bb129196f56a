"""`rube sim --shrink`: of a run that fails, the few faults that make it fail."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from rube.cli.progress import ProgressBar
from rube.sim.scenario import load_text
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.scenario_pb2 import Fault
from rube.sim.scenario.yamltext import block_text
from rube.sim.search.reduce import reduce
from rube.sim.search.shrink import scenario_text, shrink, written_out
from rube.sim.search.sweep import run_seed
from tests.simulation.sim_calls import sim

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


def _faults(loaded: LoadedScenario, faults: Sequence[Fault]) -> list[str]:
    """The lines of the faults in the file that is written."""
    lines = scenario_text(loaded, faults, 1, Path()).splitlines()
    first = lines.index("faults:") if "faults:" in lines else len(lines)
    return [line for line in lines[first + 1 :] if line.startswith("  - ") and "converged" not in line][: len(faults)]


def _file(directory: Path, faults: str) -> Path:
    path = directory / "s.yaml"
    path.write_text(SCENARIO.replace("FAULTS", faults))
    return path


TWO = """\
  - {at: 5s, for: 30s, chaos: {every: 2s}}
  - {at: 12s, for: 2s, pause: worker-1}
  - {at: 5s, for: 30s, chaos: {every: 2s}}
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("tie_break", [False, True])
def test_a_chaos_that_is_written_out_is_the_same_run(seed: int, tie_break: bool) -> None:
    loaded = load_text(SCENARIO.replace("FAULTS", f"faults:\n{TWO}"), "s.yaml")
    faults = written_out(loaded, seed)
    assert len(faults) > 10
    listed = load_text(scenario_text(loaded, faults, seed, Path()), "s.yaml")
    drawn, written = (run_seed(one, seed, tie_break=tie_break) for one in (loaded, listed))
    assert drawn.trace_sha256 == written.trace_sha256 != ""


@pytest.fixture
def few_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that ends with the smallest scenario: ranges take most runs."""
    monkeypatch.setattr("rube.sim.search.reduce.RANGE_STEPS_NS", ())
    monkeypatch.setattr("rube.sim.search.reduce.SEEDS_TRIED", 0)


@pytest.mark.usefixtures("few_ranges")
def test_of_a_chaos_the_fault_that_matters_is_left_and_still_fails(tmp_path: Path) -> None:
    path = _file(tmp_path, CHAOS)
    result = sim(path, "--seed", FAILING_SEED, "--shrink")
    assert result.exit_code == 1, result.output
    comments = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comments[0].startswith("# it fails with 1 fault of ")
    assert comments[1] == "# unit: not so: default/web-1 is active on worker-1 at 20.000s"
    assert comments[-2] == f"# shrunk from: rube sim {path} --seed {FAILING_SEED}"
    (tmp_path / "small.yaml").write_text(result.stdout)
    again = sim(tmp_path / "small.yaml")
    assert again.exit_code == 1
    assert "✗ unit: not so: default/web-1 is active on worker-1 at 20.000s" in again.stdout


def test_what_undoes_another_fault_stays_as_long_as_that_one() -> None:
    runs: list[int] = []
    loaded = load_text(SCENARIO.replace("FAULTS", LISTED), "s.yaml")
    shrunk = shrink(loaded, 1, told=runs.append)
    assert shrunk is not None
    assert _faults(loaded, shrunk.faults) == [
        "  - {at: 19s, power_off: worker-1}",
        "  - {at: 25s, power_on: worker-1}",
    ]
    assert [verdict.check for verdict in shrunk.run.violated] == ["unit"]
    assert (shrunk.faults_before, shrunk.runs) == (8, len(runs) + 1)


def test_a_check_that_held_does_not_take_the_place_of_one_that_did_not() -> None:
    text = SCENARIO.replace(
        "FAULTS", "faults:\n  - {at: 10s, for: 20s, isolate: worker-2}\n  - {at: 19s, power_off: worker-1}"
    )
    text = text.replace("expect:\n", "expect:\n  - unit: {at: 15s, node: worker-2, name: web-2, cut_off: true}\n")
    text = text.replace("  - converged: {within: 20s}\n", "")
    shrunk = shrink(load_text(text, "s.yaml"), 1)
    assert shrunk is not None
    assert [fault.WhichOneof("fault") for fault in shrunk.faults] == ["isolate", "power_off"]


@pytest.mark.usefixtures("few_ranges")
def test_a_run_may_need_no_fault_to_fail(tmp_path: Path) -> None:
    text = LISTED.replace("19s, power_off", "39s, power_off").replace("25s, power_on", "45s, power_on")
    path = _file(tmp_path, text)
    path.write_text(path.read_text().replace("state: active", "state: failed"))
    result = sim(path, "--shrink")
    assert result.exit_code == 1
    assert result.stdout.startswith("# it fails without any fault (2 runs):\n")
    assert "faults:" not in result.stdout.splitlines()


@pytest.mark.usefixtures("few_ranges")
def test_a_run_that_ends_with_an_error_is_shrunk_to_what_gives_that_error(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from rube.api import Decision, NodeStatus\n"
        "class Mine:\n"
        "    name, type, selector, inputs = 'mine', 'api.Node', '', ()\n"
        "    def decide(self, state):\n"
        "        status = NodeStatus()\n"
        "        state.object.status.Unpack(status)\n"
        "        if status.readiness > NodeStatus.READY: raise KeyError('silent')\n"
        "        return Decision()\n"
    )
    faults = "faults:\n  - {at: 4s, for: 50s, isolate: worker-2}\n  - {at: 6s, for: 1s, pause: worker-1}"
    path = _file(tmp_path, faults)
    path.write_text(path.read_text().replace("  nodes:", "  node_lease: 5s\n  controllers: ['mine:Mine']\n  nodes:"))
    result = sim(path, "--shrink")
    assert result.exit_code == 1, result.output
    assert "# the run failed: KeyError: 'silent'" in result.stdout
    assert "isolate: worker-2" in result.stdout
    assert "pause" not in result.stdout


def test_an_interrupt_ends_the_search_with_what_it_has_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(bar: ProgressBar, runs: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "update", interrupted)
    result = sim(_file(tmp_path, LISTED), "--shrink")
    assert result.exit_code == 130
    assert result.stdout.startswith("# stopped: so far it fails with 8 faults of 8 (2 runs):\n")


def test_a_run_that_holds_has_nothing_to_shrink(tmp_path: Path) -> None:
    path = _file(tmp_path, "faults:\n  - {at: 5s, for: 2s, kill: worker-2}")
    result = sim(path, "--shrink")
    assert result.exit_code == 0
    assert result.stdout == f"# every check holds, there is nothing to shrink: rube sim {path} --seed 1\n"


def test_options_of_other_reports_are_refused(tmp_path: Path) -> None:
    result = sim(_file(tmp_path, CHAOS), "--shrink", "--seeds", 2)
    assert result.exit_code == 2
    assert "--shrink goes with --seed, --tie-break, --set and --output alone" in result.stderr


def test_the_documentation_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "reference" / "scenarios.md").read_text()
    (mine,) = re.findall(r"```yaml\n(name: mine\n.*?)```", documented, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(mine)
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"```text\n\$ rube sim (.*?)\n(.*?)```", documented, re.DOTALL)
    assert len(shown) == 3
    for arguments, lines in shown:
        at_once = ["--jobs", "2"] if "--seeds" in arguments else []
        assert sim(*arguments.split(), *at_once).stdout.startswith(lines), arguments


@pytest.mark.usefixtures("few_ranges")
def test_shrink_writes_a_file_that_runs_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "unit.textproto").write_text(Path("examples/01-hello-unit/hello.textproto").read_text())
    path = _file(tmp_path, LISTED)
    path.write_text(path.read_text().replace('node: "worker-{i}"}', 'node: "worker-{i}", file: unit.textproto}'))
    small = tmp_path / "mine" / "my small.yaml"
    result = sim(path, "--seed", 5, "--set", "cluster.network.latency=2ms", "--tie-break", "--shrink", "-o", small)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("# it fails with 2 faults of 8 (")
    (command,) = [line for line in result.stdout.splitlines() if line.startswith("# to run it: ")]
    assert command == f"# to run it: rube sim {shlex.quote(str(small))} --tie-break"
    again = sim(*shlex.split(command)[6:])
    assert again.exit_code == 1, again.output
    assert "power_off" in small.read_text()
    assert "latency: 2ms" in small.read_text()
    assert "seed 5" in again.stdout
    first = [line for line in small.read_text().splitlines() if line.startswith("# unit: not so")]
    assert first[0].removeprefix("# ") in again.stdout


def test_the_rest_is_made_smaller_and_ranges_are_tried() -> None:
    text = SCENARIO.replace("FAULTS", "faults:\n  - {at: 18084ms, for: 9s, power_off: worker-1}")
    text = text.replace("workload:", "workload:\n  observers: 2")
    text = text.replace("  steps:\n", "  steps:\n    - {at: 1500ms, put: {name: other}}\n")
    loaded = load_text(text, "s.yaml")
    shrunk = shrink(loaded, 1)
    assert shrunk is not None
    found = reduce(loaded, shrunk, 1)
    small = found.scenario
    assert (small.cluster.nodes.count, len(small.workload.steps), small.workload.observers) == (1, 1, 0)
    assert small.workload.steps[0].put.name == "web-{i}"
    assert small.duration.ToSeconds() < 60
    (power,) = [one for one in found.ranges if one.path == "faults[0].at"]
    assert power.low_ns <= 18 * 10**9 < power.high_ns < 20 * 10**9
    assert power.held_above_ns is not None, "a power loss after the check is too late"
    assert found.seeds[0] > 0
    assert not run_seed(load_text(block_text(small), "s.yaml"), 1).passed


@pytest.mark.usefixtures("few_ranges")
def test_a_smaller_scenario_that_is_none_is_passed_over() -> None:
    """The check of a unit on a node that is left out would be a mistake in the file."""
    text = SCENARIO.replace("FAULTS", "faults:\n  - {at: 18s, for: 9s, power_off: worker-1}")
    text = text.replace("count: 2}", "names: [worker-1, worker-2]}")
    loaded = load_text(text.replace('node: "worker-{i}"', "node: worker-1"), "s.yaml")
    shrunk = shrink(loaded, 1)
    assert shrunk is not None
    assert list(reduce(loaded, shrunk, 1).scenario.cluster.nodes.names) == ["worker-1"]
