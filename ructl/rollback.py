"""`ructl rollback`: an object as it was at a revision."""

from __future__ import annotations

import click

from rube.api import Metadata, Object, Precondition, PutRequest, PutResponse
from rube.api.errors import AbortedError, CompactedError, NotFoundError
from rube.api.keys import ObjectKey
from rube.api.well_known import NODE_LABEL
from ructl.connection import Connection, ask
from ructl.diff import difference, stored_object
from ructl.history import one_key
from ructl.options import query_options, server_options, server_target
from ructl.output import place, tell, written
from ructl.query import Query, parse_query

OWNER = "ructl-rollback"
"""The owner of the fields that a rollback changes."""


@click.command("rollback")
@query_options
@click.option(
    "--to-revision", type=click.IntRange(min=1), required=True, metavar="N", help="As 'ructl history' shows them."
)
@click.option("--dry-run", is_flag=True, help="Check everything and store nothing; show what would change.")
@server_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    to_revision: int,
    dry_run: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Makes an object what it was at a revision, and shows the difference.

    \b
    ructl history -t Unit -n system indexer
    ructl rollback -t Unit -n system indexer --to-revision 4711 --dry-run
    ructl rollback -t Unit -n system indexer --to-revision 4711

    Spec, labels and annotations are put as they were then; this is a new version, and what was between stays in the
    history. The node that a unit is bound to, requests to Rube (rube/…), owners and finalizers stay as they are now,
    and the status says what is. If the object has changed meanwhile nothing is written.

    An object that was deleted is created anew, with its node of then, and its owners of then that are there: it is
    another object, with a uid of its own. Name it with its namespace.
    """
    query = parse_query(type_name, namespace, labels, names)
    ask(server_target(server, timeout_s), lambda connection: _rollback(connection, query, to_revision, dry_run))


async def _rollback(connection: Connection, query: Query, revision: int, dry_run: bool) -> None:
    key = await one_key(connection, query)
    then = await _then(connection, key, revision)
    now = await stored_object(connection, key)
    if now is None:
        await _find_owners(connection, then)
    request = request_for(then, now)
    request.validate_only = True
    prospect = await connection.put(request)
    for line in difference(now, prospect.objects[0], f"{place(key)} at revision {revision}"):
        click.echo(line)
    if prospect.outcomes[0] == PutResponse.UNCHANGED:
        tell(f"{place(key)} is as it was at revision {revision} already")
        return
    if dry_run:
        would = "create anew" if now is None else "roll back"
        tell(f"would {would} {place(key)} as it was at revision {revision}")
        return
    request.validate_only = False
    try:
        stored = (await connection.put(request)).metadata[0]
    except AbortedError as error:
        raise AbortedError(f"{error.message}; nothing was written: look again", **error.metadata) from error
    did = "created anew" if now is None else "rolled back"
    tell(f"{did} {place(key)} as it was at revision {revision}: revision {stored.revision}")


async def _find_owners(connection: Connection, then: Object) -> None:
    """Gives the object's references the uids that its owners have now, and leaves out those to owners that are gone:
    the garbage collector would delete the object again."""
    references = list(then.metadata.owner_references)
    then.metadata.ClearField("owner_references")
    for reference in references:
        key = ObjectKey(reference.type, reference.namespace, reference.name)
        try:
            reference.uid = (await connection.get(key)).metadata.uid
        except NotFoundError:
            tell(f"its owner {place(key)} is gone, so it has that owner no more")
            continue
        then.metadata.owner_references.append(reference)


async def _then(connection: Connection, key: ObjectKey, revision: int) -> Object:
    see = f"'ructl history {key}' shows its versions"
    try:
        return await connection.get(key, revision=revision)
    except NotFoundError as error:
        raise NotFoundError(f"{place(key)} did not exist at revision {revision}: {see}") from error
    except CompactedError as error:
        raise CompactedError(f"{error.message}; {see}", **error.metadata) from error


def request_for(then: Object, now: Object | None) -> PutRequest:
    """Returns the put that makes the object of `now` (None: there is none) what it was. Pure."""
    wanted = written(then)
    metadata = wanted.metadata
    if now is None:
        return PutRequest(objects=[wanted], preconditions=[Precondition(absent=True)], owner=OWNER)
    metadata.labels.pop(NODE_LABEL, None)
    metadata.ClearField("owner_references")
    metadata.MergeFrom(Metadata(owner_references=now.metadata.owner_references))
    metadata.revision, metadata.uid = now.metadata.revision, now.metadata.uid
    return PutRequest(objects=[wanted], owner=OWNER)
