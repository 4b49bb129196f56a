"""The scenarios that Rube ships, as `rube sim` takes and lists them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rube.api.spelling import suggestion
from rube.shipped import shipped_scenarios


def scenario_file(name: str) -> str:
    """Returns the path of a file, as given, or of the shipped scenario of that name.

    Raises click.UsageError, with a suggestion, for anything else.
    """
    shipped = shipped_scenarios()
    if os.path.exists(name):
        return name
    if name in shipped:
        return str(shipped[name])
    raise click.UsageError(
        f"{name}: no such file, nor a scenario of 'rube sim --list'; {suggestion(Path(name).stem, shipped)}"
    )


def list_scenarios(context: click.Context) -> None:
    """Prints each scenario's name and description, and ends the command."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    written = {name: yaml.load(path.read_bytes(), loader) for name, path in shipped_scenarios().items()}
    rows = [(name, " ".join(str(scenario.get("description", "")).split())) for name, scenario in written.items()]
    formatter = context.make_formatter()
    formatter.write_dl(rows)
    click.echo(formatter.getvalue().rstrip())
    context.exit()
