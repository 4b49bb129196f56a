"""Two sweeps of one scenario side by side: the effect of a setting, over the same seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from rube.sim.judges import many
from rube.sim.search.sweep import SeedRun, Sweep, run_values

_NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same seeds of both; each is called by its settings."""

    names: tuple[str, str]
    sweeps: tuple[Sweep, Sweep]

    @property
    def passed(self) -> bool:
        return all(sweep.passed for sweep in self.sweeps)


class _Figure(NamedTuple):
    """A row: the median over the seeds of one of `run_values`, or of its `watch_latency_ns`."""

    name: str
    value: str
    of_latency: bool = False


_FIGURES = (
    _Figure("requests of users", "attempts"),
    _Figure("acknowledged", "acknowledged"),
    _Figure("commits", "commits"),
    _Figure("elections", "elections"),
    _Figure("watch events", "watch_events"),
    _Figure("commit to watcher p50, ms", "p50_ns", of_latency=True),
    _Figure("commit to watcher p99, ms", "p99_ns", of_latency=True),
    _Figure("commit to watcher max, ms", "max_ns", of_latency=True),
)


def comparison_lines(found: Comparison) -> Iterator[str]:
    """The table: a row a figure, the median over the seeds; then the seeds whose outcome differs."""
    rows = [("", *found.names), *_outcomes(found), *_medians(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip()
    differing = _differing(found)
    if differing:
        yield f"{many(len(differing), 'seed')} with another outcome: {', '.join(map(str, differing[:20]))}"


def render_comparison_json(found: Comparison, wall_s: float) -> str:
    """The same for programs, with the values of every seed."""
    values: dict[str, Any] = {
        "file": found.sweeps[0].file,
        "passed": found.passed,
        "differing_seeds": _differing(found),
        "settings": [
            {
                "name": name,
                "seeds": len(sweep.runs),
                "passed": len(sweep.runs) - len(sweep.failed),
                "violated_by_check": sweep.by_check,
                "runs": [run_values(run) for run in sweep.runs],
            }
            for name, sweep in zip(found.names, found.sweeps, strict=True)
        ],
        "wall_s": round(wall_s, 3),
    }
    return json.dumps(values, ensure_ascii=False, indent=2)


def _outcomes(found: Comparison) -> Iterator[tuple[str, str, str]]:
    first, second = (f"{len(sweep.runs) - len(sweep.failed)} of {len(sweep.runs)}" for sweep in found.sweeps)
    yield "seeds that hold", first, second
    for check in sorted({check for sweep in found.sweeps for check in sweep.by_check}):
        first, second = (str(sweep.by_check.get(check, 0)) for sweep in found.sweeps)
        yield f"violated: {check}", first, second


def _medians(found: Comparison) -> Iterator[tuple[str, str, str]]:
    for figure in _FIGURES:
        cells = [_median(figure, sweep.runs) for sweep in found.sweeps]
        if cells != [_NOTHING, _NOTHING] and cells != ["0", "0"]:
            yield figure.name, cells[0], cells[1]


def _median(figure: _Figure, runs: Sequence[SeedRun]) -> str:
    every = [run_values(run) for run in runs]
    if figure.of_latency:
        every = [values.get("watch_latency_ns", {}) for values in every]
    found = [values[figure.value] for values in every if figure.value in values]
    if not found:
        return _NOTHING
    return f"{median(found) / 1e6:.3f}" if figure.of_latency else f"{median(found):g}"


def _differing(found: Comparison) -> list[int]:
    first, second = (sweep.runs for sweep in found.sweeps)
    return [
        one.seed
        for one, other in zip(first, second, strict=False)
        if {verdict.check for verdict in one.violated} != {verdict.check for verdict in other.violated}
        or bool(one.failure) != bool(other.failure)
    ]
