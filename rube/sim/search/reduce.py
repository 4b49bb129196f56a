"""Reducing: after the faults, the nodes, steps, times and lengths of a failing scenario; then what of it may vary.

Each candidate changes one thing, and is kept if the run still fails in the same way. Then each time and length that is
left is moved, and the seed, to see how far the run goes on failing: `Range` says what was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from rube.api.errors import RubeError
from rube.api.times import NS_PER_MS, NS_PER_S
from rube.sim.judges import many
from rube.sim.scenario import load_text
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.scenario_pb2 import Scenario
from rube.sim.scenario.yamltext import block_text
from rube.sim.search.shrink import Shrunk, fails_like, scenario_text
from rube.sim.search.sweep import SeedRun, run_seed

RUNS_MAX = 200
"""So many candidates are run at most."""
RANGE_STEPS_NS = tuple(ms * NS_PER_MS for ms in (10, 100, 1_000, 5_000, 20_000))
"""A time is moved so far in each direction, until the run does not fail any more."""
SEEDS_TRIED = 8
_COARSE_NS = (NS_PER_S, 100 * NS_PER_MS, 10 * NS_PER_MS, NS_PER_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values of one time with which the run was seen to fail."""

    path: str
    low_ns: int
    high_ns: int
    # The nearest ones with which it held; None: none was tried.
    held_below_ns: int | None
    held_above_ns: int | None

    def __str__(self) -> str:
        """Returns it as a line for people."""
        held = [f"{ns / NS_PER_S:g}s" for ns in (self.held_below_ns, self.held_above_ns) if ns is not None]
        but = f", not at {' and '.join(held)}" if held else ""
        if self.low_ns == self.high_ns:
            return f"{self.path}: at {self.low_ns / NS_PER_S:g}s alone{but}"
        return f"{self.path}: from {self.low_ns / NS_PER_S:g}s to {self.high_ns / NS_PER_S:g}s{but}"


@dataclass(slots=True, kw_only=True)
class Reduced:
    """The result; it grows while the search goes on."""

    scenario: Scenario
    """As it is written to a file."""
    run: SeedRun
    runs: int = 0
    ranges: list[Range] = field(default_factory=list)
    seeds: tuple[int, int] = (0, 0)
    """So many of so many other seeds fail in the same way."""
    stopped: bool = False


def reduce(
    loaded: LoadedScenario,
    shrunk: Shrunk,
    seed: int,
    *,
    tie_break: bool = False,
    told: Callable[[int], None] = lambda runs: None,
) -> Reduced:
    """Makes a shrunk scenario smaller in everything but its checks. A KeyboardInterrupt ends the search with its
    present result."""
    directory = Path(loaded.file).parent
    began = load_text(scenario_text(loaded, shrunk.faults, seed, directory), loaded.file).written
    found = Reduced(scenario=began, run=shrunk.run)

    def fails(scenario: Scenario, its_seed: int = seed) -> SeedRun | None:
        """The run of that scenario, if it fails as the first one does; None as well for one that is no scenario."""
        try:
            candidate = load_text(block_text(scenario), loaded.file)
        except RubeError:
            return None
        found.runs += 1
        told(found.runs)
        run = run_seed(candidate, its_seed, tie_break=tie_break)
        return run if fails_like(run, shrunk.run) else None

    try:
        _shrink(found, fails)
        _vary(found, fails, seed)
    except KeyboardInterrupt:
        found.stopped = True
    return found


def _shrink(found: Reduced, fails: Callable[[Scenario], SeedRun | None]) -> None:
    tried: set[bytes] = set()
    goes_on = True
    while goes_on:
        goes_on = False
        for candidate in smaller(found.scenario):
            seal = candidate.SerializeToString(deterministic=True)
            if seal in tried or found.runs >= RUNS_MAX:
                continue
            tried.add(seal)
            run = fails(candidate)
            if run is not None:
                found.scenario, found.run = candidate, run
                goes_on = True
                break


def reduced_lines(found: Reduced) -> Iterator[str]:
    """Yields the report's lines about the search: what was seen to vary, with the run failing in the same way."""
    yield f"{many(found.runs, 'run')} more made its steps, nodes, counts and times smaller"
    failing, tried = found.seeds
    if found.ranges:
        yield "it fails as well with each of these alone:"
    yield from (f"  {one}" for one in found.ranges)
    if tried:
        yield f"  the seed: {failing} of {tried} others"


def smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yields scenarios that are smaller in one thing, the largest leaps first; some of them may be no scenarios."""
    for place in reversed(range(len(scenario.workload.steps))):
        one = _copy(scenario)
        del one.workload.steps[place]
        yield one
    nodes = scenario.cluster.nodes
    for count in _fewer(nodes.count):
        one = _copy(scenario)
        one.cluster.nodes.count = count
        yield one
    for place in reversed(range(len(nodes.names))):
        one = _copy(scenario)
        del one.cluster.nodes.names[place]
        yield one
    if scenario.workload.observers:
        one = _copy(scenario)
        one.workload.observers = 0
        yield one
    for place, step in enumerate(scenario.workload.steps):
        for count in _fewer(step.put.count) if step.HasField("put") else ():
            one = _copy(scenario)
            one.workload.steps[place].put.count = count
            yield one
    for _, time, is_length in times(scenario):
        before_ns = time(scenario).ToNanoseconds()
        for value_ns in _simpler(before_ns, is_length=is_length):
            one = _copy(scenario)
            time(one).FromNanoseconds(value_ns)
            yield one


def times(scenario: Scenario) -> Iterator[tuple[str, Callable[[Scenario], Duration], bool]]:
    """Yields each time of faults and steps: its path, where it is in a copy, and whether it is a length."""
    for place, fault in enumerate(scenario.faults):
        yield f"faults[{place}].at", partial(_fault_time, place=place), False
        if fault.HasField("lasts"):
            yield f"faults[{place}].for", partial(_fault_length, place=place), True
    for place in range(len(scenario.workload.steps)):
        yield f"workload.steps[{place}].at", partial(_step_time, place=place), False
    yield "duration", _duration, True


def _fault_time(scenario: Scenario, *, place: int) -> Duration:
    return scenario.faults[place].at


def _fault_length(scenario: Scenario, *, place: int) -> Duration:
    return scenario.faults[place].lasts


def _step_time(scenario: Scenario, *, place: int) -> Duration:
    return scenario.workload.steps[place].at


def _duration(scenario: Scenario) -> Duration:
    return scenario.duration


def _copy(scenario: Scenario) -> Scenario:
    one = Scenario()
    one.CopyFrom(scenario)
    return one


def _fewer(count: int) -> Sequence[int]:
    return sorted({value for value in (1, count // 2, count - 1) if 0 < value < count})


def _simpler(value_ns: int, *, is_length: bool) -> Iterator[int]:
    """Yields rounder values than that one, and of a length shorter ones."""
    if is_length:
        yield from (half for half in (value_ns // 4, value_ns // 2) if half >= NS_PER_MS)
    for unit_ns in _COARSE_NS:
        if value_ns % unit_ns == 0:
            return
        yield from (value_ns // unit_ns * unit_ns, -(-value_ns // unit_ns) * unit_ns)


def _vary(found: Reduced, fails: Callable[..., SeedRun | None], seed: int) -> None:
    """Moves each time alone, and the seed."""
    for path, time, is_length in times(found.scenario):
        if path == "duration":
            continue
        value_ns = time(found.scenario).ToNanoseconds()
        ends: list[tuple[int, int | None]] = []
        for sign in (-1, 1):
            far_ns, held_ns = value_ns, None
            for step_ns in RANGE_STEPS_NS:
                moved_ns = value_ns + sign * step_ns
                if moved_ns < int(is_length):
                    break
                one = _copy(found.scenario)
                time(one).FromNanoseconds(moved_ns)
                if fails(one) is None:
                    held_ns = moved_ns
                    break
                far_ns = moved_ns
            ends.append((far_ns, held_ns))
        (low_ns, below_ns), (high_ns, above_ns) = ends
        found.ranges.append(
            Range(path=path, low_ns=low_ns, high_ns=high_ns, held_below_ns=below_ns, held_above_ns=above_ns)
        )
    others = range(seed + 1, seed + 1 + SEEDS_TRIED)
    found.seeds = (sum(fails(found.scenario, other) is not None for other in others), len(others))
