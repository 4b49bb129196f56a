"""`ructl release`: removes finalizers, for those who should have and don't."""

from __future__ import annotations

import click

from rube.api import UpdateLifecycleRequest
from rube.api.errors import NotFoundError
from rube.api.keys import key_of
from ructl.connection import Connection, ask
from ructl.options import dry_run_option, query_options, server_options, server_target
from ructl.output import place, tell
from ructl.query import Query, parse_query


@click.command("release")
@query_options
@click.option(
    "--finalizer", "finalizers", metavar="NAME", multiple=True, required=True, help="The finalizer; repeat it."
)
@dry_run_option
@server_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    finalizers: tuple[str, ...],
    dry_run: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Removes finalizers from objects: an object under deletion goes with its last one.

    \b
    ructl describe -t Unit -n shop till              # says what holds it up
    ructl release -t Unit -n shop till --finalizer example/close

    Whoever set a finalizer removes it once its work is done. To remove it by hand says that this work is done, or will
    never be: look first.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query == Query(type=query.type):
        raise click.UsageError("release needs a name or a selector")
    ask(server_target(server, timeout_s), lambda connection: _release(connection, query, finalizers, dry_run))


async def _release(connection: Connection, query: Query, finalizers: tuple[str, ...], dry_run: bool) -> None:
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}")
    for obj in found:
        request = UpdateLifecycleRequest(key=key_of(obj).to_proto(), uid=obj.metadata.uid, validate_only=dry_run)
        request.remove_finalizers.extend(finalizers)
        response = await connection.update_lifecycle(request)
        left = ", ".join(response.metadata.finalizers) or "no finalizer"
        if response.gone:
            tell(f"{'would delete' if dry_run else 'deleted'} {place(key_of(obj))}")
        else:
            tell(f"{'would release' if dry_run else 'released'} {place(key_of(obj))}: {left} is left")
