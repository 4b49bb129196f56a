"""`rube sim`, called as on a command line."""

from __future__ import annotations

from click.testing import CliRunner, Result

from rube.cli.main import rube


def sim(*arguments: object) -> Result:
    return CliRunner().invoke(rube, ["sim", *map(str, arguments)])
