"""`ructl get`: objects by name or selector."""

from __future__ import annotations

import click

from rube.api import Object
from rube.api.errors import NotFoundError
from ructl.connection import Connection, run
from ructl.options import connection_options, output_option, query_options, target
from ructl.output import print_each
from ructl.query import Query, parse_query


@click.command("get")
@query_options
@output_option("textproto", "spec", "json", "yaml", "table", "wide", "name")
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    output: str,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Prints objects with spec and status as text format, JSON, YAML, a table or names.

    \b
    ructl get -t api.systemd.Unit -n system indexer
    ructl get -t Node worker-1 -o json
    ructl get 'type = "api.systemd.Unit", metadata { name: "indexer" }'
    ructl get --node-socket /var/lib/rube/rubelet.sock -t Unit -n system indexer

    Without -n an object of that name in any namespace is printed. It is an error if there is none.

    `ructl put` takes what `-o textproto` prints, and refuses it once the object has changed on the server, for the
    revision is in it; `-o spec` prints only what a user writes, which overwrites. Of JSON and YAML `ructl put` ignores
    what the server sets.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query == Query(type=query.type):
        raise click.UsageError(f"get needs a name or a selector; for all of them: ructl list -t {query.type}")
    print_each(run(target(server, node_socket, timeout_s), lambda connection: _find(connection, query)), output)


async def _find(connection: Connection, query: Query) -> list[Object]:
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}")
    return found
