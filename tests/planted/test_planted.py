"""Each planted bug is found by the general scenario of its area, which holds without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.sim.scenario import load
from rube.sim.search.sweep import SeedRun, run_seed
from tests.planted.bugs import BUGS, Bug
from tests.planted.switch import Edit, planted

SCENARIOS = Path(__file__).parent / "scenarios"
CHEAP = "single"
"""The scenario of which a seed takes less than two seconds: `make campaign-planted` tries the others, too."""


def run(scenario: str, seed: int) -> SeedRun:
    return run_seed(load(str(SCENARIOS / f"{scenario}.yaml")), seed, tie_break=True)


def test_the_shipped_code_holds() -> None:
    found = run(CHEAP, 1)
    assert not found.failure
    assert not found.violated


SAMPLE = [bug for bug in BUGS if bug.seed == 1 and bug.scenario == CHEAP]


@pytest.mark.parametrize("bug", SAMPLE, ids=[bug.name for bug in SAMPLE])
def test_a_bug_is_found(bug: Bug) -> None:
    """The first seed finds it, as measured; one of three must, where another change has moved the draws."""
    with planted(bug.edits):
        assert not all(run(bug.scenario, seed).passed for seed in (1, 2, 3))


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_bug_fits_the_code_and_is_taken_out_again(bug: Bug) -> None:
    with planted(bug.edits):
        pass


def test_an_edit_that_fits_nowhere_says_so() -> None:
    edit = Edit("rube.raft.log:RaftLog.maybe_commit", "no such text", "")
    with pytest.raises(LookupError, match="plant the bug anew"), planted([edit]):
        pass
