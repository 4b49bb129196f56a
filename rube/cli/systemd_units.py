"""`rube systemd-units`: the units with which systemd runs Rube's own daemons."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

UNITS = ("rubeapiserver", "rubelet")
"""No name begins with `rube-`: drop-ins in rube-.service.d are for the units that users put (rube.units.names)."""
_TEMPLATES = Path(__file__).parent / "services"
_COMMANDS = {"rubeapiserver": "rube", "rubelet": "rubelet"}
# The directories that a directive of a sandbox hides from what runs in it.
_HIDDEN = {
    "ProtectHome=yes": (Path("/home"), Path("/root"), Path("/run/user")),
    "PrivateTmp=yes": (Path("/tmp"), Path("/var/tmp")),
}
_SHEBANG_BYTES_MAX = 1024


def unit_text(unit: str, bin_directory: Path) -> str:
    """The unit file that runs the commands in `bin_directory`."""
    return re.sub(r"@BIN@(/\S+)", lambda found: _word(f"{bin_directory}{found[1]}"), _template(unit))


def why_hidden(unit: str, bin_directory: Path) -> str:
    """Returns why the unit could not start the command in `bin_directory` (203/EXEC); "" if nothing hides it."""
    directives = _template(unit).splitlines()
    for program in _programs(bin_directory / _COMMANDS[unit]):
        for directive, hidden in _HIDDEN.items():
            if directive in directives and any(program.is_relative_to(directory) for directory in hidden):
                return (
                    f"{unit}.service cannot run {program}: {directive} hides {', '.join(map(str, hidden))} from it; "
                    "install Rube with a Python that is elsewhere (/usr/bin/python3 -m venv /opt/rube) and name the "
                    "commands' directory (--bin /opt/rube/bin)"
                )
    return ""


def install_units(directory: Path, units: Sequence[str], bin_directory: Path) -> list[Path]:
    """Writes the unit files, over older ones; a drop-in beside them stays. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{unit}.service" for unit in units]
    for unit, path in zip(units, paths, strict=True):
        path.write_text(unit_text(unit, bin_directory), encoding="utf-8")
        path.chmod(0o644)
    return paths


def _template(unit: str) -> str:
    return (_TEMPLATES / f"{unit}.service").read_text(encoding="utf-8")


def _word(path: str) -> str:
    """The path of a program as ExecStart= takes it (systemd.syntax(7)), where `$` stands for itself."""
    word = path.replace("%", "%%")
    if re.fullmatch(r"[\w/.%+,:@=-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", escaped) + '"'


def _programs(command: Path) -> Iterator[Path]:
    """The files that have to be there to run a command: itself and its interpreter, as named and as links lead."""
    named = [command]
    try:
        with command.open("rb") as file:
            first_line = file.readline(_SHEBANG_BYTES_MAX)
    except OSError:
        first_line = b""  # a package is built elsewhere than it is installed
    if first_line.startswith(b"#!") and (words := first_line[2:].split()):
        named.append(Path(os.fsdecode(words[0])))
    for path in named:
        yield path
        yield path.resolve()


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
    bin_directory = bin_directory.absolute()
    for trouble in filter(None, (why_hidden(unit, bin_directory) for unit in wanted)):
        if directory is not None:
            raise click.ClickException(trouble)
        click.echo(f"warning: {trouble}", err=True)
    if shown or directory is None:
        click.echo("\n".join(unit_text(unit, bin_directory) for unit in wanted), nl=False)
    if directory is None:
        return
    try:
        paths = install_units(directory, wanted, bin_directory)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or directory}: {error.strerror}") from error
    for path in paths:
        click.echo(f"wrote {path}", err=shown)
    click.echo(f"next: systemctl daemon-reload && systemctl enable --now {' '.join(wanted)}", err=shown)
