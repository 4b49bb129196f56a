"""`ructl delete`: objects by name or selector."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rube.api import DeleteRequest, Object, Precondition
from rube.api.errors import FailedPreconditionError, NotFoundError
from rube.api.keys import ObjectKey, key_of
from ructl.connection import Connection, run
from ructl.options import query_options, server_options, server_target
from ructl.output import groups, place, tell
from ructl.query import Query, parse_query

_LISTED_MAX = 20


@click.command("delete")
@query_options
@click.option("--dry-run", is_flag=True, help="Check everything and delete nothing; say what would be deleted.")
@click.option("--all", "everything", is_flag=True, help="Delete all that match, even if they are several.")
@server_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Deletes objects: those named, at one revision or not at all, or the one that a selector matches.

    \b
    ructl delete -t api.systemd.Unit -n system indexer
    ructl delete 'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }'
    ructl delete -t Unit -n test -l tier=scratch --all
    ructl delete -t Unit -n test -l tier=scratch --all --dry-run

    If a selector matches several objects, they are listed and nothing is deleted unless --all is given. It is an
    error if nothing matches.
    """
    query = parse_query(type_name, namespace, labels, names)
    run(server_target(server, timeout_s), lambda connection: _delete(connection, query, everything, dry_run))


async def _delete(connection: Connection, query: Query, everything: bool, dry_run: bool) -> None:
    if keys := query.exact_keys():
        request = DeleteRequest(keys=[key.to_proto() for key in keys], validate_only=dry_run)
        _report(keys, (await connection.delete(request)).revision, dry_run)
        return
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}, so nothing was deleted")
    if len(found) > max(1, len(query.names)) and not everything:
        raise FailedPreconditionError(_refusal(query, found))
    for batch in groups(found):
        response = await connection.delete(_listed(batch, dry_run))
        _report([key_of(obj) for obj in batch], response.revision, dry_run)


def _listed(objects: Sequence[Object], dry_run: bool) -> DeleteRequest:
    """Deletes exactly the objects that were listed, not others of their names made since."""
    request = DeleteRequest(validate_only=dry_run)
    for obj in objects:
        key = key_of(obj).to_proto()
        request.keys.append(key)
        request.preconditions.append(Precondition(key=key, uid=obj.metadata.uid))
    return request


def _refusal(query: Query, found: Sequence[Object]) -> str:
    listed = ", ".join(place(obj.metadata) for obj in found[:_LISTED_MAX])
    more = f" and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
    return (
        f"{len(found)} objects match {query}: {listed}{more}; nothing was deleted: "
        "name one with -n NAMESPACE NAME, or delete them all with --all"
    )


def _report(keys: Sequence[ObjectKey], revision: int, dry_run: bool) -> None:
    for key in keys:
        tell(f"would delete {place(key)}" if dry_run else f"deleted {place(key)} revision {revision}")
