"""`ructl logs`: what a unit has printed."""

from __future__ import annotations

import re
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import click

from rube import api_pb2
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import UNIT_TYPE
from rube.console.streams import forget_stdout
from ructl.completion import complete_units
from ructl.connection import Connection, run
from ructl.following import until_stopped
from ructl.options import connection_options, target
from ructl.query import Query

LINES_DEFAULT = 100
LINES_MAX = 1_000_000
_UNITS_S = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|min|s|m|h|d|)")


class Duration(click.ParamType[float]):
    """Such as 90, 90s, 10m, 1h30m or 2d, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{text!r} is no duration: write such as 90s, 10m, 1h30m or 2d", param, ctx)
        return float(sum(float(number) * _UNITS_S[unit] for number, unit in parts))


class Lines(click.IntRange):
    """A number of lines, whose option is -n here, as journalctl has it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.isdigit():
            self.fail(
                f"{value!r} is no number of lines; a namespace is given by --namespace, or NAMESPACE/UNIT", param, ctx
            )
        return int(super().convert(value, param, ctx))


@click.command("logs")
@click.argument("unit", metavar="UNIT", shell_complete=complete_units)
@click.option("--namespace", metavar="NAMESPACE", help="The unit's namespace; or write NAMESPACE/UNIT.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed, until Ctrl-C.")
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
    "--since", type=Duration(), metavar="DURATION", help="Only what is not older than this, such as 10m or 2h."
)
@click.option("--times", is_flag=True, help="Begin each line with its time, where the node's log keeps times.")
@connection_options
def command(
    unit: str,
    namespace: str | None,
    follow: bool,
    lines: int,
    since: float | None,
    times: bool,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Prints what a unit has printed, from the node that runs it.

    \b
    ructl logs system/indexer
    ructl logs -f -n 20 system/indexer
    ructl logs --since 10m system/indexer
    ructl logs --node-socket /var/lib/rube/rubelet.sock system/indexer

    The apiserver asks the node, which must be attached to it; --node-socket asks the rubelet itself, also while no
    apiserver is in reach. Without a namespace the unit of that name in any namespace is meant. A follow that ends
    because the node went away is an error.
    """
    request = api_pb2.LogsRequest(lines=lines, follow=follow)
    if since is not None:
        request.since.FromNanoseconds(round(since * 1e9))
    where = target(server, node_socket, timeout_s)
    run(where, lambda connection: _print(connection, unit, namespace, request, times=times))


async def _print(
    connection: Connection, unit: str, namespace: str | None, request: api_pb2.LogsRequest, *, times: bool
) -> None:
    key = await _find(connection, unit, namespace)
    request.key.CopyFrom(key.to_proto())
    copying = _copy(connection, request, times=times)
    if request.follow:
        await until_stopped(copying)
        return
    try:
        await copying
    except BrokenPipeError:
        forget_stdout()


async def _copy(connection: Connection, request: api_pb2.LogsRequest, *, times: bool) -> None:
    begins = True
    async with aclosing(connection.logs(request)) as responses:
        async for response in responses:
            for line in response.lines:
                prefix = f"{_time(line)} " if times and begins and line.HasField("time") else ""
                click.echo(f"{prefix}{line.text}", nl=not line.partial)
                begins = not line.partial
            if response.gaps:
                click.echo("ructl: lines were lost here: the unit prints faster than they can be read", err=True)
            sys.stdout.flush()


async def _find(connection: Connection, unit: str, namespace: str | None) -> ObjectKey:
    """The unit's key. Raises NotFoundError, and InvalidArgumentError where the name alone does not say which."""
    before, slash, name = unit.rpartition("/")
    if slash and namespace not in (None, before):
        raise InvalidArgumentError(f"{unit!r} is in namespace {before!r}, and --namespace says {namespace!r}")
    if slash:
        namespace = before
    if namespace is not None:
        return ObjectKey(UNIT_TYPE, namespace, name)
    found = [key_of(obj) for obj in await connection.list_objects(Query(type=UNIT_TYPE, names=(name,)))]
    if not found:
        raise NotFoundError(f"there is no unit {name!r} in any namespace")
    if len(found) > 1:
        places = ", ".join(key.namespace for key in found)
        raise InvalidArgumentError(
            f"units of the name {name!r} are in several namespaces ({places}): choose one with --namespace"
        )
    return found[0]


def _time(line: api_pb2.LogLine) -> str:
    when = datetime.fromtimestamp(line.time.ToNanoseconds() / 1e9, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{line.time.nanos // 1_000_000:03d}Z"
