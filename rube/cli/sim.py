"""`rube sim`: run a scenario in the simulated world."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from rube.api.errors import RubeError
from rube.cli.scenario_names import list_scenarios, scenario_file
from rube.console import visible

SEED_END = 2**64
SEEDS_MAX = 10**9


class _SimCommand(click.Command):
    """`rube sim SCENARIO`, and `rube sim diff A B`, which is no scenario."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] != ["diff"]:
            return super().make_context(info_name, args, parent, **extra)
        from rube.cli.sim_diff import diff

        return diff.make_context(f"{info_name} diff", args[1:], parent, **extra)


@click.command(
    cls=_SimCommand,
    epilog="rube sim diff A B compares two runs. "
    "Exit codes: 0 every check holds, 1 a check is violated, 2 wrong usage or a scenario that cannot be run, "
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
@click.option(
    "--shrink", is_flag=True, help="For a run that fails, write a scenario with the few faults that make it fail."
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where --shrink writes; else stdout."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the run as a page: hosts over time, messages, faults, what led to a violated check.",
)
@click.option(
    "--perfetto",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the run as a trace for ui.perfetto.dev.",
)
@click.option(
    "--latency",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write how long each change took from its commit to each watcher, as CSV, or as JSON if FILE ends in .json.",
)
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
    html: Path | None,
    perfetto: Path | None,
    latency: Path | None,
    trace: Path | None,
    log: Path | None,
    verbose: bool,
) -> None:
    """Runs SCENARIO: the shipped code in a simulated world, with its faults, judged by its checks.

    SCENARIO is a file, or the name of one that Rube ships (see --list). The same scenario and seed give the same trace,
    on any machine.

    \b
    rube sim partition
    rube sim partition --seed 7 --json
    rube sim partition --html run.html
    rube sim partition --trace trace.txt --log daemons.log
    rube sim partition --seeds 1000 --tie-break
    rube sim raft-chaos --seeds 20 --against cluster.raft.pre_vote=false
    rube sim mine.yaml --seed 7 --shrink -o small.yaml
    """
    many_seeds = seeds is not None or bool(against)
    if not many_seeds and jobs is not None:
        raise click.UsageError("--jobs is for --seeds and --against")
    shows_one = bool(html or perfetto or latency or trace or log or verbose)
    if many_seeds and shows_one:
        raise click.UsageError(
            "--html, --perfetto, --latency, --trace, --log and --verbose show one run: "
            "give --seed, and no --seeds or --against"
        )
    if shrink and (many_seeds or as_json or shows_one):
        raise click.UsageError("--shrink goes with --seed, --tie-break, --set and --output alone")
    if output is not None and not shrink:
        raise click.UsageError("--output is for --shrink")
    from rube.cli.single_run import OneRun, run_one, shrink_one, simulate_one
    from rube.cli.sweep import SweepOptions, compare, sweep, user_modules
    from rube.sim.scenario import load

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
        one = OneRun(
            seed=first,
            tie_break=tie_break,
            as_json=as_json,
            trace=trace,
            html=html,
            perfetto=perfetto,
            latency=latency,
            log=log,
            verbose=verbose,
            output=output,
        )
        sys.exit(run_one(loaded, one, shrink_one if shrink else simulate_one))
