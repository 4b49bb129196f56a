"""`ructl watch`: changes as they happen, over lost connections and restarted servers."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import aclosing

import click

from rube import api_pb2
from rube.api import textproto
from rube.api.errors import (
    CompactedError,
    DeadlineExceededError,
    RevisionAheadError,
    StoreChangedError,
    UnavailableError,
)
from rube.client import Change, Replica, ReplicaState
from rube.console.streams import forget_stdout, stdout_is_pipe
from ructl.connection import Connection, one_line, run
from ructl.options import connection_options, output_option, query_options, target
from ructl.output import json_value
from ructl.query import Query, parse_query

RETRY_DELAY_S_INITIAL = 0.1
RETRY_DELAY_S_MAX = 2.0


@click.command("watch")
@query_options
@click.option("--initial/--no-initial", default=True, show_default=True, help="Begin with the objects that exist.")
@output_option("textproto", "json", "name")
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

    A delete shows the object as it was. A copy of what matches is kept in memory, also with --no-initial, to show the
    difference where the history to resume from is gone. A lost connection or a restarted server is waited for, and
    the watch goes on where it was, so that no change is missed; stderr says so. Ctrl-C, SIGTERM and a closed pipe end
    it with 0.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query.uid or len(query.names) > 1:
        raise click.UsageError("watch takes one name at most, and no uid")
    where = target(server, node_socket, timeout_s)
    run(where, lambda connection: _until_stopped(_Watch(connection, query, initial=initial, output=output)))


async def _until_stopped(watch: _Watch) -> None:
    """Watches until a signal, or until nobody reads the output any more."""
    task = asyncio.ensure_future(watch.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    if stdout_is_pipe():
        # A pipe that is written to becomes readable only when its reader is gone.
        loop.add_reader(sys.stdout.fileno(), task.cancel)
    try:
        await task
    except (asyncio.CancelledError, BrokenPipeError):
        forget_stdout()


class _Watch:
    """Prints the changes of what matches, over as many connections as it takes."""

    def __init__(self, connection: Connection, query: Query, *, initial: bool, output: str) -> None:
        self._connection = connection
        self._query = query
        self._output = output
        self._replica = Replica(ReplicaState())
        # False until the first list is through, where only what changes after it is asked for.
        self._shows_all = initial
        self._connected = False
        self._delay_s = RETRY_DELAY_S_INITIAL

    async def run(self) -> None:
        """Until cancelled. The first connection has to succeed; later ones are waited for."""
        while True:
            try:
                await self._follow()
            except (CompactedError, StoreChangedError, RevisionAheadError) as error:
                self._replica.lose_position()
                self._say(f"{one_line(error)}; listing again")
            except (UnavailableError, DeadlineExceededError):
                if not self._connected:
                    raise
                plan = (
                    f"resuming after revision {self._replica.revision}" if self._replica.resumable else "listing again"
                )
                self._say(f"the connection to {self._connection.target} was lost; {plan}")
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(2 * self._delay_s, RETRY_DELAY_S_MAX)

    async def _follow(self) -> None:
        """One watch, to its end, which is an error."""
        self._replica.begin()
        request = self._query.watch_request()
        if self._replica.resumable:
            request.after_revision, request.store_id = self._replica.revision, self._replica.store_id
        else:
            request.send_initial = True
        async with aclosing(self._connection.watch(request)) as responses:
            async for response in responses:
                if self._delay_s > RETRY_DELAY_S_INITIAL:
                    click.echo(f"ructl: connected to {self._connection.target} again", err=True)
                self._connected, self._delay_s = True, RETRY_DELAY_S_INITIAL
                if batch := self._replica.prepare(response):
                    self._replica.commit(batch)
                    if self._shows_all or not batch.relisted:
                        _print(batch.changes, self._output)
                    self._shows_all = True

    def _say(self, what: str) -> None:
        """Once for each time that the connection is lost."""
        if self._delay_s == RETRY_DELAY_S_INITIAL:
            click.echo(f"ructl: {what}", err=True)


def event_of(change: Change) -> api_pb2.Event:
    """The change as the API shows it; a delete is the object as it was, with the revision of the delete."""
    if change.new is not None:
        return api_pb2.Event(update=change.new)
    event = api_pb2.Event(delete=change.old)
    event.delete.metadata.revision = change.revision
    return event


def _print(changes: Sequence[Change], output: str) -> None:
    for change in changes:
        match output:
            case "json":
                click.echo(json.dumps(json_value(event_of(change)), ensure_ascii=False))
            case "name":
                click.echo(f"{'update' if change.new else 'delete'} {change.key}")
            case _:
                click.echo(textproto.format(event_of(change)))
    if changes:
        sys.stdout.flush()
