"""`ructl diff`: the changes that a put of the same files would make."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

from rube.api import Object, PutRequest, textproto
from rube.api.errors import InvalidArgumentError, NotFoundError, RubeError
from rube.api.keys import key_of
from ructl.connection import Connection, one_line, run
from ructl.options import server_options, server_target
from ructl.output import place, written
from ructl.put import check_size
from ructl.sources import read_all, source_options

EXIT_TROUBLE = 2


@click.command("diff")
@source_options
@server_options
@click.pass_context
def command(
    context: click.Context,
    sources: tuple[str, ...],
    recursive: bool,
    file_format: str | None,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Shows what `ructl put` of the same files would change, as a unified diff of text format.

    \b
    ructl diff web.textproto
    ructl diff -R units/
    ructl get -t Unit web -o yaml | sed s/8780/8781/ | ructl diff

    The server checks the objects and says what it would store; nothing is stored. Only what a user writes is compared:
    spec, labels, annotations and owners. Exit codes, as those of diff: 0 if nothing would change, 1 if something
    would, 2 for an error.
    """
    try:
        where = server_target(server, timeout_s)
        documents = read_all(sources, recursive, file_format, undone="nothing was compared")
        differs = run(where, lambda connection: _diff_all(connection, documents))
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _TroubleError(error.format_message()) from error
    context.exit(1 if differs else 0)


class _TroubleError(click.ClickException):
    """An error of any kind; 1 would say that there are differences."""

    exit_code = EXIT_TROUBLE


async def _diff_all(connection: Connection, documents: Sequence[textproto.Document]) -> bool:
    differs = False
    for document in documents:
        request = PutRequest(objects=document.objects, validate_only=True)
        try:
            check_size(request)
            prospects = (await connection.put(request)).objects
        except RubeError as error:
            where = f"{document.filename}:{document.line}: {one_line(error)}"
            raise type(error)(where, **error.metadata) from error
        if len(prospects) != len(document.objects):
            raise InvalidArgumentError(f"what answers at {connection.target} is too old to compare: update it")
        for prospect in prospects:
            lines = _difference(await _stored(connection, prospect), prospect, document.filename)
            for line in lines:
                click.echo(line)
            differs = differs or bool(lines)
    return differs


async def _stored(connection: Connection, prospect: Object) -> Object | None:
    try:
        return await connection.get(key_of(prospect))
    except NotFoundError:
        return None


def _difference(stored: Object | None, prospect: Object, filename: str) -> list[str]:
    before = textproto.format(written(stored)).splitlines() if stored is not None else []
    after = textproto.format(written(prospect)).splitlines()
    name = place(prospect.metadata)
    old = f"stored {name}" if stored is not None else "/dev/null"
    return list(difflib.unified_diff(before, after, old, f"{filename} {name}", lineterm=""))
