"""The campaign of `make campaign-planted`: each bug under seed after seed until a judge finds it; clean seeds before.

python -m tests.planted.campaign [--seeds N] [--clean N] [--jobs N] [BUG ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from tests.planted.bugs import BUGS
from tests.planted.switch import planted
from tests.planted.test_planted import run

AREAS = ("single", "group", "etcd", "replicas")


class Cost(NamedTuple):
    """The seeds and the processor's seconds that a bug took; `check` is empty if no judge found it."""

    name: str
    seeds: int
    seconds: float
    check: str


def search(name: str, seeds: int) -> Cost:
    bug = next(bug for bug in BUGS if bug.name == name)
    begun_s = time.process_time()
    with planted(bug.edits):
        for seed in range(1, seeds + 1):
            found = run(bug.scenario, seed)
            if not found.passed:
                check = found.violated[0].check if found.violated else "the run fails"
                return Cost(name, seed, time.process_time() - begun_s, check)
    return Cost(name, seeds, time.process_time() - begun_s, "")


def clean(place: int) -> str:
    """Returns what is wrong without a bug; empty if nothing is."""
    scenario, seed = AREAS[place % len(AREAS)], place // len(AREAS) + 1
    found = run(scenario, seed)
    names = ", ".join(verdict.check for verdict in found.violated) or found.failure
    return "" if found.passed else f"{scenario}, seed {seed}, without a bug: {names}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.planted.campaign")
    parser.add_argument("--seeds", type=int, default=20, help="seeds for each bug at most")
    parser.add_argument("--clean", type=int, default=0, help="seeds without a bug, over the four scenarios")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("bugs", nargs="*", default=[bug.name for bug in BUGS])
    options = parser.parse_args(arguments)
    wrong = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for text in filter(None, pool.map(clean, range(options.clean))):
            print(text, flush=True)
            wrong += 1
        for cost in pool.map(partial(search, seeds=options.seeds), options.bugs):
            told = f"found by {cost.check}" if cost.check else "NOT FOUND"
            print(f"{cost.name}: {told}, {cost.seeds} seeds, {cost.seconds:.1f} s", flush=True)
            wrong += not cost.check
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
