"""The report on a scenario under many seeds."""

from __future__ import annotations

import json

from rube.sim.judges import Verdict
from rube.sim.search.sweep import SeedRun, Sweep, failed_lines, render_sweep_json, summary_lines

HELD = [SeedRun(seed=seed, virtual_ns=10**10, trace_sha256=f"{seed:064x}") for seed in (1, 2)]
CONVERGED = Verdict(check="converged", passed=False, text="not after 5s", offending=("9s web is failed", "10s web"))
VIOLATED = SeedRun(seed=3, violated=[CONVERGED, CONVERGED], virtual_ns=10**10, trace_sha256="c" * 64)
FAILED = SeedRun(seed=4, failure="KeyError: 'web'")


def sweep(*runs: SeedRun, seeds: int = 0, tie_break: bool = False) -> Sweep:
    return Sweep(
        name="small", file="s.yaml", arguments="s.yaml", tie_break=tie_break, runs=runs, seeds=seeds or len(runs)
    )


def test_seeds_that_hold_are_counted() -> None:
    assert sweep(*HELD).passed
    lines = list(summary_lines(sweep(*HELD), wall_s=0.5))
    assert lines[:2] == [
        "passed: every check held under 2 seeds",
        "virtual 20.0s in 0.50s of wall time: 40 virtual seconds a second",
    ]


def test_a_seed_that_does_not_hold_says_why_and_how_to_see_it() -> None:
    assert list(failed_lines(VIOLATED, "'my s.yaml'", tie_break=True)) == [
        "  ✗ seed 3",
        *["      converged: not after 5s", "          9s web is failed"] * 2,
        "      repeat: rube sim 'my s.yaml' --seed 3 --tie-break",
    ]
    assert list(failed_lines(FAILED, "s.yaml", tie_break=False)) == [
        "  ✗ seed 4",
        "      the run failed: KeyError: 'web'",
        "      repeat: rube sim s.yaml --seed 4",
    ]


def test_a_check_counts_once_a_seed() -> None:
    found = sweep(*HELD, VIOLATED, FAILED)
    assert not found.passed
    assert next(summary_lines(found, 1)) == "VIOLATED: 2 of 4 seeds hold; violated: converged 1, the run failed 1"


def test_a_sweep_that_was_stopped_has_not_passed() -> None:
    stopped = sweep(*HELD, seeds=9)
    assert not stopped.passed
    lines = list(summary_lines(stopped, 1))
    assert lines[0] == "stopped after 2 of 9 seeds"
    assert not any("passed" in line for line in lines)


def test_the_hash_tells_sweeps_apart() -> None:
    assert sweep(*HELD).traces_sha256 == sweep(*HELD).traces_sha256
    assert sweep(*HELD).traces_sha256 != sweep(*HELD[::-1]).traces_sha256
    assert sweep(HELD[0]).traces_sha256 != sweep(HELD[0], VIOLATED).traces_sha256


def test_the_json_says_the_same() -> None:
    found = json.loads(render_sweep_json(sweep(*HELD, VIOLATED, FAILED, tie_break=True), wall_s=2))
    assert (found["passed"], found["seeds"], found["seeds_run"], found["first_seed"]) == (False, 4, 4, 1)
    assert found["violated_by_check"] == {"converged": 1, "the run failed": 1}
    assert [failed["seed"] for failed in found["failed"]] == [3, 4]
    assert found["failed"][0]["checks"][0]["offending"] == ["9s web is failed", "10s web"]
    assert found["failed"][1]["failure"] == "KeyError: 'web'"
    assert found["failed"][1]["repeat"] == "rube sim s.yaml --seed 4 --tie-break"
