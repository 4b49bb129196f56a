"""`ructl put`: objects from text format, each document at one revision or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from rube import api_pb2
from rube.api import textproto
from rube.api.errors import (
    AbortedError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotDoneError,
    RubeError,
    UnavailableError,
)
from rube.host.network import MESSAGE_BYTES_MAX
from ructl.connection import Connection, one_line, run
from ructl.options import connection_options, target
from ructl.output import place

STDIN = "-"
_SUFFIX = ".textproto"
# Of a list of objects in an error.
_NAMED_MAX = 5


@click.command("put")
@click.argument("sources", nargs=-1, metavar="[FILE|DIRECTORY|-]…", type=click.Path(allow_dash=True))
@click.option("-R", "--recursive", is_flag=True, help="Also the directories in a DIRECTORY.")
@connection_options
def command(
    sources: tuple[str, ...], recursive: bool, server: str | None, node_socket: str | None, timeout_s: float | None
) -> None:
    """Creates or replaces objects from files, the *.textproto of directories, or standard input.

    \b
    ructl put < put.textproto
    ructl put web.textproto db.textproto
    ructl put -R units/

    Everything is read before anything is put: an error in one file puts nothing. A document is one api.Object, or
    after the line `# proto-message: List` an api.List, whose objects are put at one revision or not at all. Several
    documents may follow each other in a file, each under its own `# proto-message:` line. At the first document that
    the server refuses it ends, and says what was stored before it. Thousands of objects are put much faster as Lists
    of a hundred.
    """
    where = target(server, node_socket, timeout_s)
    documents = _read_all(sources or (STDIN,), recursive)
    run(where, lambda connection: _put_all(connection, documents))


async def _put_all(connection: Connection, documents: Sequence[textproto.Document]) -> None:
    for index, document in enumerate(documents):
        request = api_pb2.PutRequest(objects=document.objects)
        try:
            _check_size(request)
            response = await connection.put(request)
        except RubeError as error:
            raise _failed(error, documents, index) from error
        for metadata in response.metadata:
            click.echo(f"put {place(metadata)} revision {metadata.revision}")


def _check_size(request: api_pb2.PutRequest) -> None:
    size = request.ByteSize()
    if size > MESSAGE_BYTES_MAX:
        raise InvalidArgumentError(
            f"the document has {size} bytes and a request at most {MESSAGE_BYTES_MAX}: split it, or make it smaller"
        )


def _failed(error: RubeError, documents: Sequence[textproto.Document], index: int) -> RubeError:
    """Says in which document, what is stored, and what is not or perhaps not."""
    document = documents[index]
    unknown = isinstance(error, (UnavailableError, DeadlineExceededError)) and not isinstance(error, NotDoneError)
    parts = [f"{document.filename}:{document.line}: {one_line(error)}"]
    if isinstance(error, AbortedError):
        gone = error.metadata.get("revision") == "0"
        remedy = "to create it, leave" if gone else "get it and change that, or to overwrite it leave"
        parts.append(f"{remedy} metadata.revision and metadata.uid out")
    if unknown:
        parts.append(f"perhaps stored: {_names(documents[index : index + 1])} (putting it again does no harm)")
    if index:
        parts.append(f"stored: {_names(documents[:index])}")
    missing = documents[index + unknown :]
    if missing and len(documents) > 1:
        parts.append(f"not stored: {_names(missing)}")
    return type(error)("; ".join(parts), **error.metadata)


def _names(documents: Sequence[textproto.Document]) -> str:
    places = [place(obj.metadata) for document in documents for obj in document.objects]
    more = f" and {len(places) - _NAMED_MAX} more" if len(places) > _NAMED_MAX else ""
    return ", ".join(places[:_NAMED_MAX]) + more


def _read_all(sources: Sequence[str], recursive: bool) -> list[textproto.Document]:
    """Every document of every source; raises one error that lists the errors of all files."""
    documents: list[textproto.Document] = []
    errors: list[str] = []
    for source in sources:
        for filename in _files(source, recursive):
            try:
                documents.extend(textproto.parse_documents(_text(filename), _shown(filename)))
            except InvalidArgumentError as error:
                errors.append(one_line(error))
    if errors:
        raise click.ClickException("\nructl: ".join([*errors, "nothing was put"] if len(errors) > 1 else errors))
    return documents


def _files(source: str, recursive: bool) -> Iterator[str]:
    path = Path(source)
    if source == STDIN or not path.is_dir():
        yield source
        return
    found = sorted(path.rglob(f"*{_SUFFIX}") if recursive else path.glob(f"*{_SUFFIX}"))
    if not found:
        raise click.ClickException(
            f"{source}: no *{_SUFFIX} in this directory{'' if recursive else ' (-R looks deeper)'}"
        )
    yield from map(str, found)


def _text(filename: str) -> str:
    """Raises InvalidArgumentError for what cannot be read or is not text."""
    if filename == STDIN and sys.stdin.isatty():
        click.echo("ructl: reading from the terminal; end with Ctrl-D", err=True)
    try:
        raw = sys.stdin.buffer.read() if filename == STDIN else Path(filename).read_bytes()
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidArgumentError(f"{_shown(filename)}:{line}: it is not UTF-8 text; put takes text format") from error
    except OSError as error:
        raise InvalidArgumentError(f"{_shown(filename)}: {error.strerror}") from error


def _shown(filename: str) -> str:
    return "<stdin>" if filename == STDIN else filename
