"""`rube sim`: run a scenario in the simulated world."""

from __future__ import annotations

import logging
import sys
import time  # noqa: TID251 (how long the run took on this machine; nothing simulated sees it)
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from rube.api.errors import RubeError
from rube.cli.logfmt import LogfmtFormatter
from rube.cli.progress import ProgressBar
from rube.cli.sweep import EXIT_INTERRUPTED, sweep, user_modules
from rube.sim.checkers import many
from rube.sim.kernel import SimulationError, SimulationFailures, describe
from rube.sim.report import render_json, render_text, repeat_command
from rube.sim.scenario import Simulation, load
from rube.sim.scenario.load import LoadedScenario
from rube.sim.shrink import faults_text
from rube.sim.shrink import shrink as shrink_run
from rube.sim.sweep import run_lines

SEED_END = 2**64
SEEDS_MAX = 10**9


@click.command(
    epilog="Exit codes: 0 every check holds, 1 a check is violated, 2 wrong usage or a scenario that cannot be run, "
    "130 stopped by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("file", type=click.Path(path_type=str))
@click.option("--seed", type=click.IntRange(0, SEED_END - 1), help="Instead of the scenario's own seed.")
@click.option(
    "--seeds", type=click.IntRange(1, SEEDS_MAX), help="So many seeds, from that one on; only what fails is shown."
)
@click.option("--jobs", type=click.IntRange(1), help="So many of --seeds at once; else one a processor.")
@click.option("--tie-break", is_flag=True, help="The seed also orders what is ready at one instant.")
@click.option("--shrink", is_flag=True, help="Of a run that fails: the few faults that make it fail, as YAML.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace's records to a file.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write the daemons' log lines to a file.")
@click.option("-v", "--verbose", is_flag=True, help="Write the daemons' log lines to stderr.")
def sim(
    file: str,
    seed: int | None,
    seeds: int | None,
    jobs: int | None,
    tie_break: bool,
    shrink: bool,
    as_json: bool,
    trace: Path | None,
    log: Path | None,
    verbose: bool,
) -> None:
    """Run the scenario in FILE: the shipped code in a simulated world, with its faults, judged by its checks.

    The same scenario and seed give the same trace, on any machine.

    \b
    rube sim scenarios/partition.yaml
    rube sim scenarios/partition.yaml --seed 7 --json
    rube sim scenarios/partition.yaml --trace trace.txt --log daemons.log
    rube sim scenarios/partition.yaml --seeds 1000 --tie-break
    rube sim mine.yaml --seed 7 --shrink
    """
    if seeds is None and jobs is not None:
        raise click.UsageError("--jobs is for --seeds")
    if seeds is not None and (trace or log or verbose):
        raise click.UsageError("--trace, --log and --verbose show one seed: give --seed, and no --seeds")
    if shrink and (seeds is not None or as_json or trace or log or verbose):
        raise click.UsageError("--shrink goes with --seed and --tie-break alone")
    with user_modules(file):
        try:
            loaded = load(file)
        except RubeError as error:
            click.echo(error.message, err=True)
            sys.exit(2)
        first = loaded.scenario.seed if seed is None else seed
        if seeds is not None:
            if first + seeds > SEED_END:
                raise click.UsageError(f"there are {SEED_END - first} seeds from {first} on: choose fewer --seeds")
            sys.exit(sweep(loaded, range(first, first + seeds), jobs=jobs or 0, tie_break=tie_break, as_json=as_json))
        one = _One(seed=first, tie_break=tie_break, as_json=as_json, trace=trace, log=log, verbose=verbose)
        sys.exit(_run(loaded, one, _shrink if shrink else _simulate))


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """The options of one run."""

    seed: int
    tie_break: bool
    as_json: bool
    trace: Path | None
    log: Path | None
    verbose: bool


def _run(loaded: LoadedScenario, one: _One, work: Callable[[LoadedScenario, _One], int]) -> int:
    try:
        return work(loaded, one)
    except OSError as error:
        click.echo(f"rube sim: {error}", err=True)
        return 2
    except (SimulationError, SimulationFailures, RubeError) as error:
        _report_failure(error, repeat_command(loaded.file, one.seed, tie_break=one.tie_break))
        return 1
    except KeyboardInterrupt:
        click.echo("rube sim: stopped", err=True)
        return EXIT_INTERRUPTED


def _shrink(loaded: LoadedScenario, one: _One) -> int:
    with _logging([]), ProgressBar(f"rube sim {loaded.scenario.name} --shrink", "runs") as bar:
        shrunk = shrink_run(loaded, one.seed, tie_break=one.tie_break, told=lambda runs: bar.update(runs, 0))
    repeat = repeat_command(loaded.file, one.seed, tie_break=one.tie_break)
    if shrunk is None:
        click.echo(f"# every check holds, there is nothing to shrink: {repeat}")
        return 0
    left, before = len(shrunk.faults), shrunk.faults_before
    some = f"with {many(left, 'fault')} of {before}" if left else "without any fault"
    click.echo(f"# {'stopped: so far ' if shrunk.stopped else ''}it fails {some} ({many(shrunk.runs, 'run')}):")
    for line in run_lines(shrunk.run):
        click.echo(f"# {' '.join(line.split())}")
    click.echo(f"# repeat, with these faults: {repeat}")
    click.echo(faults_text(shrunk.faults))
    return EXIT_INTERRUPTED if shrunk.stopped else 1


def _simulate(loaded: LoadedScenario, one: _One) -> int:
    records_max = 0 if one.trace is None else None
    with (
        _outputs(one.log, one.verbose) as streams,
        _logging(streams) as stamp,
        Simulation(loaded, seed=one.seed, tie_break=one.tie_break, records_max=records_max) as simulation,
    ):
        stamp.now_ns = lambda: simulation.world.now_ns
        start_s = time.perf_counter()
        result = simulation.run()
        wall_s = max(time.perf_counter() - start_s, 1e-6)
        if one.trace is not None:
            records = simulation.world.trace.records
            one.trace.write_text("".join(f"{record}\n" for record in records), encoding="utf-8")
    render = render_json if one.as_json else render_text
    click.echo(render(result, file=loaded.file, wall_s=wall_s))
    return 0 if result.passed else 1


def _report_failure(error: Exception, repeat: str) -> None:
    """The run itself failed: a daemon crashed, or nobody answered in the end. With what it takes to see it again."""
    causes = error.causes if isinstance(error, SimulationFailures) else [error]
    if isinstance(error, SimulationFailures):
        for cause in causes:
            click.echo("".join(traceback.format_exception(cause)).rstrip(), err=True)
    for cause in causes:
        click.echo(f"rube sim: the run failed: {describe(cause)}", err=True)
    if causes != [error]:
        click.echo(f"rube sim: {error.args[0]}", err=True)
    click.echo(f"repeat: {repeat}", err=True)


@contextmanager
def _outputs(log: Path | None, verbose: bool) -> Iterator[list[TextIO]]:
    streams: list[TextIO] = [sys.stderr] if verbose else []
    if log is None:
        yield streams
        return
    with log.open("w", encoding="utf-8") as file:
        yield [*streams, file]


class _VirtualTime(logging.Filter):
    """Gives each log line the world's true time, counted from 1970-01-01T00:00:00Z."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns: Callable[[], int] = lambda: 0

    def filter(self, record: logging.LogRecord) -> bool:
        record.created = self.now_ns() / 1e9
        return True


@contextmanager
def _logging(streams: list[TextIO]) -> Iterator[_VirtualTime]:
    """Sends log lines to the streams alone, with virtual time, for a while."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    handlers: list[logging.Handler] = [logging.StreamHandler(stream) for stream in streams] or [logging.NullHandler()]
    stamp = _VirtualTime()
    for handler in handlers:
        handler.addFilter(stamp)
        handler.setFormatter(LogfmtFormatter())
    root.handlers = handlers
    root.setLevel(logging.INFO if streams else logging.CRITICAL)
    try:
        yield stamp
    finally:
        root.handlers = before
        root.setLevel(level)
