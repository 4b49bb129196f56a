"""`ructl apply`: objects as their files say, beside what others own in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import click

from rube.api import ApplyRequest, DeleteRequest, Object, Precondition, textproto
from rube.api.errors import FieldConflictError, RubeError
from rube.api.keys import ObjectKey, key_of
from ructl.completion import complete_labels, complete_types
from ructl.connection import Connection, ask
from ructl.options import server_options, server_target
from ructl.output import groups, place, tell
from ructl.places import full_type_name
from ructl.put import check_size, document_error, report
from ructl.query import Query, parse_query
from ructl.sources import STDIN, file_options, read_all

OWNER_DEFAULT = "ructl"
GROUP_OBJECTS_MAX = 50
"""Every store takes so many objects with their owners at one revision."""


class Prune(NamedTuple):
    """The objects to delete: with the labels, of the types, if they are not in the files and the owner has a part of
    them."""

    labels: str
    types: tuple[str, ...]
    sure: bool


@click.command("apply")
@file_options
@click.option(
    "--owner", default=OWNER_DEFAULT, show_default=True, metavar="NAME", help="Who applies: owns what the files set."
)
@click.option("--force", is_flag=True, help="Take fields with other values from their owners.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything and store nothing; say what would become of each object."
)
@click.option("--prune", is_flag=True, help="Then delete what has the labels of -l, is this owner's and in no file.")
@click.option(
    "-l",
    "--labels",
    metavar="SELECTOR",
    shell_complete=complete_labels,
    help="For --prune, such as 'app=shop'. The objects in the files should have them.",
)
@click.option(
    "--prune-type",
    "prune_types",
    multiple=True,
    metavar="TYPE",
    shell_complete=complete_types,
    help="For --prune: also where no file has one. Several times for several.  [default: the types in the files]",
)
@click.option("--yes", is_flag=True, help="For --prune: don't ask.")
@server_options
def command(
    sources: tuple[str, ...],
    file_format: str | None,
    owner: str,
    force: bool,
    dry_run: bool,
    prune: bool,
    labels: str | None,
    prune_types: tuple[str, ...],
    yes: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Makes objects what files say, and leaves alone what others own in them.

    \b
    ructl apply -f web.textproto
    ructl apply -f units/ -f nodes.yaml --owner shop
    ructl apply -f units/ --prune -l app=shop
    ructl diff -f units/
    ructl get -t Unit web --show-owners

    A field that is in the files belongs to the owner; several can own a field whose value is the same. A field with
    another value and another owner is a conflict, and nothing of its document is stored: the error names every such
    field and its owner, and --force takes them over. A field that was in the files at the last apply and is not any
    more is removed, unless another one owns it too. Fields that were put belong to 'put'.

    A DIRECTORY is read with all those in it. Documents are read as 'ructl put' reads them; each is stored at one
    revision or not at all, one of more than 50 objects in groups of 50.

    --prune deletes, after everything was applied, the objects that have the labels, that this owner owns something of,
    and that are in no file; of the types in the files, in the namespaces in the files. It shows them and asks.
    """
    if prune != bool(labels):
        raise click.UsageError("--prune and -l SELECTOR go together: the labels say what may be deleted")
    if not prune and (prune_types or yes):
        raise click.UsageError("--prune-type and --yes are for --prune")
    if prune and not (yes or dry_run) and STDIN in sources:
        raise click.UsageError("--prune asks, and standard input has the objects: add --yes, or look with --dry-run")
    where = server_target(server, timeout_s)
    documents = list(applied_documents(read_all(sources, True, file_format, undone="nothing was applied")))
    wanted = None if labels is None else Prune(labels, tuple(map(full_type_name, prune_types)), yes)
    ask(where, lambda connection: _apply_all(connection, documents, owner, force, dry_run, wanted))


def applied_documents(documents: Iterable[textproto.Document]) -> Iterator[textproto.Document]:
    """Yields the documents in pieces that every store takes with their owners."""
    for document in documents:
        for group in groups(document.objects, objects_max=GROUP_OBJECTS_MAX):
            yield textproto.Document(objects=tuple(group), filename=document.filename, line=document.line)


async def _apply_all(
    connection: Connection,
    documents: Sequence[textproto.Document],
    owner: str,
    force: bool,
    dry_run: bool,
    prune: Prune | None,
) -> None:
    for index, document in enumerate(documents):
        request = ApplyRequest(objects=document.objects, owner=owner, force=force, validate_only=dry_run)
        try:
            check_size(request)
            response = await connection.apply(request)
        except RubeError as error:
            raise document_error(worded(error), documents, index, dry_run) from error
        report(response, dry_run)
    if prune is not None:
        objects = [obj for document in documents for obj in document.objects]
        await _prune(connection, objects, owner, prune, dry_run)


def worded(error: RubeError) -> RubeError:
    """Returns a conflict in the words of options."""
    if not isinstance(error, FieldConflictError):
        return error
    return FieldConflictError(error.message.replace("with force", "with --force"), **error.metadata)


async def _prune(connection: Connection, objects: Sequence[Object], owner: str, prune: Prune, dry_run: bool) -> None:
    found = await _surplus(connection, objects, owner, prune)
    if not found:
        return
    if dry_run or not prune.sure:
        for obj in found:
            tell(f"would prune {place(obj.metadata)}")
    if dry_run:
        return
    if not prune.sure:
        what = "this object" if len(found) == 1 else f"these {len(found)} objects"
        if not click.confirm(f"Delete {what}?"):
            raise click.ClickException("nothing was pruned")
    for batch in groups(found, objects_max=GROUP_OBJECTS_MAX):
        request = DeleteRequest()
        for obj in batch:
            key = key_of(obj).to_proto()
            request.keys.append(key)
            request.preconditions.append(Precondition(key=key, uid=obj.metadata.uid))
        response = await connection.delete(request)
        for obj in batch:
            tell(f"pruned {place(obj.metadata)} revision {response.revision}")


async def _surplus(connection: Connection, objects: Sequence[Object], owner: str, prune: Prune) -> list[Object]:
    """Returns the objects to delete, by key."""
    kept = {key_of(obj) for obj in objects}
    places = {(key.type, key.namespace) for key in kept}
    if prune.types:
        namespaces = {key.namespace for key in kept if key.namespace} | {""}
        places = {(type_name, namespace) for type_name in prune.types for namespace in namespaces}
    found: dict[ObjectKey, Object] = {}
    for type_name, namespace in sorted(places):
        query = _query(type_name, namespace, prune.labels)
        if query is None:
            continue
        for obj in await connection.list_objects(query):
            key = key_of(obj)
            if key not in kept and obj.metadata.field_owners and await _owns(connection, key, owner):
                found[key] = obj
    return [found[key] for key in sorted(found)]


def _query(type_name: str, namespace: str, labels: str) -> Query | None:
    """Returns the query for a type in one namespace, or outside of them; None where the type is not."""
    from ructl.cluster_types import TYPES

    if TYPES.kind(type_name).namespaced != bool(namespace):
        return None
    return parse_query(type_name, namespace or None, labels, ())


async def _owns(connection: Connection, key: ObjectKey, owner: str) -> bool:
    return owner in {item.owner for item in (await connection.owners(key)).items}
