"""`ructl watch`: changes as they happen, over lost connections and restarted servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing

import click

from rube.api import Event, textproto
from rube.client import Change
from ructl.cluster_types import TYPES
from ructl.connection import Connection, run
from ructl.following import Follower, until_stopped
from ructl.options import connection_options, output_option, query_options, target
from ructl.output import json_value, yaml_text
from ructl.query import Query, parse_query


@click.command("watch")
@query_options
@click.option("--initial/--no-initial", default=True, show_default=True, help="Begin with the objects that exist.")
@output_option("textproto", "json", "yaml", "name")
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    initial: bool,
    output: str,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Prints changes as blocks `update { … }` and `delete { … }`, each an api.Event in text format.

    \b
    ructl watch -t api.systemd.Unit
    ructl watch -t api.systemd.Unit -n system
    ructl watch -t api.systemd.Unit -n system indexer
    ructl watch -t Unit -l node=worker-1 --no-initial -o json

    A delete shows the object as it was. A copy of the matching objects is kept in memory, also with --no-initial, to
    show the difference where the history to resume from is gone. After a lost connection or a restart of the
    server the watch goes on where it was, so that no change is missed; stderr says so. Ctrl-C, SIGTERM and a closed
    pipe end it with 0.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query.uid or len(query.names) > 1:
        raise click.UsageError("watch takes one name at most, and no uid")
    where = target(server, node_socket, timeout_s)
    run(where, lambda connection: until_stopped(_watch(connection, query, initial=initial, output=output)))


async def _watch(connection: Connection, query: Query, *, initial: bool, output: str) -> None:
    """Prints the changes of matching objects, until cancelled."""
    # False until the first list is through, where only what changes after it is asked for.
    shows_all = initial
    async with aclosing(Follower(connection, query).batches()) as batches:
        async for batch in batches:
            if shows_all or not batch.relisted:
                changed = [obj for change in batch.changes for obj in (change.old, change.new) if obj is not None]
                await TYPES.catch_up(connection, [packed for obj in changed for packed in (obj.spec, obj.status)])
                _print(batch.changes, output)
            shows_all = True


def event_of(change: Change) -> Event:
    """The change as the API shows it; a delete is the object as it was, with the revision of the delete."""
    if change.new is not None:
        return Event(update=change.new)
    event = Event(delete=change.old)
    event.delete.metadata.revision = change.revision
    return event


def _print(changes: Sequence[Change], output: str) -> None:
    for change in changes:
        match output:
            case "json":
                click.echo(json.dumps(json_value(event_of(change)), ensure_ascii=False))
            case "yaml":
                click.echo("---\n" + yaml_text(json_value(event_of(change))), nl=False)
            case "name":
                click.echo(f"{'update' if change.new else 'delete'} {change.key}")
            case _:
                click.echo(textproto.format(event_of(change), TYPES))
    if changes:
        sys.stdout.flush()
