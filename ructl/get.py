"""`ructl get`: objects by name or selector."""

from __future__ import annotations

from dataclasses import replace

import click

from rube.api import FieldOwners, Object
from rube.api.errors import NotFoundError
from rube.api.keys import key_of
from ructl.connection import Connection, ask
from ructl.options import at_revision_option, connection_options, output_option, query_options, stale_option, target
from ructl.output import print_each
from ructl.query import Query, parse_query


@click.command("get")
@query_options
@output_option("textproto", "spec", "json", "yaml", "table", "wide", "name")
@click.option("--show-owners", is_flag=True, help="Print also who owns which fields (see 'ructl apply').")
@at_revision_option
@stale_option
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    output: str,
    show_owners: bool,
    at_revision: int | None,
    stale: bool,
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
    ructl get -t Unit -n system indexer --at-revision 4711 -o spec

    Without -n an object of that name in any namespace is printed. It is an error if there is none.

    `ructl put` takes what `-o textproto` prints, and refuses it once the object has changed on the server, for the
    revision is in it; `-o spec` prints only what a user writes, which overwrites. Of JSON and YAML `ructl put` ignores
    what the server sets.
    """
    if show_owners and output != "textproto":
        raise click.UsageError("--show-owners is for text format: leave -o out")
    query = replace(parse_query(type_name, namespace, labels, names), at_revision=at_revision or 0)
    if replace(query, at_revision=0) == Query(type=query.type):
        raise click.UsageError(f"get needs a name or a selector; for all of them: ructl list -t {query.type}")
    where = replace(target(server, node_socket, timeout_s), stale=stale)
    if show_owners:
        for obj, owners in ask(where, lambda connection: _find_owned(connection, query)):
            print_each([obj], output)
            click.echo(_owners_text(owners), nl=False)
    else:
        print_each(ask(where, lambda connection: _find(connection, query)), output)


async def _find(connection: Connection, query: Query) -> list[Object]:
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}")
    return found


async def _find_owned(connection: Connection, query: Query) -> list[tuple[Object, FieldOwners]]:
    found = await _find(connection, query)
    return [(obj, await connection.owners(key_of(obj), revision=query.at_revision)) for obj in found]


def _owners_text(owners: FieldOwners) -> str:
    """Returns a comment with a line for each field; a message is one if nothing in it has an owner."""
    by_field: dict[str, list[str]] = {}
    for item in owners.items:
        for field in item.fields:
            by_field.setdefault(field, []).append(item.owner)
    shown = [field for field in sorted(by_field) if not any(other.startswith(f"{field}.") for other in by_field)]
    width = max(map(len, shown), default=0)
    lines = [f"# {field:<{width}}  {', '.join(by_field[field])}" for field in shown]
    return "".join(f"{line}\n" for line in ["# Owners of its fields:", *lines, ""])
