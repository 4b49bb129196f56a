"""`ructl cordon` and `ructl uncordon`: whether a node takes new units."""

from __future__ import annotations

import click

from rube.api import Node, Object
from rube.api.types import pack
from rube.api.well_known import NODE_TYPE
from ructl.completion import complete_nodes
from ructl.connection import Connection, ask
from ructl.edit import edit
from ructl.options import dry_run_option, fixed_type_option, server_options, server_target
from ructl.output import tell
from ructl.query import Query, parse_query


@click.command("cordon")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE…", shell_complete=complete_nodes)
@dry_run_option
@fixed_type_option(NODE_TYPE)
@server_options
def cordon(nodes: tuple[str, ...], dry_run: bool, server: str | None, timeout_s: float | None) -> None:
    """Keeps new units off nodes. The units that run there stay.

    \b
    ructl cordon worker-1
    ructl cordon worker-1 worker-2
    """
    _run(nodes, server, timeout_s, unschedulable=True, dry_run=dry_run)


@click.command("uncordon")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE…", shell_complete=complete_nodes)
@dry_run_option
@fixed_type_option(NODE_TYPE)
@server_options
def uncordon(nodes: tuple[str, ...], dry_run: bool, server: str | None, timeout_s: float | None) -> None:
    """Lets nodes take new units again.

    \b
    ructl uncordon worker-1
    """
    _run(nodes, server, timeout_s, unschedulable=False, dry_run=dry_run)


def _run(
    nodes: tuple[str, ...], server: str | None, timeout_s: float | None, *, unschedulable: bool, dry_run: bool
) -> None:
    query = parse_query(NODE_TYPE, None, None, nodes)
    ask(server_target(server, timeout_s), lambda connection: _set_all(connection, query, unschedulable, dry_run))


async def _set_all(connection: Connection, query: Query, unschedulable: bool, dry_run: bool) -> None:
    """All nodes are looked up before the first is changed."""
    found = await connection.find(query)
    word = "cordoned" if unschedulable else "uncordoned"
    for obj in found:
        written = await edit(connection, obj, lambda wanted: _set(wanted, unschedulable), dry_run=dry_run)
        did = f"would be {word}: {obj.metadata.name}" if dry_run else f"{word} {obj.metadata.name}"
        tell(did if written else f"{obj.metadata.name} is {word} already")


def _set(obj: Object, unschedulable: bool) -> bool:
    spec = Node()
    obj.spec.Unpack(spec)
    if spec.unschedulable == unschedulable:
        return False
    spec.unschedulable = unschedulable
    obj.spec.CopyFrom(pack(spec))
    return True
