"""`rube sim`: run a scenario in the simulated world."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import time  # noqa: TID251 (how long the run took on this machine; nothing simulated sees it)
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from rube.api.errors import RubeError
from rube.api.times import NS_PER_S
from rube.cli.logfmt import LogfmtFormatter
from rube.cli.progress import ProgressBar
from rube.cli.scenario_names import list_scenarios, scenario_file
from rube.cli.sweep import SweepOptions, compare, sweep, user_modules
from rube.console import EXIT_INTERRUPTED, visible
from rube.sim.judges import many
from rube.sim.report import render_json, render_text, repeat_command
from rube.sim.scenario import Simulation, load
from rube.sim.scenario.load import LoadedScenario
from rube.sim.search.shrink import scenario_text
from rube.sim.search.shrink import shrink as shrink_run
from rube.sim.search.sweep import run_lines
from rube.sim.world.kernel import SimulationError, SimulationFailures, describe

SEED_END = 2**64
SEEDS_MAX = 10**9


@click.command(
    epilog="Exit codes: 0 every check holds, 1 a check is violated, 2 wrong usage or a scenario that cannot be run, "
    "130 stopped by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("file", metavar="SCENARIO", callback=lambda _context, _parameter, name: scenario_file(name))
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _parameter, wanted: list_scenarios(context) if wanted else None,
    help="List the scenarios that Rube ships.",
)
@click.option("--seed", type=click.IntRange(0, SEED_END - 1), metavar="N", help="Instead of the scenario's own seed.")
@click.option(
    "--seeds",
    type=click.IntRange(1, SEEDS_MAX),
    metavar="N",
    help="So many seeds, from that one on; only what fails is shown.",
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="So many of --seeds at once; else one a processor.")
@click.option("--tie-break", is_flag=True, help="The seed also orders what is ready at one instant.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the scenario, such as cluster.raft.pre_vote=false or faults[0].for=5s. Repeatable.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="PATH=VALUE",
    help="Run it a second time with this change as well, and show the two side by side. Repeatable: all of them.",
)
@click.option("--shrink", is_flag=True, help="Of a run that fails: a scenario with the few faults that make it fail.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where --shrink writes; else stdout."
)
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
    settings: tuple[str, ...],
    against: tuple[str, ...],
    shrink: bool,
    output: Path | None,
    as_json: bool,
    trace: Path | None,
    log: Path | None,
    verbose: bool,
) -> None:
    """Run SCENARIO: the shipped code in a simulated world, with its faults, judged by its checks.

    SCENARIO is a file, or the name of one that Rube ships (see --list). The same scenario and seed give the same trace,
    on any machine.

    \b
    rube sim partition
    rube sim partition --seed 7 --json
    rube sim partition --trace trace.txt --log daemons.log
    rube sim partition --seeds 1000 --tie-break
    rube sim raft-chaos --seeds 20 --against cluster.raft.pre_vote=false
    rube sim mine.yaml --seed 7 --shrink -o small.yaml
    """
    many_seeds = seeds is not None or bool(against)
    if not many_seeds and jobs is not None:
        raise click.UsageError("--jobs is for --seeds and --against")
    if many_seeds and (trace or log or verbose):
        raise click.UsageError("--trace, --log and --verbose show one run: give --seed, and no --seeds or --against")
    if shrink and (many_seeds or as_json or trace or log or verbose):
        raise click.UsageError("--shrink goes with --seed, --tie-break, --set and --output alone")
    if output is not None and not shrink:
        raise click.UsageError("--output is for --shrink")
    with user_modules(file):
        try:
            loaded = load(file, settings)
            other = load(file, [*settings, *against]) if against else loaded
        except RubeError as error:
            click.echo(f"rube sim: {visible(error.message)}", err=True)
            sys.exit(2)
        first = loaded.scenario.seed if seed is None else seed
        if many_seeds:
            count = seeds or 1
            if first + count > SEED_END:
                raise click.UsageError(f"there are {SEED_END - first} seeds from {first} on: choose fewer --seeds")
            swept = SweepOptions(
                seeds=range(first, first + count), jobs=jobs or 0, tie_break=tie_break, as_json=as_json
            )
            names = (" ".join(settings) or "as it is", " ".join(against))
            sys.exit(compare(loaded, other, names, swept) if against else sweep(loaded, swept))
        one = _One(
            seed=first, tie_break=tie_break, as_json=as_json, trace=trace, log=log, verbose=verbose, output=output
        )
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
    # Where a shrunk scenario goes; None: to stdout.
    output: Path | None


def _run(loaded: LoadedScenario, one: _One, work: Callable[[LoadedScenario, _One], int]) -> int:
    try:
        return work(loaded, one)
    except OSError as error:
        click.echo(f"rube sim: {error}", err=True)
        return 2
    except (SimulationError, SimulationFailures, RubeError) as error:
        _report_failure(error, repeat_command(loaded.arguments, one.seed, tie_break=one.tie_break))
        return 1
    except KeyboardInterrupt:
        click.echo("rube sim: stopped", err=True)
        return EXIT_INTERRUPTED


def _shrink(loaded: LoadedScenario, one: _One) -> int:
    with _logging([]), ProgressBar(f"rube sim {loaded.scenario.name} --shrink", "runs") as bar:
        shrunk = shrink_run(loaded, one.seed, tie_break=one.tie_break, told=lambda runs: bar.update(runs, 0))
    repeat = repeat_command(loaded.arguments, one.seed, tie_break=one.tie_break)
    tie = " --tie-break" if one.tie_break else ""
    if shrunk is None:
        click.echo(f"# every check holds, there is nothing to shrink: {repeat}")
        return 0
    left, before = len(shrunk.faults), shrunk.faults_before
    some = f"with {many(left, 'fault')} of {before}" if left else "without any fault"
    lines = [
        f"# {'stopped: so far ' if shrunk.stopped else ''}it fails {some} ({many(shrunk.runs, 'run')}):",
        *(f"# {' '.join(line.split())}" for line in run_lines(shrunk.run)),
        f"# shrunk from: {repeat}",
    ]
    if one.output is None:
        lines.append(f"# to run it: rube sim THIS_FILE{tie}, beside {loaded.file}")
        text = scenario_text(loaded, shrunk.faults, one.seed, Path(loaded.file).parent)
        click.echo("\n".join([*lines, text]))
    else:
        again = shlex.quote(str(one.output))
        lines.append(f"# to run it: rube sim {again}{tie}")
        click.echo("\n".join(lines))
        text = scenario_text(loaded, shrunk.faults, one.seed, one.output.parent)
        one.output.write_text("\n".join([*lines, text, ""]), encoding="utf-8")
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
        total_ns = loaded.scenario.duration.ToNanoseconds()
        with ProgressBar(f"rube sim {loaded.scenario.name}", "virtual seconds") as bar, _interruptible() as interrupted:

            def goes_on(now_ns: int) -> bool:
                bar.update(now_ns // NS_PER_S, total_ns // NS_PER_S)
                return not interrupted

            result = simulation.run(goes_on)
        wall_s = max(time.perf_counter() - start_s, 1e-6)
        if one.trace is not None:
            records = simulation.world.trace.records
            one.trace.write_text("".join(f"{record}\n" for record in records), encoding="utf-8")
    render = render_json if one.as_json else render_text
    click.echo(render(result, arguments=loaded.arguments, wall_s=wall_s))
    return EXIT_INTERRUPTED if result.stopped else 0 if result.passed else 1


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """The first Ctrl-C fills the list; the second one is a KeyboardInterrupt, wherever the run is."""
    signals: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        click.echo("rube sim: stopping, to judge what there is; Ctrl-C again ends it at once", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


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
    root.setLevel(logging.INFO if streams else logging.ERROR)
    try:
        yield stamp
    finally:
        root.handlers = before
        root.setLevel(level)
