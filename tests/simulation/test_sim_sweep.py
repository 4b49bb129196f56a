"""`rube sim --seeds` as users and programs call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rube.sim.scenario import load
from rube.sim.search.sweep import run_seed
from tests.simulation.sim_calls import sim

GOOD = """\
name: small
duration: 15s
cluster:
  nodes: {count: 2}
  network: {latency: 1ms, jitter: 5ms}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4}}
expect:
  - converged: {within: 10s}
"""
PROCESSES_S_MAX = 60.0
"""The time that a busy machine takes to start or end processes."""
NEVER = "  - unit: {at: 10s, node: worker-1, name: web-1, state: failed}\n"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    return path


def test_seeds_that_hold_end_with_0_and_one_hash_however_many_run_at_once(scenario: Path) -> None:
    one, two = (sim(scenario, "--seed", 5, "--seeds", 3, "--jobs", jobs) for jobs in (1, 2))
    assert (one.exit_code, two.exit_code) == (0, 0), one.output + two.output
    assert one.stdout.splitlines()[0] == "small: 3 seeds, from 5 on, 1 at once"
    assert "passed: every check held under 3 seeds" in one.stdout
    assert one.stdout.splitlines()[-1].startswith("traces sha256: ")
    assert one.stdout.splitlines()[-1] == two.stdout.splitlines()[-1]


@pytest.mark.parametrize("tie_break", [False, True])
def test_a_seed_does_in_a_sweep_what_it_does_alone(scenario: Path, tie_break: bool) -> None:
    options = ["--tie-break"] if tie_break else []
    alone = json.loads(sim(scenario, "--seed", 6, "--json", *options).stdout)
    assert alone["tie_break"] is tie_break
    swept = run_seed(load(str(scenario)), 6, tie_break=tie_break)
    assert (swept.trace_sha256, swept.passed) == (alone["trace_sha256"], True)
    assert alone["repeat"] == f"rube sim {scenario} --seed 6{' --tie-break' if tie_break else ''}"


def test_seeds_order_ties_differently_only_if_they_are_told_to(scenario: Path) -> None:
    loaded = load(str(scenario))
    assert run_seed(loaded, 1).trace_sha256 == run_seed(loaded, 1).trace_sha256
    assert run_seed(loaded, 1).trace_sha256 != run_seed(loaded, 1, tie_break=True).trace_sha256


def test_a_sweep_orders_ties_if_it_is_told_to(scenario: Path) -> None:
    plain, shuffled = (
        json.loads(sim(scenario, "--seeds", 2, "--json", *more).stdout) for more in ([], ["--tie-break"])
    )
    assert (plain["passed"], plain["tie_break"], plain["file"]) == (True, False, str(scenario))
    assert (shuffled["passed"], shuffled["tie_break"]) == (True, True)
    assert plain["traces_sha256"] != shuffled["traces_sha256"]


def test_seeds_that_violate_a_check_are_shown_and_end_with_1(scenario: Path) -> None:
    scenario.write_text(GOOD + NEVER)
    result = sim(scenario, "--seeds", 2)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    place = lines.index("  ✗ seed 2")
    assert lines[place + 1] == "      unit: not so: default/web-1 is failed on worker-1 at 10.000s"
    assert lines[place + 2].strip().startswith("10.000s default/web-1 is ")
    assert lines[place + 3] == f"      repeat: rube sim {scenario} --seed 2"
    assert "VIOLATED: 0 of 2 seeds hold; violated: unit 2" in lines


def test_a_controller_of_the_users_own_runs_in_a_sweep_and_its_crash_is_told(scenario: Path) -> None:
    (scenario.parent / "broken_controller.py").write_text(
        "class Mine:\n"
        "    name, type, selector, inputs = 'mine', 'api.systemd.Unit', '', ()\n"
        "    def decide(self, state):\n"
        "        raise SystemError('mine is broken')\n"
    )
    scenario.write_text(GOOD.replace("  network:", '  controllers: ["broken_controller:Mine"]\n  network:'))
    result = sim(scenario, "--seeds", 2, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "mine is broken" in json.dumps(found["failed"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "2"], "--jobs is for --seeds"),
        (["--seeds", "2", "--verbose"], "--trace, --log and --verbose show one run"),
        (["--seeds", "0"], "0 is not in the range"),
        (["--seed", str(2**64 - 1), "--seeds", "3"], "there are 1 seeds from 18446744073709551615 on"),
    ],
)
def test_wrong_options_end_with_2(scenario: Path, options: list[str], message: str) -> None:
    result = sim(scenario, *options)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.fixture
def long_sweep(scenario: Path) -> Iterator[subprocess.Popen[str]]:
    """One of which some seeds have run: each is shown, for each violates a check. In a process group of its own."""
    scenario.write_text(GOOD + NEVER)
    command = [sys.executable, "-m", "rube.cli.main", "sim", str(scenario), "--seeds", "100000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            while "seed 2" not in (line := process.stdout.readline()):
                assert line, "it has ended"
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["it alone", "all of it, as Ctrl-C does"])
def test_a_sweep_that_is_interrupted_says_how_far_it_came(long_sweep: subprocess.Popen[str], whom: str) -> None:
    (os.kill if whom == "it alone" else os.killpg)(long_sweep.pid, signal.SIGINT)
    out, err = long_sweep.communicate(timeout=30)
    assert long_sweep.returncode == 130, err
    assert "of 100000 seeds" in out
    assert "traces sha256" not in out
    assert "Traceback" not in err


def test_a_process_of_a_sweep_that_is_killed_ends_it(long_sweep: subprocess.Popen[str]) -> None:
    for child in _children(long_sweep.pid):
        os.kill(child, signal.SIGKILL)
    out, err = long_sweep.communicate(timeout=30)
    assert long_sweep.returncode == 2, out
    assert "a process of the sweep was killed" in err
    assert "Traceback" not in err


def test_the_processes_of_a_sweep_that_is_killed_end(long_sweep: subprocess.Popen[str]) -> None:
    children = _children(long_sweep.pid)
    long_sweep.kill()
    long_sweep.wait()
    deadline = time.monotonic() + PROCESSES_S_MAX
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "they never end"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """The workers: their command line names multiprocessing's spawn."""
    deadline = time.monotonic() + PROCESSES_S_MAX
    while time.monotonic() < deadline:
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        workers = [one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
        if workers:
            return workers
    raise AssertionError("no worker was started")


def test_a_machine_whose_processes_share_nothing_is_told_what_to_do(
    scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("rube.cli.sweep.ProcessPoolExecutor", refuse)
    result = sim(scenario, "--seeds", 2, "--jobs", 2)
    assert result.exit_code == 2
    assert "need a /dev/shm that can be written" in result.stderr
    assert "--jobs 1 does without" in result.stderr
    assert sim(scenario, "--seeds", 2, "--jobs", 1).exit_code == 0


def test_a_ctrl_c_while_a_seed_is_handed_out_is_not_lost(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = ProcessPoolExecutor.submit

    def interrupted(pool: ProcessPoolExecutor, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return submit(pool, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    result = sim(scenario, "--seeds", 4, "--jobs", 2)
    assert result.exit_code == 130
    assert "stopped after 0 of 4 seeds" in result.stdout
