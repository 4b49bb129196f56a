"""`ructl watch`: changes as they happen, over lost connections and restarted servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Sequence
from contextlib import aclosing

import click

from rube import api_pb2
from rube.api import textproto
from rube.api.errors import RubeError
from rube.api.keys import key_of
from ructl.connection import Connection, one_line, run
from ructl.options import connection_options, output_option, query_options, target
from ructl.output import json_value
from ructl.query import parse_query
from ructl.resume import WatchState

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

    A delete shows the object as it was. A lost connection or a restarted server is waited for, and the watch goes
    on where it was, so that no change is missed; stderr says so. Ctrl-C, SIGTERM and a closed pipe end it with 0.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query.uid or len(query.names) > 1:
        raise click.UsageError("watch takes one name at most, and no uid")
    state = WatchState(query.watch_request(), initial=initial)
    run(target(server, node_socket, timeout_s), lambda connection: _until_stopped(connection, state, output))


async def _until_stopped(connection: Connection, state: WatchState, output: str) -> None:
    """Watches until a signal, or until nobody reads the output any more."""
    task = asyncio.ensure_future(_watch(connection, state, output))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    if _is_pipe(sys.stdout.fileno()):
        # A pipe that is written to becomes readable only when its reader is gone.
        loop.add_reader(sys.stdout.fileno(), task.cancel)
    try:
        await task
    except (asyncio.CancelledError, BrokenPipeError):
        _forget_stdout()


async def _watch(connection: Connection, state: WatchState, output: str) -> None:
    """Prints events; begins again after whatever a retry can help. The first connection has to succeed."""
    delay_s = RETRY_DELAY_S_INITIAL
    connected = False
    while True:
        try:
            async with aclosing(connection.watch(state.request())) as responses:
                async for response in responses:
                    if delay_s > RETRY_DELAY_S_INITIAL:
                        click.echo(f"ructl: connected to {connection.target} again", err=True)
                    connected, delay_s = True, RETRY_DELAY_S_INITIAL
                    _print(state.receive(response), output)
        except RubeError as error:
            if not connected or not state.lost(error):
                raise
            if delay_s == RETRY_DELAY_S_INITIAL:
                click.echo(f"ructl: {one_line(error)}; {state.plan}", err=True)
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RETRY_DELAY_S_MAX)


def _print(events: Sequence[api_pb2.Event], output: str) -> None:
    for event in events:
        match output:
            case "json":
                click.echo(json.dumps(json_value(event), ensure_ascii=False))
            case "name":
                kind = event.WhichOneof("event")
                obj = event.delete if kind == "delete" else event.update
                click.echo(f"{kind} {key_of(obj)}")
            case _:
                click.echo(textproto.format(event))
    if events:
        sys.stdout.flush()


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _forget_stdout() -> None:
    """What could not be written to a closed pipe is dropped; the interpreter's last flush must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
