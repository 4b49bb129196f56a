"""`ructl diff`: the changes that a put or an apply of the same files would make."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence

import click

from rube.api import ApplyRequest, Object, PutRequest, textproto
from rube.api.errors import FieldConflictError, InvalidArgumentError, NotFoundError, RubeError
from rube.api.keys import ObjectKey, key_of
from ructl.apply import OWNER_DEFAULT, applied_documents, worded
from ructl.cluster_types import TYPES
from ructl.connection import Connection, ask, one_line
from ructl.options import server_options, server_target
from ructl.output import place, written
from ructl.put import check_size
from ructl.sources import read_all, source_options

EXIT_TROUBLE = 2
Predict = Callable[[Connection, Sequence[Object]], Awaitable[Sequence[Object]]]
"""Returns the objects as they would be."""


@click.command("diff")
@source_options
@click.option(
    "-f",
    "--filename",
    "applied",
    multiple=True,
    metavar="FILE|DIRECTORY|-",
    type=click.Path(allow_dash=True),
    help="Show what 'ructl apply -f' would change. Several times for several.",
)
@click.option("--owner", metavar="NAME", help=f"For -f: who would apply.  [default: {OWNER_DEFAULT}]")
@click.option("--force", is_flag=True, help="For -f: show also what --force would take over.")
@server_options
@click.pass_context
def command(
    context: click.Context,
    sources: tuple[str, ...],
    recursive: bool,
    file_format: str | None,
    applied: tuple[str, ...],
    owner: str | None,
    force: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Shows what `ructl put` of the same files would change, with -f `ructl apply`, as a unified diff of text format.

    \b
    ructl diff web.textproto
    ructl diff -R units/
    ructl diff -f units/
    ructl get -t Unit web -o yaml | sed s/8780/8781/ | ructl diff

    The server checks the objects and says what it would store; nothing is stored. Only what a user writes is compared:
    spec, labels, annotations and owners. Exit codes, as those of diff: 0 if nothing would change, 1 if something
    would, 2 for an error.
    """
    if applied and (sources or recursive):
        raise click.UsageError("-f is for what apply would change, and files without -f for what put would: not both")
    if (owner or force) and not applied:
        raise click.UsageError("--owner and --force are for -f")
    try:
        where = server_target(server, timeout_s)
        deep = recursive or bool(applied)
        documents = read_all(applied or sources, deep, file_format, undone="nothing was compared")
        if applied:
            documents = list(applied_documents(documents))
        predict = _applied(owner or OWNER_DEFAULT, force) if applied else _put
        differs = ask(where, lambda connection: _diff_all(connection, documents, predict))
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _TroubleError(error.format_message()) from error
    context.exit(1 if differs else 0)


class _TroubleError(click.ClickException):
    """An error of any kind; 1 would say that there are differences."""

    exit_code = EXIT_TROUBLE


async def _put(connection: Connection, objects: Sequence[Object]) -> Sequence[Object]:
    """Returns the objects as a put would leave them."""
    request = PutRequest(objects=objects, validate_only=True)
    check_size(request)
    return (await connection.put(request)).objects


def _applied(owner: str, force: bool) -> Predict:
    async def predict(connection: Connection, objects: Sequence[Object]) -> Sequence[Object]:
        request = ApplyRequest(objects=objects, owner=owner, force=force, validate_only=True)
        check_size(request)
        try:
            return (await connection.apply(request)).objects
        except FieldConflictError as error:
            raise worded(error) from error

    return predict


async def _diff_all(connection: Connection, documents: Sequence[textproto.Document], predict: Predict) -> bool:
    differs = False
    for document in documents:
        try:
            prospects = await predict(connection, document.objects)
        except RubeError as error:
            where = f"{document.filename}:{document.line}: {one_line(error)}"
            raise type(error)(where, **error.metadata) from error
        if len(prospects) != len(document.objects):
            raise InvalidArgumentError(f"what answers at {connection.target} is too old to compare: update it")
        for prospect in prospects:
            name = f"{document.filename} {place(prospect.metadata)}"
            lines = difference(await stored_object(connection, key_of(prospect)), prospect, name)
            for line in lines:
                click.echo(line)
            differs = differs or bool(lines)
    return differs


async def stored_object(connection: Connection, key: ObjectKey) -> Object | None:
    try:
        return await connection.get(key)
    except NotFoundError:
        return None


def difference(stored: Object | None, prospect: Object, name: str, before_name: str = "") -> list[str]:
    """The lines of a unified diff of what a user writes of an object; none if that is the same."""
    before = textproto.format(written(stored), TYPES).splitlines() if stored is not None else []
    after = textproto.format(written(prospect), TYPES).splitlines()
    old = (before_name or f"stored {place(prospect.metadata)}") if stored is not None else "/dev/null"
    return list(difflib.unified_diff(before, after, old, name, lineterm=""))
