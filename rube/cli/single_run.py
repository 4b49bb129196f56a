"""One run of `rube sim`, or the search for a smaller one that fails; loaded where a scenario is run."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import time  # noqa: TID251 (how long the run took on this machine; nothing simulated sees it)
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from rube.api.errors import RubeError
from rube.api.times import NS_PER_S
from rube.cli.logfmt import LogfmtFormatter
from rube.cli.progress import ProgressBar
from rube.console import EXIT_INTERRUPTED
from rube.sim.judges import many
from rube.sim.report import Result, render_json, render_text, repeat_command
from rube.sim.scenario import Simulation
from rube.sim.scenario.load import LoadedScenario
from rube.sim.search.reduce import reduce, reduced_lines
from rube.sim.search.shrink import scenario_text
from rube.sim.search.shrink import shrink as shrink_run
from rube.sim.search.sweep import run_lines
from rube.sim.story import latency_csv, latency_json, render_page, render_perfetto, tell
from rube.sim.world.kernel import SimulationError, SimulationFailures, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """The options of one run."""

    seed: int
    tie_break: bool
    as_json: bool
    trace: Path | None
    html: Path | None
    perfetto: Path | None
    latency: Path | None
    log: Path | None
    verbose: bool
    output: Path | None
    """The file of a shrunk scenario; None: stdout."""


def run_one(loaded: LoadedScenario, one: OneRun, work: Callable[[LoadedScenario, OneRun], int]) -> int:
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


def shrink_one(loaded: LoadedScenario, one: OneRun) -> int:
    with logs_to([]), ProgressBar(f"rube sim {loaded.scenario.name} --shrink", "runs") as bar:
        shrunk = shrink_run(loaded, one.seed, tie_break=one.tie_break, told=lambda runs: bar.update(runs, 0))
        reduced = None
        if shrunk is not None and not shrunk.stopped:
            runs_before = shrunk.runs
            reduced = reduce(
                loaded, shrunk, one.seed, tie_break=one.tie_break, told=lambda runs: bar.update(runs_before + runs, 0)
            )
    repeat = repeat_command(loaded.arguments, one.seed, tie_break=one.tie_break)
    tie = " --tie-break" if one.tie_break else ""
    if shrunk is None:
        click.echo(f"# every check holds, there is nothing to shrink: {repeat}")
        return 0
    left, before = len(shrunk.faults), shrunk.faults_before
    run = reduced.run if reduced is not None else shrunk.run
    stopped = shrunk.stopped or (reduced is not None and reduced.stopped)
    some = f"with {many(left, 'fault')} of {before}" if left else "without any fault"
    lines = [
        f"# {'stopped: so far ' if stopped else ''}it fails {some} ({many(shrunk.runs, 'run')}):",
        *(f"# {' '.join(line.split())}" for line in run_lines(run)),
        *(f"# {line}" for line in ([] if reduced is None else reduced_lines(reduced))),
        f"# shrunk from: {repeat}",
    ]
    written = loaded if reduced is None else replace(loaded, written=reduced.scenario)
    faults = shrunk.faults if reduced is None else list(reduced.scenario.faults)
    if one.output is None:
        lines.append(f"# to run it: rube sim THIS_FILE{tie}, beside {loaded.file}")
        text = scenario_text(written, faults, one.seed, Path(loaded.file).parent)
        click.echo("\n".join([*lines, text]))
    else:
        again = shlex.quote(str(one.output))
        lines.append(f"# to run it: rube sim {again}{tie}")
        click.echo("\n".join(lines))
        text = scenario_text(written, faults, one.seed, one.output.parent)
        one.output.write_text("\n".join([*lines, text, ""]), encoding="utf-8")
    return EXIT_INTERRUPTED if stopped else 1


def simulate_one(loaded: LoadedScenario, one: OneRun) -> int:
    told = any((one.trace, one.html, one.perfetto, one.latency))
    with (
        _outputs(one.log, one.verbose) as streams,
        logs_to(streams) as stamp,
        Simulation(
            loaded, seed=one.seed, tie_break=one.tie_break, records_max=None if told else 0, narrated=told
        ) as simulation,
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
        if told:
            _write_story(simulation, result, loaded, one)
    render = render_json if one.as_json else render_text
    click.echo(render(result, arguments=loaded.arguments, wall_s=wall_s))
    return EXIT_INTERRUPTED if result.stopped else 0 if result.passed else 1


def _write_story(simulation: Simulation, result: Result, loaded: LoadedScenario, one: OneRun) -> None:
    """Writes what was asked for: the records, the page, the trace for Perfetto, the latencies."""
    records = simulation.world.trace.records
    if one.trace is not None:
        one.trace.write_text("".join(f"{record}\n" for record in records), encoding="utf-8")
    if not any((one.html, one.perfetto, one.latency)):
        return
    repeat = repeat_command(loaded.arguments, one.seed, tie_break=one.tie_break)
    story = tell(result, simulation.cluster.history, records, repeat)
    if one.html is not None:
        one.html.write_text(render_page(story), encoding="utf-8")
    if one.perfetto is not None:
        one.perfetto.write_text(render_perfetto(story), encoding="utf-8")
    if one.latency is not None:
        render = latency_json if one.latency.suffix == ".json" else latency_csv
        one.latency.write_text(render(story.arrivals), encoding="utf-8")


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
    """Reports that the run itself failed, since a daemon crashed or no process answered in the end, and how to repeat
    it."""
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
def logs_to(streams: list[TextIO]) -> Iterator[_VirtualTime]:
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
