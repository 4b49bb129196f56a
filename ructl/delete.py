"""`ructl delete`: objects by name or selector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import zip_longest

import click

from rube.api import DeleteRequest, DeleteResponse, Object, Precondition
from rube.api.errors import FailedPreconditionError, NotFoundError
from rube.api.keys import ObjectKey, key_of
from ructl.connection import Connection, run
from ructl.deletion import waits_for
from ructl.following import Follower, until_nothing_lacks
from ructl.options import query_options, server_options, server_target, within_option
from ructl.output import groups, place, tell
from ructl.query import Query, parse_query
from ructl.wait import LateError

_LISTED_MAX = 20
# A wait that is longer is explained.
_QUIET_S = 2.0


@click.command("delete")
@query_options
@click.option("--dry-run", is_flag=True, help="Check everything and delete nothing; say what would be deleted.")
@click.option("--all", "everything", is_flag=True, help="Delete all that match, even if they are several.")
@click.option(
    "--propagation",
    type=click.Choice(["background", "foreground", "orphan"]),
    help="What becomes of what they own: deleted after them (the default), before them, or left without these owners.",
)
@click.option("--no-wait", is_flag=True, help="Return at once, also where finalizers hold an object up.")
@within_option("How long to wait until they are gone.")
@server_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    propagation: str | None,
    no_wait: bool,
    within_s: float,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Deletes objects: those named, at one revision or not at all, or the one that a selector matches.

    \b
    ructl delete -t api.systemd.Unit -n system indexer
    ructl delete 'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }'
    ructl delete -t Unit -n test -l tier=scratch --all
    ructl delete -t Unit -n test -l tier=scratch --all --dry-run

    An object with finalizers stays until whoever set them has done its work: the command waits, and says what holds it
    up. With --no-wait, and after --within, the deletion goes on all the same; the exit code is 3 in the second case.

    If a selector matches several objects, they are listed and nothing is deleted unless --all is given. It is an
    error if nothing matches.
    """
    query = parse_query(type_name, namespace, labels, names)
    how = DeleteRequest(validate_only=dry_run)
    if propagation is not None:
        how.propagation = DeleteRequest.Propagation.Value(propagation.upper())
    late = run(
        server_target(server, timeout_s),
        lambda connection: _delete(connection, query, how, everything=everything, within_s=0 if no_wait else within_s),
    )
    if late:
        raise LateError(late)


async def _delete(
    connection: Connection, query: Query, how: DeleteRequest, *, everything: bool, within_s: float
) -> str:
    """Returns "" once all are gone, or are not waited for (`within_s` 0), or what is left after that time."""
    waiting = [pair async for pair in _deleted(connection, query, how, everything=everything)]
    if how.validate_only or not within_s:
        return ""
    return await _until_gone(connection, waiting, within_s)


async def _deleted(
    connection: Connection, query: Query, how: DeleteRequest, *, everything: bool
) -> AsyncIterator[tuple[ObjectKey, str]]:
    """Deletes; yields the key and the uid of each object that waits."""
    if keys := query.exact_keys():
        request = DeleteRequest(keys=[key.to_proto() for key in keys])
        request.MergeFrom(how)
        for waiting in _report(keys, await connection.delete(request), how.validate_only):
            yield waiting
        return
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}, so nothing was deleted")
    if len(found) > max(1, len(query.names)) and not everything:
        raise FailedPreconditionError(_refusal(query, found))
    for batch in groups(found):
        request = _listed(batch)
        request.MergeFrom(how)
        for waiting in _report([key_of(obj) for obj in batch], await connection.delete(request), how.validate_only):
            yield waiting


def _listed(objects: Sequence[Object]) -> DeleteRequest:
    """Deletes exactly the objects that were listed, not others of their names made since."""
    request = DeleteRequest()
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


def _report(keys: Sequence[ObjectKey], response: DeleteResponse, dry_run: bool) -> list[tuple[ObjectKey, str]]:
    """Says what became of each object; returns those that wait."""
    waiting: list[tuple[ObjectKey, str]] = []
    for key, deletion in zip_longest(keys, response.deletions[: len(keys)]):
        if deletion is None or deletion.gone:  # an older server says nothing of finalizers, and knows none
            tell(f"would delete {place(key)}" if dry_run else f"deleted {place(key)} revision {response.revision}")
        else:
            begun = "would begin to delete" if dry_run else "deleting"
            tell(f"{begun} {place(key)}: {waits_for(list(deletion.finalizers))}")
            waiting.append((key, deletion.uid))
    return waiting


async def _until_gone(connection: Connection, waiting: Sequence[tuple[ObjectKey, str]], within_s: float) -> str:
    end_s = asyncio.get_running_loop().time() + within_s
    for key, uid in waiting:
        query = Query(type=key.type, namespace=key.namespace, names=(key.name,))

        def lack(found: list[Object], key: ObjectKey = key, uid: str = uid) -> str:
            there = [obj.metadata for obj in found if obj.metadata.uid == uid]
            return f"{place(key)} {waits_for(list(there[0].finalizers))}" if there else ""

        unknown = f"what {connection.target} holds is not known yet"
        late = await until_nothing_lacks(Follower(connection, query), lack, min(_QUIET_S, within_s), unknown)
        if late:
            click.echo(f"ructl: {late}; ructl describe says more", err=True)
            left_s = max(end_s - asyncio.get_running_loop().time(), 0.0)
            late = await until_nothing_lacks(Follower(connection, query), lack, left_s, late)
        if late:
            return f"waited {within_s:g} s: {late}; the deletion goes on"
        tell(f"deleted {place(key)}")
    return ""
