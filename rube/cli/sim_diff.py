"""`rube sim diff`: the first event in which two runs differ, and what it caused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rube.api.errors import RubeError
from rube.cli.scenario_names import scenario_file
from rube.console import visible

if TYPE_CHECKING:
    from rube.sim.story.happenings import Happenings

_TRACE_LINE = re.compile(r"\d+\.\d{9} [\w-]+")
_HEAD_CHARS = 80


@click.command(
    name="diff",
    epilog="Exit codes: 0 the same, 1 different, 2 wrong usage or a scenario that cannot be run.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--tie-break", is_flag=True, help="The seed also orders what is ready at one instant.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a field of both scenarios.")
@click.option("--against", multiple=True, metavar="PATH=VALUE", help="Change a field of B alone. Repeatable.")
@click.option("--all", "everything", is_flag=True, help="Show all differences, sends and disk writes too.")
def diff(
    first: str, second: str, tie_break: bool, settings: tuple[str, ...], against: tuple[str, ...], everything: bool
) -> None:
    """Says in which event two runs differ first, and which later differences it can have caused.

    A and B are scenarios, each with a seed of its own after @ if wanted, or traces that --trace has written. What
    happens on each host is compared in its order, whatever the times.

    \b
    rube sim diff partition@1 partition@2
    rube sim diff mine.yaml small.yaml
    rube sim diff partition partition --against 'faults[0].for=35s'
    rube sim diff one.txt other.txt
    """
    from rube.cli.sweep import user_modules
    from rube.sim.story.differences import difference, difference_lines

    def told(name: str, changes: tuple[str, ...]) -> Happenings:
        path = Path(name)
        if path.is_file() and _TRACE_LINE.match(path.read_bytes()[:_HEAD_CHARS].decode(errors="replace")):
            return _read(path)
        scenario, _, seed = name.rpartition("@") if re.search(r"@\d+$", name) else (name, "", "")
        file = scenario_file(scenario)
        with user_modules(file):
            return _run(file, changes, int(seed) if seed else None, tie_break=tie_break)

    try:
        found = difference(told(first, settings), told(second, (*settings, *against)))
    except RubeError as error:
        click.echo(f"rube sim diff: {visible(error.message)}", err=True)
        sys.exit(2)
    except (OSError, ValueError) as error:
        click.echo(f"rube sim diff: {visible(str(error))}", err=True)
        sys.exit(2)
    if found is None:
        click.echo("the same happens on every host, in the same order")
        return
    names = (first, " ".join((second, *against)))
    click.echo("\n".join(difference_lines(found, names, everything=everything)))
    sys.exit(1)


def _read(path: Path) -> Happenings:
    """A trace's happenings. Raises ValueError, with the file's name, for one that is none."""
    from rube.sim.story.differences import read_trace
    from rube.sim.story.happenings import happenings

    try:
        records = read_trace(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return happenings(records, records[-1].time_ns if records else 0)


def _run(file: str, settings: tuple[str, ...], seed: int | None, *, tie_break: bool) -> Happenings:
    """Runs the scenario; what happened until then is compared too, if it fails with an exception."""
    from rube.cli.single_run import logs_to
    from rube.sim.scenario import Simulation
    from rube.sim.scenario.load import load
    from rube.sim.story.happenings import happenings
    from rube.sim.world.kernel import SimulationError, SimulationFailures, describe

    with (
        logs_to([]),
        Simulation(load(file, settings), seed=seed, tie_break=tie_break, records_max=None, narrated=True) as simulation,
    ):
        try:
            simulation.run()
        except (SimulationError, SimulationFailures) as error:
            click.echo(f"rube sim diff: the run of {file} failed, and ends there: {describe(error)}", err=True)
        return happenings(simulation.world.trace.records, simulation.world.now_ns)
