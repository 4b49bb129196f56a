"""The files, directories and standard input that `ructl put` and `ructl diff` read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from rube.api import textproto
from rube.api.errors import InvalidArgumentError
from rube.api.textproto.documents import TEXT_CHARS_MAX
from ructl.cluster_types import TYPES
from ructl.connection import one_line
from ructl.formats import FORMATS, format_of, parse_json, parse_yaml

STDIN = "-"
SOURCE_BYTES_MAX = TEXT_CHARS_MAX
"""The largest file. An input without an end, such as a device, is refused, too."""
_SUFFIXES = (".textproto", ".txtpb", ".json", ".yaml", ".yml")
_SHOWN_SUFFIXES = "*.textproto, *.yaml or *.json"
_PARSERS: dict[str, Callable[[str, str], list[textproto.Document]]] = {
    "textproto": lambda text, filename: textproto.parse_documents(text, filename, TYPES),
    "json": parse_json,
    "yaml": parse_yaml,
}


_FORMAT_OPTION = click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="The format of the files.  [default: by name or content]",
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the sources, -R and --format."""
    for option in (
        _FORMAT_OPTION,
        click.option("-R", "--recursive", is_flag=True, help="Also the directories in a DIRECTORY."),
        click.argument("sources", nargs=-1, metavar="[FILE|DIRECTORY|-]…", type=click.Path(allow_dash=True)),
    ):
        command = option(command)
    return command


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -f, which is `sources`, and --format, for a command whose files are all that there should be."""
    for option in (
        _FORMAT_OPTION,
        click.option(
            "-f",
            "--filename",
            "sources",
            multiple=True,
            required=True,
            metavar="FILE|DIRECTORY|-",
            type=click.Path(allow_dash=True),
            help="Several times for several; a directory with all those in it.",
        ),
    ):
        command = option(command)
    return command


def read_all(
    sources: Sequence[str], recursive: bool, file_format: str | None, *, undone: str
) -> list[textproto.Document]:
    """Returns every document of every source. Raises one error for all files, which ends with what was left
    `undone`."""
    documents: list[textproto.Document] = []
    errors: list[str] = []
    for source in sources or (STDIN,):
        for filename in _files(source, recursive):
            try:
                text = _text(filename)
                found = file_format or format_of(text, filename)
                documents.extend(_PARSERS[found](text, _shown(filename)))
            except InvalidArgumentError as error:
                errors.append(one_line(error))
    if errors:
        raise click.ClickException("\nructl: ".join([*errors, undone] if len(errors) > 1 else errors))
    return documents


def _files(source: str, recursive: bool) -> Iterator[str]:
    path = Path(source)
    if source == STDIN or not path.is_dir():
        yield source
        return
    inside = path.rglob("*") if recursive else path.glob("*")
    found = sorted(file for file in inside if file.suffix in _SUFFIXES and file.is_file())
    if not found:
        raise click.ClickException(
            f"{source}: no {_SHOWN_SUFFIXES} in this directory{'' if recursive else ' (-R looks deeper)'}"
        )
    yield from map(str, found)


def _text(filename: str) -> str:
    """Raises InvalidArgumentError for what cannot be read or is not text."""
    if filename == STDIN and sys.stdin.isatty():
        click.echo("ructl: reading from the terminal; end with Ctrl-D", err=True)
    try:
        raw = _bytes(filename)
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidArgumentError(
            f"{_shown(filename)}:{line}: it is not UTF-8 text; write text format, JSON or YAML"
        ) from error
    except OSError as error:
        raise InvalidArgumentError(f"{_shown(filename)}: {error.strerror}") from error


def _bytes(filename: str) -> bytes:
    if filename == STDIN:
        raw = sys.stdin.buffer.read(SOURCE_BYTES_MAX + 1)
    else:
        with Path(filename).open("rb") as file:
            raw = file.read(SOURCE_BYTES_MAX + 1)
    if len(raw) > SOURCE_BYTES_MAX:
        raise InvalidArgumentError(
            f"{_shown(filename)}: it has more than {SOURCE_BYTES_MAX // 1024**2} MiB; split it into several files"
        )
    return raw


def _shown(filename: str) -> str:
    return "<stdin>" if filename == STDIN else filename
