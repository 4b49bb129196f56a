"""`rube replay`: let a controller decide again on recorded states."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--controllers",
    "names",
    metavar="NAMES",
    required=True,
    callback=lambda _context, _option, text: tuple(name.strip() for name in text.split(",") if name.strip()),
    help="The controllers to try, separated by commas: package.module:Name, a file NAME.wasm, or a built-in one.",
)
def replay(directory: Path, names: tuple[str, ...]) -> None:
    """Lets controllers decide again on recorded states, and prints the first decision that differs.

    `rube controller --record DIRECTORY` records: what each controller saw, and what it decided. A new version of a
    controller is tried on it before it is shipped; the record of one in Python tries the same one in Rust.

    Exit codes: 0 all decisions are equal, 1 one differs, 2 no record, or no such controller.

    \b
    Examples:
      rube controller --controllers agents:Agents --record decisions
      rube replay decisions --controllers agents:Agents
      rube replay decisions --controllers agents.wasm
    """
    from rube.api.errors import InvalidArgumentError
    from rube.cli import decisions
    from rube.controllers.cluster.catalog import make_controllers

    sys.path.append("")
    differs = False
    try:
        for controller in make_controllers(names):
            done = decisions.replay(directory, controller)
            if (found := done.difference) is None:
                click.echo(f"{controller.name}: {done.decisions} decisions, all equal")
                continue
            differs = True
            click.echo(f"{controller.name}: decision {found.number}, about {found.key}, differs (- recorded, + now)")
            click.echo(f"{found.decisions}\n\nthe state:\n{found.state.rstrip()}")
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error
    raise SystemExit(1 if differs else 0)
