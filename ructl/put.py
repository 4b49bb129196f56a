"""`ructl put`: objects from text format, JSON and YAML, each document at one revision or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rube.api import ApplyRequest, ApplyResponse, Object, PutRequest, PutResponse, textproto
from rube.api.errors import (
    AbortedError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotDoneError,
    RubeError,
    UnavailableError,
)
from rube.host.network import MESSAGE_BYTES_MAX
from ructl.connection import Connection, ask, one_line
from ructl.deletion import waits_for
from ructl.options import server_options, server_target
from ructl.output import place, print_each, tell
from ructl.sources import read_all, source_options

# Characters of a list of objects in an error.
_NAMED_MAX = 5
_WORDS = {
    PutResponse.CREATED: "created",
    PutResponse.CHANGED: "changed",
    PutResponse.UNCHANGED: "unchanged",
}
_WOULD = {
    PutResponse.CREATED: "would create",
    PutResponse.CHANGED: "would change",
    PutResponse.UNCHANGED: "would not change",
}


@click.command("put")
@source_options
@click.option(
    "--dry-run", is_flag=True, help="Check everything and store nothing; say what would become of each object."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["textproto", "json", "yaml"]),
    help="With --dry-run: print the objects as they would be stored.",
)
@server_options
def command(
    sources: tuple[str, ...],
    recursive: bool,
    file_format: str | None,
    dry_run: bool,
    output: str | None,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Creates or replaces objects from files, the files of directories, or standard input.

    \b
    ructl put < put.textproto
    ructl put web.textproto db.yaml
    ructl put -R units/
    ructl put --dry-run web.textproto
    ructl get -t Unit web -o yaml | sed s/8780/8781/ | ructl put

    It says of each object whether it was created, changed or unchanged. Everything is read before anything is put: an
    error in one file puts nothing. A document is one api.Object, or after the line `# proto-message: List` an api.List,
    whose objects are put at one revision or not at all. Several documents may follow each other in a file, each under
    such a line of its own. At the first document that the server refuses it ends, and says what was stored
    before it. Thousands of objects are put much faster as Lists of a hundred.

    JSON and YAML follow protobuf's JSON mapping, as `ructl get -o json` prints it; what the server sets (revision, uid,
    status, …) is ignored. Their lists (`items`) are put in groups of a hundred. The format is known by the file's name,
    else by its content, else by --format.
    """
    if output and not dry_run:
        raise click.UsageError("-o is for --dry-run: 'ructl get' prints stored objects")
    where = server_target(server, timeout_s)
    documents = read_all(sources, recursive, file_format, undone="nothing was put")
    ask(where, lambda connection: _put_all(connection, documents, dry_run, output))


async def _put_all(
    connection: Connection, documents: Sequence[textproto.Document], dry_run: bool, output: str | None
) -> None:
    stored: list[Object] = []
    for index, document in enumerate(documents):
        request = PutRequest(objects=document.objects, validate_only=dry_run)
        try:
            check_size(request)
            response = await connection.put(request)
        except RubeError as error:
            raise document_error(error, documents, index, dry_run) from error
        stored.extend(response.objects)
        if not output:
            report(response, dry_run)
    if output:
        print_each(stored, output)


def report(response: PutResponse | ApplyResponse, dry_run: bool) -> None:
    for index, metadata in enumerate(response.metadata):
        outcome = response.outcomes[index] if index < len(response.outcomes) else None
        word = "put" if outcome is None else _WORDS.get(outcome, "put")
        if dry_run:
            would = "would put" if outcome is None else _WOULD.get(outcome, "would put")
            tell(f"{would} {place(metadata)}")
        else:
            tell(f"{word} {place(metadata)} revision {metadata.revision}")
        if metadata.HasField("delete_time"):
            click.echo(f"ructl: {place(metadata)} is being deleted: it {waits_for(metadata.finalizers)}", err=True)


def check_size(request: PutRequest | ApplyRequest) -> None:
    size = request.ByteSize()
    if size > MESSAGE_BYTES_MAX:
        raise InvalidArgumentError(
            f"the document has {size} bytes and a request at most {MESSAGE_BYTES_MAX}: split it, or make it smaller"
        )


def document_error(error: RubeError, documents: Sequence[textproto.Document], index: int, dry_run: bool) -> RubeError:
    """Returns an error that names the document, and the objects that are stored, are not, or may be."""
    document = documents[index]
    unknown = isinstance(error, (UnavailableError, DeadlineExceededError)) and not isinstance(error, NotDoneError)
    parts = [f"{document.filename}:{document.line}: {one_line(error)}"]
    if isinstance(error, AbortedError):
        gone = error.metadata.get("revision") == "0"
        remedy = "to create it, leave" if gone else "get it and change that, or to overwrite it leave"
        parts.append(f"{remedy} metadata.revision and metadata.uid out")
    if dry_run:
        return type(error)("; ".join(parts), **error.metadata)
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
