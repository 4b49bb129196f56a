"""`rube bench`: measure a cluster on this machine."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import click

from rube.console import WholeGroup


@click.group(cls=WholeGroup)
def bench() -> None:
    """Measure a cluster on this machine."""


@bench.command()
@click.option(
    "--nodes",
    type=click.IntRange(1, 20_000),
    default=200,
    show_default="200",
    metavar="N",
    help="How many hollow nodes.",
)
@click.option(
    "--rest",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default="30",
    metavar="SECONDS",
    help="How long the cost of nodes at rest is measured.",
)
@click.option(
    "--store", metavar="URL", default="", help="The apiserver's store.  [default: SQLite, in a new directory]"
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the logs, and the store, in this directory."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.argument("apiserver_args", nargs=-1)
def fleet(
    nodes: int, rest: float, store: str, keep: Path | None, as_json: bool, apiserver_args: tuple[str, ...]
) -> None:
    """Measure an apiserver under many nodes.

    The nodes are hollow: real rubelets, many in one process, over real connections, whose units only pretend to run.
    They come, rest, get a unit each, one by one and all at once, get a change each, and lose the apiserver, which is
    killed and comes back. The report has what that cost and how long it took.

    \b
    Examples:
      rube bench fleet
      rube bench fleet --nodes 5000 --rest 60 -- --grpc grpcio
    """
    from rube.api.errors import RubeError
    from rube.cli.fleet.fleet import FleetOptions, run_fleet

    with tempfile.TemporaryDirectory(prefix="rube-fleet-") as temporary:
        directory = keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        options = FleetOptions(
            nodes=nodes,
            rest_s=rest,
            store=store or f"sqlite:///{directory / 'store.db'}",
            apiserver_args=apiserver_args,
            directory=directory,
        )
        try:
            report = asyncio.run(run_fleet(options, lambda line: click.echo(line, err=True)))
        except RubeError as error:
            raise click.ClickException(error.message) from error
    click.echo(report.as_json() if as_json else report.text())
