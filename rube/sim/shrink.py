"""Shrinking: of a run that fails, the few faults that make it fail.

A chaos is written out first, which changes nothing: what it draws comes from a random stream of its own. Then groups of
faults are left out, large ones first, as long as the run still fails in the same way (Zeller's ddmin, without its
subsets: https://doi.org/10.1109/32.988498).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rube.sim.scenario import Simulation
from rube.sim.scenario.faults import all_faults
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.validate import UNDOES
from rube.sim.scenario.yamltext import flow_text
from rube.sim.scenario_pb2 import Fault, Scenario
from rube.sim.sweep import RUN_FAILED, SeedRun, run_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """What is left."""

    faults: Sequence[Fault]
    # So many there were.
    faults_before: int
    # How it fails with those that are left.
    run: SeedRun
    runs: int


def shrink(
    loaded: LoadedScenario, seed: int, *, tie_break: bool = False, told: Callable[[int], None] = lambda runs: None
) -> Shrunk | None:
    """None: every check holds, there is nothing to shrink. `told` hears how many runs there were.

    A KeyboardInterrupt ends the search with what it has found.
    """
    faults = written_out(loaded, seed)
    found = Shrunk(faults=faults, faults_before=len(faults), run=_run(loaded, faults, seed, tie_break), runs=1)
    if found.run.passed:
        return None
    ways, size = _ways(found.run), max(1, len(faults) // 2)
    try:
        while True:
            before, start = len(found.faults), 0
            while start < len(found.faults):
                left = _without(found.faults, start, start + size)
                if len(left) == len(found.faults):
                    start += size
                    continue
                run = _run(loaded, left, seed, tie_break)
                found = replace(found, runs=found.runs + 1)
                if ways & _ways(run):
                    found = replace(found, faults=left, run=run)
                else:
                    start += size
                told(found.runs)
            if size == 1 and len(found.faults) == before:
                break
            size = max(1, size // 2)
    except KeyboardInterrupt:
        pass
    return found


def written_out(loaded: LoadedScenario, seed: int) -> list[Fault]:
    """The faults of that scenario, with what its chaos draws from that seed in its place, by their begin."""
    with Simulation(loaded, seed=seed, records_max=0) as simulation:
        simulation.build()
        faults = list(all_faults(loaded.scenario, simulation.cluster))
    return sorted(faults, key=lambda fault: fault.at.ToNanoseconds())


def faults_text(faults: Sequence[Fault]) -> str:
    """As a scenario file has them, without a newline at its end."""
    return "\n".join(["faults:", *(f"  - {flow_text(fault)}" for fault in faults)]) if faults else "faults: []"


def _run(loaded: LoadedScenario, faults: Sequence[Fault], seed: int, tie_break: bool) -> SeedRun:
    scenario = Scenario()
    scenario.CopyFrom(loaded.scenario)
    del scenario.faults[:]
    scenario.faults.extend(faults)
    return run_seed(replace(loaded, scenario=scenario), seed, tie_break=tie_break)


def _without(faults: Sequence[Fault], start: int, end: int) -> list[Fault]:
    """Those that undo others stay: without one a run fails for another reason, such as a host that is left dead."""
    kept = [fault for fault in faults[start:end] if fault.WhichOneof("fault") in UNDOES]
    return [*faults[:start], *kept, *faults[end:]]


def _ways(run: SeedRun) -> set[str]:
    """In which ways a run fails: the checks that it violates, or the kind of its error."""
    if run.failure:
        return {f"{RUN_FAILED}: {run.failure.partition(':')[0]}"}
    return {verdict.check for verdict in run.violated}
