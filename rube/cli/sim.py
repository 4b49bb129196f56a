"""`rube sim`: run a scenario in the simulated world."""

from __future__ import annotations

import logging
import sys
import time  # noqa: TID251 (how long the run took on this machine; nothing simulated sees it)
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from rube.api.errors import RubeError
from rube.cli.logfmt import LogfmtFormatter
from rube.sim.kernel import SimulationError, SimulationFailures
from rube.sim.report import render_json, render_text, repeat_command
from rube.sim.scenario import Simulation, load
from rube.sim.scenario.load import LoadedScenario


@click.command(
    epilog="Exit codes: 0 every check holds, 1 a check is violated, 2 wrong usage or a scenario that cannot be run.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("file", type=click.Path(path_type=str))
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Instead of the scenario's own seed.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace's records to a file.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write the daemons' log lines to a file.")
@click.option("-v", "--verbose", is_flag=True, help="Write the daemons' log lines to stderr.")
def sim(file: str, seed: int | None, as_json: bool, trace: Path | None, log: Path | None, verbose: bool) -> None:
    """Run the scenario in FILE: the shipped code in a simulated world, with its faults, judged by its checks.

    The same scenario and seed give the same trace, on any machine.

    \b
    rube sim scenarios/partition.yaml
    rube sim scenarios/partition.yaml --seed 7 --json
    rube sim scenarios/partition.yaml --trace trace.txt --log daemons.log
    """
    sys.path += [str(Path(file).parent), ""]  # for controllers of the user's own
    try:
        loaded = load(file)
    except RubeError as error:
        click.echo(error.message, err=True)
        sys.exit(2)
    try:
        sys.exit(_run(loaded, seed, as_json, trace, log, verbose))
    except OSError as error:
        click.echo(f"rube sim: {error}", err=True)
        sys.exit(2)
    except (SimulationError, SimulationFailures, RubeError) as error:
        _report_failure(error, repeat_command(file, loaded.scenario.seed if seed is None else seed))
        sys.exit(1)


def _run(
    loaded: LoadedScenario, seed: int | None, as_json: bool, trace: Path | None, log: Path | None, verbose: bool
) -> int:
    with (
        _outputs(log, verbose) as streams,
        _logging(streams) as stamp,
        Simulation(loaded, seed=seed, whole_trace=trace is not None) as simulation,
    ):
        stamp.now_ns = lambda: simulation.world.now_ns
        start_s = time.perf_counter()
        result = simulation.run()
        wall_s = max(time.perf_counter() - start_s, 1e-6)
        if trace is not None:
            trace.write_text("".join(f"{record}\n" for record in simulation.world.trace.records), encoding="utf-8")
    render = render_json if as_json else render_text
    click.echo(render(result, file=loaded.file, wall_s=wall_s))
    return 0 if result.passed else 1


def _report_failure(error: Exception, repeat: str) -> None:
    """The run itself failed: a daemon crashed, or nobody answered in the end. With what it takes to see it again."""
    if isinstance(error, SimulationFailures):
        for failure in error.exceptions:
            click.echo("".join(traceback.format_exception(failure)).rstrip(), err=True)
    click.echo(f"rube sim: the run failed: {error}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"rube sim: {note}", err=True)
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
