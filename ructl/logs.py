"""`ructl logs`: the output of a unit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import click

from rube.api import LogLine, LogsRequest, Object, Unit, UnitStatus
from rube.api.keys import key_of
from rube.api.well_known import UNIT_TYPE, bound_node
from rube.console.streams import forget_stdout
from ructl.completion import complete_namespaces, complete_units
from ructl.connection import Connection, run
from ructl.durations import Duration
from ructl.following import until_stopped
from ructl.options import connection_options, fixed_type_option, target
from ructl.output import place
from ructl.places import type_of_word
from ructl.query import Query, parse_query
from ructl.table import state_of
from ructl.units import find_units

LINES_DEFAULT = 100
SILENCE_S = 1.0
"""After which a follow says that nothing has been printed yet."""
# Outputs of a unit that reach no log.
_NOT_LOGGED = ("null", "file:", "append:", "truncate:", "tty", "socket", "fd:")
LINES_MAX = 1_000_000


class Lines(click.IntRange):
    """A number of lines, whose option is -n here, as journalctl has it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.isdigit():
            self.fail(
                f"{value!r} is no number of lines; a namespace is given by --namespace, or NAMESPACE/UNIT", param, ctx
            )
        return int(super().convert(value, param, ctx))


@click.command("logs")
@click.argument("units", nargs=-1, required=True, metavar="UNIT", shell_complete=complete_units)
@click.option(
    "--namespace",
    metavar="NAMESPACE",
    help="The unit's namespace; or write NAMESPACE/UNIT.",
    shell_complete=complete_namespaces,
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new output, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=Lines(min=0, max=LINES_MAX),
    default=LINES_DEFAULT,
    show_default=True,
    help="The last so many lines.",
)
@click.option(
    "--since", type=Duration(), metavar="DURATION", help="Only output that is not older than this, such as 10m or 2h."
)
@click.option("--times", is_flag=True, help="Begin each line with its time, where the node's log keeps times.")
@fixed_type_option(UNIT_TYPE)
@connection_options
def command(
    units: tuple[str, ...],
    namespace: str | None,
    follow: bool,
    lines: int,
    since: float | None,
    times: bool,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Prints the output of a unit, from the node that runs it.

    \b
    ructl logs system/indexer
    ructl logs -f -n 20 system/indexer
    ructl logs --since 10m system/indexer
    ructl logs --node-socket /var/lib/rube/rubelet.sock system/indexer

    The apiserver asks the node, which must be attached to it; --node-socket asks the rubelet itself, also while no
    apiserver is in reach. Without a namespace the unit of that name in any namespace is meant. A follow that ends
    because the node went away is an error.
    """
    query = parse_query(UNIT_TYPE, namespace, None, [_one_unit(units)])
    request = LogsRequest(lines=lines, follow=follow)
    if since is not None:
        request.since.FromNanoseconds(round(since * 1e9))
    where = target(server, node_socket, timeout_s)
    run(where, lambda connection: _print(connection, query, request, times=times))


def _one_unit(units: Sequence[str]) -> str:
    if len(units) > 1:
        meant = units[1] if type_of_word(units[0]) == UNIT_TYPE else units[0]
        raise click.UsageError(f"logs are of one unit at a time: did you mean 'ructl logs {meant}'?")
    return units[0]


async def _print(connection: Connection, query: Query, request: LogsRequest, *, times: bool) -> None:
    (obj,) = await find_units(connection, query)
    request.key.CopyFrom(key_of(obj).to_proto())
    copying = _copy(connection, request, why_silent(obj, request), times=times)
    if request.follow:
        await until_stopped(copying)
        return
    try:
        await copying
    except BrokenPipeError:
        forget_stdout()


async def _copy(connection: Connection, request: LogsRequest, explanation: str, *, times: bool) -> None:
    """Prints the lines. Without any, stderr says why, unless none were asked for."""
    begins, silent = True, bool(request.lines)
    # A follow's first answer is empty, and its first lines come right behind it.
    later = asyncio.get_running_loop().call_later(SILENCE_S, _tell, explanation) if request.follow and silent else None
    try:
        async with aclosing(connection.logs(request)) as responses:
            async for response in responses:
                if response.lines and silent:
                    silent = False
                    if later is not None:
                        later.cancel()
                for line in response.lines:
                    prefix = f"{_time(line)} " if times and begins and line.HasField("time") else ""
                    click.echo(f"{prefix}{line.text}", nl=not line.partial)
                    begins = not line.partial
                if response.gaps:
                    _tell("lines were lost here: the unit prints faster than they can be read")
                sys.stdout.flush()
    finally:
        if later is not None:
            later.cancel()
    if silent and not request.follow:
        _tell(explanation)


def _tell(words: str) -> None:
    click.echo(f"ructl: {words}", err=True)


def why_silent(obj: Object, request: LogsRequest) -> str:
    """Returns the explanation for an empty log."""
    spec, status = Unit(), UnitStatus()
    obj.spec.Unpack(spec)
    obj.status.Unpack(status)
    name = place(obj.metadata)
    outputs = (spec.service.standard_output, spec.service.standard_error)
    elsewhere = sorted({output for output in outputs if output.startswith(_NOT_LOGGED)})
    if elsewhere:
        return f"{name} has nothing in the log: its output goes to {' and '.join(elsewhere)}"
    if request.HasField("since"):
        return f"{name} has printed nothing in that time: leave --since out for older output"
    so_far = " so far" if request.follow else ""
    detail = f": {status.message.removeprefix(f'{status.active_state}: ')}" if status.message else ""
    node = status.node or bound_node(obj.metadata)
    return (
        f"{name} has printed nothing{so_far}; it is {state_of(obj)} on {node}{detail} "
        f"(see 'ructl describe -t Unit {name}')"
    )


def _time(line: LogLine) -> str:
    when = datetime.fromtimestamp(line.time.ToNanoseconds() / 1e9, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{line.time.nanos // 1_000_000:03d}Z"
