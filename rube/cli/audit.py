"""`rube audit`: judges an audit log's files. `ructl audit` asks a server for its lines."""

from __future__ import annotations

from pathlib import Path

import click

from rube.api.errors import DataLossError
from rube.cli.audit_files import RealAuditFiles
from rube.console import WholeGroup
from rube.server.audit.lines import ChainHead, verify


@click.group(cls=WholeGroup)
def audit() -> None:
    """Judges the files of an audit log (rube apiserver --audit FILE).

    \b
    rube audit verify /var/log/rube/audit.jsonl
    """


@audit.command("verify", short_help="Say whether any line was removed, changed or moved.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--head",
    metavar="SEQUENCE:HASH",
    help="A line that has to be there, as an earlier run printed it: shows lines that were cut off at the end.",
)
def verify_command(file: Path, head: str | None) -> None:
    """Says whether any line was removed, changed or moved, and prints the last line's number and hash.

    Exit code 1 for a log that is not whole.

    \b
    rube audit verify /var/log/rube/audit.jsonl
    rube audit verify copy.jsonl --head 4711:52a0…

    FILE is what the server was given, or a copy of its lines (ructl audit -o json), in one file. A log that was
    made anew from some line on is whole, too: keep a copy elsewhere, or the heads.
    """
    contents = [(path.name, path.read_bytes()) for path in _files(file)]
    if not contents:
        raise click.ClickException(f"{file}: there is no such file, and none that is named {file.name}.NUMBER")
    try:
        found = verify(contents)
        _check_head(contents, found.head, head)
    except DataLossError as error:
        raise click.ClickException(f"{file}: {error.message}") from error
    click.echo(f"whole: lines {found.first} to {found.head.sequence}, {found.first_time} to {found.last_time}")
    if found.first > 1:
        click.echo(f"lines before {found.first} are not there: the oldest files go as new ones come")
    click.echo(f"head: {found.head}")


def _files(file: Path) -> list[Path]:
    files = RealAuditFiles(file)
    parts = [files.path_of(part) for part in files.parts()]
    return parts or ([file] if file.is_file() else [])


def _check_head(contents: list[tuple[str, bytes]], last: ChainHead, wanted: str | None) -> None:
    if wanted is None:
        return
    number, _, digest = wanted.partition(":")
    if not number.isdecimal() or not digest:
        raise click.BadParameter("write SEQUENCE:HASH, as this command prints it", param_hint="--head")
    if int(number) > last.sequence:
        raise DataLossError(f"line {number} is not there: the log ends with line {last.sequence}")
    mark = f'"hash":"{digest}"}}\n'.encode()
    beginning = f'{{"sequence":{number},'.encode()
    for _, content in contents:
        for line in content.splitlines(keepends=True):
            if line.startswith(beginning):
                if not line.endswith(mark):
                    raise DataLossError(f"line {number} is another one than the head says: the log was made anew")
                return
    raise DataLossError(f"line {number} is not there any more: its file had to go")
