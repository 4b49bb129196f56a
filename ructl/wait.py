"""`ructl wait`: until a condition holds."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rube.api import Object
from rube.api.errors import InvalidArgumentError
from ructl.completion import complete_conditions
from ructl.conditions import WaitCondition, parse_condition
from ructl.connection import Connection, run
from ructl.following import Follower, until_nothing_lacks
from ructl.options import connection_options, query_options, target, within_option
from ructl.output import place
from ructl.query import Query, parse_query

EXIT_LATE = 3
# Characters of a list of objects in a message.
_NAMED_MAX = 3


@click.command("wait")
@query_options
@click.option(
    "--for",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    required=True,
    shell_complete=complete_conditions,
    help="exists, deleted, active (a unit), ready (a node), condition=TYPE[=STATE], or PATH, PATH=VALUE, !=, >=, <=; "
    "repeat it for several.",
)
@within_option("How long to wait.", at_least_s=0.0)
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    conditions: tuple[str, ...],
    within_s: float,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Waits until a condition holds for the objects that are named, or for all that a selector matches.

    \b
    ructl wait -t Unit -n system indexer --for active
    ructl wait -t Unit web db --for active --within 120
    ructl wait -t Unit -l tier=web --for deleted
    ructl wait -t Node worker-1 --for ready
    ructl wait -t Unit web --for 'status.restarts>=3'
    ructl wait -t Unit web --for metadata.labels.node=worker-2 --for status.active_state=active

    A key of a map of messages is followed by their fields; one with a dot in it stands in backquotes, as in
    'status.seen.`a.b`.size>=3'.

    `condition=Ready` waits for a condition in the status of that type (api.StatusCondition) to be TRUE, and
    `condition=Ready=FALSE` for another state.

    The objects need not exist yet. A selector has to match at least one object, except for `deleted`, which holds once
    none is left. A path begins with metadata, spec or status and names fields as in the protos (`ructl explain TYPE`).
    It keeps watching over lost connections and restarted servers.

    Exit codes: 0 once all conditions hold, 3 if they do not within --within seconds (stderr says what is missing), 1
    for an error, 2 for wrong usage.
    """
    query = parse_query(type_name, namespace, labels, names)
    try:
        wanted = [parse_condition(text, query.type) for text in conditions]
    except InvalidArgumentError as error:
        raise click.UsageError(f"--for: {error.message}") from error
    if query == Query(type=query.type):
        raise click.UsageError("wait needs a name, a namespace or a selector")
    if len({condition.of_absence for condition in wanted}) > 1:
        raise click.UsageError("--for deleted goes with no other condition")
    where = target(server, node_socket, timeout_s)
    late = run(where, lambda connection: wait(connection, query, wanted, within_s))
    if late:
        raise LateError(late)


class LateError(click.ClickException):
    """The conditions did not hold in time."""

    exit_code = EXIT_LATE


async def wait(connection: Connection, query: Query, conditions: Sequence[WaitCondition], within_s: float) -> str:
    """Returns "" once all conditions hold, or after `within_s` what is missing, in words."""
    follower = Follower(connection, query)
    words = " and ".join(condition.text for condition in conditions)
    if within_s == 0:
        lacks = missing(query, await connection.list_objects(query), conditions)
        return lacks and f"{words} does not hold for {query}: {lacks}"

    def lack(found: list[Object]) -> str:
        lacks = missing(query, found, conditions)
        if not lacks:
            for obj in found:
                click.echo(f"{place(obj.metadata)} {words}")
        return lacks

    unknown = f"what {connection.target} holds is not known yet"
    late = await until_nothing_lacks(follower, lack, within_s, unknown)
    return late and f"waited {within_s:g} s for {words} of {query}: {late}"


def missing(query: Query, found: Sequence[Object], conditions: Sequence[WaitCondition]) -> str:
    """Returns what is missing for the conditions to hold, in words; empty if nothing is."""
    of_absence = conditions[0].of_absence
    lacks = [
        f"{place(obj.metadata)}: {lack}" for obj in found for condition in conditions if (lack := condition.lack(obj))
    ]
    if not of_absence:
        present = {obj.metadata.name for obj in found}
        lacks += [f"{name}: it does not exist" for name in query.names if name not in present]
        if not found and not query.names:
            lacks.append("nothing matches")
    more = f"; and {len(lacks) - _NAMED_MAX} more" if len(lacks) > _NAMED_MAX else ""
    return "; ".join(lacks[:_NAMED_MAX]) + more
