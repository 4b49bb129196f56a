"""A sweep: one scenario under many seeds. Its report of a seed is short; `rube sim --seed` shows all of it again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rube.api.times import NS_PER_S
from rube.sim.judges import ALL_WATCHERS, LatencySummary, Verdict, many
from rube.sim.report import Counts, Result, repeat_command
from rube.sim.scenario import Simulation
from rube.sim.scenario.load import LoadedScenario
from rube.sim.world.kernel import SimulationFailures, describe

RUN_FAILED = "the run failed"
"""The name under which a seed counts that could not be run to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """The outcome of one seed: the violated checks, or the error of the run."""

    seed: int
    violated: Sequence[Verdict] = ()
    places: Sequence[int] = ()
    """The places of the violated ones among the scenario's expectations."""
    failure: str = ""
    virtual_ns: int = 0
    trace_sha256: str = ""
    counts: Counts | None = None
    """The figures of a run that came to its end."""
    elections: int = 0
    latency: LatencySummary | None = None
    """The latency of all watchers together; None: there was no change."""

    @property
    def passed(self) -> bool:
        return not self.violated and not self.failure


def run_seed(loaded: LoadedScenario, seed: int, *, tie_break: bool = False) -> SeedRun:
    """Runs the scenario under that seed. An exception, such as that of a daemon that crashes, is the run's outcome."""
    try:
        with Simulation(loaded, seed=seed, tie_break=tie_break, records_max=0) as simulation:
            return _outcome(simulation.run())
    except Exception as error:
        first = error.causes[0] if isinstance(error, SimulationFailures) else error
        return SeedRun(seed=seed, failure=describe(first))


def _outcome(result: Result) -> SeedRun:
    return SeedRun(
        seed=result.seed,
        violated=[verdict for verdict in result.verdicts if not verdict.passed],
        places=[place for place, verdict in enumerate(result.verdicts) if not verdict.passed],
        virtual_ns=result.virtual_ns,
        trace_sha256=result.trace_sha256,
        counts=result.counts,
        elections=result.elections,
        latency=next((row for row in result.latencies if row.watcher == ALL_WATCHERS), None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The runs of some seeds, in the order of the seeds."""

    name: str
    file: str
    tie_break: bool
    runs: Sequence[SeedRun]
    seeds: int
    """The number of seeds that were asked for."""
    arguments: str
    """The arguments of `rube sim` for this scenario."""

    @property
    def failed(self) -> Sequence[SeedRun]:
        return [run for run in self.runs if not run.passed]

    @property
    def passed(self) -> bool:
        return len(self.runs) == self.seeds and not self.failed

    @property
    def traces_sha256(self) -> str:
        """Over the traces of all runs: equal sweeps have equal ones."""
        return hashlib.sha256("".join(f"{run.seed} {run.trace_sha256}\n" for run in self.runs).encode()).hexdigest()

    @property
    def by_check(self) -> dict[str, int]:
        """The number of seeds that violate each check, by its name."""
        found = Counter(RUN_FAILED for run in self.failed if run.failure)
        found.update(check for run in self.failed for check in {verdict.check for verdict in run.violated})
        return dict(sorted(found.items()))


def run_lines(run: SeedRun) -> Iterator[str]:
    """Yields the ways in which it does not hold."""
    for verdict in run.violated:
        yield f"{verdict.check}: {verdict.text}"
        yield from (f"    {line}" for line in verdict.offending[:1])
    if run.failure:
        yield f"{RUN_FAILED}: {run.failure}"


def failed_lines(run: SeedRun, arguments: str, *, tie_break: bool) -> Iterator[str]:
    """Yields the report's lines about a seed that does not hold."""
    yield f"  ✗ seed {run.seed}"
    yield from (f"      {line}" for line in run_lines(run))
    yield f"      repeat: {repeat_command(arguments, run.seed, tie_break=tie_break)}"


def summary_lines(sweep: Sweep, wall_s: float) -> Iterator[str]:
    """Yields the last lines of a report."""
    if len(sweep.runs) < sweep.seeds:
        yield f"stopped after {len(sweep.runs)} of {sweep.seeds} seeds"
    held = len(sweep.runs) - len(sweep.failed)
    if sweep.failed:
        checks = ", ".join(f"{check} {count}" for check, count in sweep.by_check.items())
        yield f"VIOLATED: {held} of {many(len(sweep.runs), 'seed')} hold; violated: {checks}"
    elif held == sweep.seeds:
        yield f"passed: every check held under {many(held, 'seed')}"
    virtual_s = sum(run.virtual_ns for run in sweep.runs) / NS_PER_S
    yield (f"virtual {virtual_s:.1f}s in {wall_s:.2f}s of wall time: {virtual_s / wall_s:.0f} virtual seconds a second")
    if len(sweep.runs) == sweep.seeds:
        yield f"traces sha256: {sweep.traces_sha256}"


def render_sweep_json(sweep: Sweep, wall_s: float) -> str:
    """The report for programs. Times are virtual seconds unless their name says otherwise."""
    virtual_s = sum(run.virtual_ns for run in sweep.runs) / NS_PER_S
    failed = [_failed_values(sweep, run) for run in sweep.failed]
    return json.dumps(
        {
            "name": sweep.name,
            "file": sweep.file,
            "tie_break": sweep.tie_break,
            "passed": sweep.passed,
            "seeds": sweep.seeds,
            "first_seed": sweep.runs[0].seed if sweep.runs else None,
            "seeds_run": len(sweep.runs),
            "violated_by_check": sweep.by_check,
            "failed": failed,
            "runs": [run_values(run) for run in sweep.runs],
            "virtual_s": virtual_s,
            "wall_s": round(wall_s, 3),
            "virtual_s_per_wall_s": round(virtual_s / wall_s, 1),
            "traces_sha256": sweep.traces_sha256,
        },
        ensure_ascii=False,
        indent=2,
    )


def _failed_values(sweep: Sweep, run: SeedRun) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "failure": run.failure,
        "checks": [
            {"check": verdict.check, "text": verdict.text, "offending": list(verdict.offending)}
            for verdict in run.violated
        ],
        "repeat": repeat_command(sweep.arguments, run.seed, tie_break=sweep.tie_break),
    }


def run_values(run: SeedRun) -> dict[str, Any]:
    """The figures of one seed, for programs; those of a run that failed are left out."""
    values: dict[str, Any] = {
        "seed": run.seed,
        "passed": run.passed,
        "violated": sorted({verdict.check for verdict in run.violated}),
        "failure": run.failure,
        "virtual_s": run.virtual_ns / NS_PER_S,
        "trace_sha256": run.trace_sha256,
    }
    if run.counts is not None:
        values |= {name: getattr(run.counts, name) for name in Counts.__slots__}
        values["elections"] = run.elections
    if run.latency is not None:
        values["watch_latency_ns"] = {
            name: getattr(run.latency, name) for name in LatencySummary.__slots__ if name != "watcher"
        }
    return values
