"""`ructl list`: the objects of a type."""

from __future__ import annotations

from dataclasses import replace

import click

from ructl.connection import ask
from ructl.options import at_revision_option, connection_options, output_option, query_options, stale_option, target
from ructl.output import print_list
from ructl.query import parse_query


@click.command("list")
@query_options
@output_option("table", "wide", "textproto", "spec", "json", "yaml", "name")
@at_revision_option
@stale_option
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    output: str,
    at_revision: int | None,
    stale: bool,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Lists the objects of a type as a table, all of them as of one revision.

    \b
    ructl list -t api.systemd.Unit
    ructl list -t Unit -n system -l 'node=worker-1,tier!=test'
    ructl list -t Node -o name
    ructl list -t Unit -o spec > units.textproto; ructl put units.textproto
    ructl list -t Unit -n system --at-revision 4711

    An empty list is no error.
    """
    query = replace(parse_query(type_name, namespace, labels, names), at_revision=at_revision or 0)
    where = replace(target(server, node_socket, timeout_s), stale=stale)
    found = ask(where, lambda connection: connection.list_objects(query))
    print_list(found, output)
    if not found:
        click.echo(f"ructl: nothing matches {query}", err=True)
