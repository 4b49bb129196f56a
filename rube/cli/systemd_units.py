"""`rube systemd-units`: the units with which systemd runs Rube's own daemons."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

__all__ = ["UNITS", "install_units", "systemd_units", "unit_text"]

# No name begins with `rube-`: drop-ins in rube-.service.d are for the units that users put (rube.units.names).
UNITS = ("rubeapiserver", "rubelet")
_TEMPLATES = Path(__file__).parent / "services"


def unit_text(unit: str, bin_directory: Path) -> str:
    """The unit file that runs the commands in `bin_directory`."""
    template = (_TEMPLATES / f"{unit}.service").read_text(encoding="utf-8")
    return template.replace("@BIN@", str(bin_directory).replace("%", "%%"))


def install_units(directory: Path, units: Sequence[str], bin_directory: Path) -> list[Path]:
    """Writes the unit files, over older ones; a drop-in beside them stays. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{unit}.service" for unit in units]
    for unit, path in zip(units, paths, strict=True):
        path.write_text(unit_text(unit, bin_directory), encoding="utf-8")
        path.chmod(0o644)
    return paths


def _bin_directory() -> Path:
    return Path(sys.executable).absolute().parent


@click.command("systemd-units")
@click.argument("units", nargs=-1, type=click.Choice(UNITS), metavar="[UNIT…]")
@click.option("--print", "shown", is_flag=True, help="Print the unit files; without --install this is the default.")
@click.option(
    "--install",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the unit files there, such as to /etc/systemd/system.",
)
@click.option(
    "--bin",
    "bin_directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=_bin_directory,
    metavar="DIR",
    show_default="this installation's",
    help="Where the commands rube and rubelet are.",
)
def systemd_units(units: tuple[str, ...], shown: bool, directory: Path | None, bin_directory: Path) -> None:
    """Prints or installs the systemd units rubeapiserver and rubelet.

    \b
    Examples:
      rube systemd-units rubelet
      rube systemd-units --install /etc/systemd/system
      systemctl daemon-reload && systemctl enable --now rubeapiserver rubelet

    The daemons' options are in /etc/default/rubeapiserver (RUBE_STORE, RUBE_LISTEN, RUBE_APISERVER_OPTIONS) and
    /etc/default/rubelet (RUBE_SERVER, RUBELET_OPTIONS).
    """
    wanted = tuple(dict.fromkeys(units)) or UNITS
    if shown or directory is None:
        click.echo("\n".join(unit_text(unit, bin_directory.absolute()) for unit in wanted), nl=False)
    if directory is None:
        return
    try:
        paths = install_units(directory, wanted, bin_directory.absolute())
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or directory}: {error.strerror}") from error
    for path in paths:
        click.echo(f"wrote {path}", err=shown)
    click.echo(f"next: systemctl daemon-reload && systemctl enable --now {' '.join(wanted)}", err=shown)
