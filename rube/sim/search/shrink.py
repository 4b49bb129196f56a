"""Shrinking: the search for the few faults that make a failing run fail.

A chaos is written out first, which changes nothing: its draws come from a random stream of its own. Then groups of
faults are left out, large ones first, as long as the run still fails in the same way (Zeller's ddmin, without its
subsets: https://doi.org/10.1109/32.988498).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rube.sim.scenario import Simulation
from rube.sim.scenario.faults import all_faults
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.scenario_pb2 import Fault, Scenario
from rube.sim.scenario.validate import UNDOES, has_nothing_to_undo
from rube.sim.scenario.yamltext import block_text
from rube.sim.search.sweep import SeedRun, run_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """The result of a search."""

    faults: Sequence[Fault]
    faults_before: int
    """The number of faults before."""
    run: SeedRun
    """The failure with the remaining faults."""
    runs: int
    stopped: bool = False
    """Ended by a KeyboardInterrupt: fewer faults may suffice."""


def shrink(
    loaded: LoadedScenario, seed: int, *, tie_break: bool = False, told: Callable[[int], None] = lambda runs: None
) -> Shrunk | None:
    """Returns the result; None: every check holds, there is nothing to shrink. `told` is called with the number of
    runs.

    The same way means: the first violated expectation is still violated, and no other is violated that was not; or the
    run still fails with an error of that kind. A KeyboardInterrupt ends the search with its present result.
    """
    faults = written_out(loaded, seed)
    found = Shrunk(faults=faults, faults_before=len(faults), run=_run(loaded, faults, seed, tie_break), runs=1)
    if found.run.passed:
        return None
    original, size = found.run, len(faults)
    try:
        while size:
            before, start = len(found.faults), 0
            while start < len(found.faults):
                left = _without(found.faults, start, start + size)
                if len(left) == len(found.faults):
                    start += size
                    continue
                run = _run(loaded, left, seed, tie_break)
                found = replace(found, runs=found.runs + 1)
                if fails_like(run, original):
                    found = replace(found, faults=left, run=run)
                else:
                    start += size
                told(found.runs)
            size = size // 2 if size > 1 else int(len(found.faults) < before)
    except KeyboardInterrupt:
        return replace(found, stopped=True)
    return found


def written_out(loaded: LoadedScenario, seed: int) -> list[Fault]:
    """The faults of that scenario, in its order, with what its chaos draws from that seed in its place."""
    with Simulation(loaded, seed=seed, records_max=0) as simulation:
        simulation.build()
        return list(all_faults(loaded.scenario, simulation.cluster))


def scenario_text(loaded: LoadedScenario, faults: Sequence[Fault], seed: int, directory: Path) -> str:
    """The scenario with these faults in place of its own and this seed, as a file in `directory` has it.

    The files that it names are named as seen from there. Without a newline at its end.
    """
    scenario = Scenario()
    scenario.CopyFrom(loaded.written)
    scenario.seed = seed
    del scenario.faults[:]
    scenario.faults.extend(faults)
    for step in scenario.workload.steps:
        if step.put.file:
            step.put.file = os.path.relpath(Path(loaded.file).parent / step.put.file, directory)
    return block_text(scenario)


def _run(loaded: LoadedScenario, faults: Sequence[Fault], seed: int, tie_break: bool) -> SeedRun:
    scenario = Scenario()
    scenario.CopyFrom(loaded.scenario)
    del scenario.faults[:]
    scenario.faults.extend(faults)
    return run_seed(replace(loaded, scenario=scenario), seed, tie_break=tie_break)


def _without(faults: Sequence[Fault], start: int, end: int) -> list[Fault]:
    """Returns the faults without that group. A fault that undoes another stays as long as that one: otherwise a run
    fails for another reason, such as a host that stays dead."""
    undoing = [fault for fault in faults[start:end] if fault.WhichOneof("fault") in UNDOES]
    left = [*faults[:start], *undoing, *faults[end:]]
    return [fault for fault in left if not has_nothing_to_undo(fault, left)]


def fails_like(run: SeedRun, original: SeedRun) -> bool:
    """Returns whether a run fails in the same way: see `shrink`."""
    if original.failure:
        return run.failure.partition(":")[0] == original.failure.partition(":")[0]
    return original.places[0] in run.places and set(run.places) <= set(original.places)
