"""`ructl events`: what happened to objects, as controllers saw it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import click

from rube.api import CoreEvent, Object
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.api.well_known import EVENT_TYPE, REGARDING_LABEL
from ructl.cluster_types import TYPES
from ructl.completion import complete_names, complete_namespaces, complete_types
from ructl.connection import Connection, ask, run
from ructl.durations import Duration, now_ns
from ructl.options import output_option, server_options, server_target
from ructl.output import place, print_list
from ructl.places import full_type_name, parse_places, short_name
from ructl.query import Query, parse_query
from ructl.table import printable, time_since

_HEADS: Final = ("LAST", "COUNT", "TYPE", "REASON", "OBJECT", "MESSAGE")
_CLUSTER_NAMESPACE: Final = "default"
Wanted = Callable[[CoreEvent], bool]


@click.command("events")
@click.argument("names", nargs=-1, metavar="[NAME…]", shell_complete=complete_names)
@click.option(
    "-n", "--namespace", metavar="NAMESPACE", help="Only in this namespace.", shell_complete=complete_namespaces
)
@click.option(
    "-t", "type_name", metavar="TYPE", help="Only of objects of this type, such as Unit.", shell_complete=complete_types
)
@click.option(
    "--type",
    "severity",
    type=click.Choice(CoreEvent.Type.keys(), case_sensitive=False),
    help="Only events of this type.",
)
@click.option(
    "--since", "since_s", type=Duration(), metavar="DURATION", help="Only what happened in so long, such as 10m."
)
@click.option("-f", "--follow", "--watch", "follow", is_flag=True, help="Go on with each event as it happens.")
@output_option("table", "textproto", "json", "yaml", "name")
@server_options
def command(
    names: tuple[str, ...],
    namespace: str | None,
    type_name: str | None,
    severity: str | None,
    since_s: float | None,
    follow: bool,
    output: str,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Prints what happened to objects, the newest last: of all, or of those that are named.

    \b
    ructl events
    ructl events web
    ructl events -t Node worker-1
    ructl events -n system --type warning --since 10m
    ructl events -f -t Unit default/web

    Times are those of the machines where it happened. The same in the same words is counted in one event, which is
    deleted an hour after the last time (rube apiserver --event-ttl); those of a deleted object stay as long. An event
    may be lost: the state of an object is in its status.
    """
    if follow and output != "table":
        raise click.UsageError("-f prints lines: without -o; or 'ructl watch -t Event -o json'")
    since_ns = None if since_s is None else now_ns() - round(since_s * NS_PER_S)
    query, wanted = _asked(type_name, namespace, names, severity, since_ns)
    where = server_target(server, timeout_s)
    if follow:
        run(where, lambda connection: _follow(connection, query, wanted))
        return
    found = ask(where, lambda connection: _find(connection, query, wanted))
    if output != "table":
        print_list(found, output)
    elif found:
        click.echo("\n".join(_table(map(event_of, found), now_ns())))
    if not found:
        click.echo("ructl: no events match; they are kept for an hour, or --event-ttl of rube apiserver", err=True)


def _asked(
    type_name: str | None, namespace: str | None, names: Sequence[str], severity: str | None, since_ns: int | None
) -> tuple[Query, Wanted]:
    """Returns what the server is asked for, and what is shown of that. Raises click.UsageError for an unknown type, and
    for names that contradict the other options."""
    try:
        places = parse_places(type_name, namespace, names)
        full_name = full_type_name(places.type_name) if places.type_name else ""
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error
    clusterwide = bool(full_name) and not TYPES.kind(full_name).namespaced
    within = "" if clusterwide else places.namespace or ""

    def wanted(event: CoreEvent) -> bool:
        about = event.regarding
        return (
            full_name in ("", about.type)
            and within in ("", about.namespace)
            and (not places.names or about.name in places.names)
            and (severity is None or event.type == CoreEvent.Type.Value(severity.upper()))
            and (since_ns is None or event.last_time.ToNanoseconds() >= since_ns)
        )

    query = parse_query(EVENT_TYPE, _CLUSTER_NAMESPACE if clusterwide else within, None, [])
    return query, wanted


async def _find(connection: Connection, query: Query, wanted: Wanted) -> list[Object]:
    found = await connection.list_objects(query)
    return sorted((obj for obj in found if wanted(event_of(obj))), key=_last_ns)


async def _follow(connection: Connection, query: Query, wanted: Wanted) -> None:
    """Prints each event when it happens, those that have first, until stopped."""
    from contextlib import aclosing

    from ructl.following import Follower, until_stopped

    async def follow() -> None:
        async with aclosing(Follower(connection, query).batches()) as batches:
            async for batch in batches:
                changed = [change.new for change in batch.changes if change.new is not None]
                for event in map(event_of, sorted(changed, key=_last_ns)):
                    if wanted(event):
                        click.echo(_line(event))
                sys.stdout.flush()

    await until_stopped(follow())


async def last_events(connection: Connection, about: Object, events_max: int) -> list[CoreEvent]:
    """Returns the newest events about an object, the newest last; none from a server that knows no events."""
    query = parse_query(
        EVENT_TYPE,
        about.metadata.namespace or _CLUSTER_NAMESPACE,
        f"{REGARDING_LABEL}={about.metadata.uid}",
        [],
    )
    try:
        found = await connection.list_objects(query)
    except InvalidArgumentError:
        return []
    return [event_of(obj) for obj in sorted(found, key=_last_ns)[-events_max:]]


def event_of(obj: Object) -> CoreEvent:
    event = CoreEvent()
    obj.spec.Unpack(event)
    return event


def words_of(event: CoreEvent, at_ns: int) -> str:
    """Returns an event of a known object in a line, such as `2m ago: Failed, 3 times: failed (signal 9)`."""
    times = f", {event.count} times" if event.count > 1 else ""
    warning = "warning " if event.type == CoreEvent.WARNING else ""
    ago = time_since(event.last_time.ToNanoseconds(), at_ns)
    return f"{ago} ago: {warning}{event.reason}{times}: {event.message}"


def _table(events: Iterable[CoreEvent], at_ns: int) -> list[str]:
    rows = [_HEADS, *(_row(event, time_since(event.last_time.ToNanoseconds(), at_ns)) for event in events)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(event: CoreEvent, when: str) -> tuple[str, ...]:
    about = ObjectKey.from_proto(event.regarding)
    shown = (
        when,
        str(event.count),
        CoreEvent.Type.Name(event.type).lower() if event.type in CoreEvent.Type.values() else str(event.type),
        event.reason,
        f"{short_name(about.type)} {place(about)}",
        " ".join(event.message.split()),
    )
    return tuple(map(printable, shown))


def _line(event: CoreEvent) -> str:
    when, count, *rest = _row(event, event.last_time.ToJsonString())
    return "  ".join([when, *rest[:3], f"{rest[3]} ({count} times)" if event.count > 1 else rest[3]]).rstrip()


def _last_ns(obj: Object) -> tuple[int, str]:
    return event_of(obj).last_time.ToNanoseconds(), obj.metadata.name
