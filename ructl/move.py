"""`ructl move`: a unit to another node, stopped on its own before it starts there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import click

from rube import api_pb2
from rube.api import cluster_pb2, systemd_pb2
from rube.api.errors import (
    AbortedError,
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import MOVE_ANNOTATION, NODE_LABEL, NODE_TYPE, UNIT_TYPE, bound_node, move_request
from rube.host import RealRandomness
from ructl.completion import complete_nodes, complete_units
from ructl.connection import Connection, run
from ructl.options import connection_options, target
from ructl.output import place
from ructl.query import parse_query
from ructl.wait import WITHIN_S_DEFAULT, LateError

LOOK_S = 0.3
"""Between two looks at the unit."""
ATTEMPTS_MAX = 5
"""To write while others write to the unit, its node's reports among them."""


@click.command("move")
@click.argument("unit", shell_complete=complete_units)
@click.argument("node", required=False, shell_complete=complete_nodes)
@click.option("-n", "--namespace", metavar="NAMESPACE", help="The unit's namespace, where several have that name.")
@click.option("--force", is_flag=True, help="Bind it to NODE at once: for a while it may run on both nodes.")
@click.option("--no-wait", is_flag=True, help="Ask for the move, and don't wait until it is done.")
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0.1),
    default=WITHIN_S_DEFAULT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait; the move goes on afterwards, too.",
)
@connection_options
def command(
    unit: str,
    node: str | None,
    namespace: str | None,
    force: bool,
    no_wait: bool,
    within_s: float,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Moves UNIT to NODE, or, without one, to another node that placement chooses.

    \b
    ructl move web worker-2
    ructl move -n system indexer
    ructl move web worker-2 --force

    The unit's node stops it first, and only then the other one starts it, so that it never runs twice. While its node
    is silent nobody knows whether it is stopped, and the move waits. --force does not wait: use it when you know that
    the node is down, or that the unit may run twice.

    Exit codes: 0 once it has moved, 3 if it has not within --within seconds, 1 for an error, 2 for wrong usage.
    """
    if force and node is None:
        raise click.UsageError("--force needs the NODE to bind it to")
    wanted = _Move(unit=unit, namespace=namespace, node=node or "", force=force, within_s=0 if no_wait else within_s)
    run(target(server, node_socket, timeout_s), lambda connection: _move(connection, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """What the command line asks for; `within_s` 0: not to wait."""

    unit: str
    namespace: str | None
    node: str
    force: bool
    within_s: float


async def _move(connection: Connection, wanted: _Move) -> None:
    obj = await _find(connection, wanted)
    here = bound_node(obj.metadata)
    if here == wanted.node:
        click.echo(f"{place(obj.metadata)} is on {here} already")
        return
    if wanted.node:
        await _check_node(connection, wanted)
    if not here and not wanted.force:
        raise FailedPreconditionError(
            f"{place(obj.metadata)} has no node yet: placement gives it one; --force binds it to a node of yours"
        )
    await _ask(connection, obj, wanted)
    if wanted.force:
        click.echo(f"bound {place(obj.metadata)} to {wanted.node}; {here or 'no node'} may still run it for a while")
    elif wanted.within_s:
        await _wait(connection, key_of(obj), here, wanted)
    else:
        click.echo(f"asked to move {place(obj.metadata)} from {here} to {wanted.node or 'another node'}")


async def _find(connection: Connection, wanted: _Move) -> api_pb2.Object:
    query = parse_query(UNIT_TYPE, wanted.namespace, None, [wanted.unit])
    found = await connection.find(query)
    if len(found) > 1:
        places = ", ".join(place(obj.metadata) for obj in found)
        raise FailedPreconditionError(f"several units are called {wanted.unit!r}: {places}; name one with -n NAMESPACE")
    return found[0]


async def _check_node(connection: Connection, wanted: _Move) -> None:
    """Raises FailedPreconditionError for a node that would not run the unit."""
    try:
        node = await connection.get(ObjectKey(NODE_TYPE, "", wanted.node))
    except NotFoundError as error:
        raise NotFoundError(f"there is no node {wanted.node!r}: see 'ructl list -t Node'") from error
    spec, status = cluster_pb2.Node(), cluster_pb2.NodeStatus()
    node.spec.Unpack(spec)
    node.status.Unpack(status)
    if wanted.force:
        return
    if spec.unschedulable:
        raise FailedPreconditionError(f"node {wanted.node} is cordoned: 'ructl uncordon {wanted.node}', or --force")
    if status.readiness != cluster_pb2.NodeStatus.READY:
        said = cluster_pb2.NodeStatus.Readiness.Name(status.readiness).lower()
        raise FailedPreconditionError(f"node {wanted.node} is {said}, not ready: choose another one, or --force")


async def _ask(connection: Connection, obj: api_pb2.Object, wanted: _Move) -> None:
    """Writes the request, on what is stored now."""
    for attempt in range(ATTEMPTS_MAX):
        put = api_pb2.Object()
        put.CopyFrom(obj)
        put.ClearField("status")
        if wanted.force:
            put.metadata.labels[NODE_LABEL] = wanted.node
            put.metadata.annotations[MOVE_ANNOTATION] = ""  # takes back a move that is under way
        else:
            put.metadata.annotations[MOVE_ANNOTATION] = move_request(wanted.node, RealRandomness().uid())
        try:
            await connection.put(api_pb2.PutRequest(objects=[put]))
            return
        except AbortedError:
            if attempt + 1 == ATTEMPTS_MAX:
                raise
            obj = await connection.get(key_of(obj))


async def _wait(connection: Connection, key: ObjectKey, here: str, wanted: _Move) -> None:
    """Says each step, until the new node runs the unit. Raises LateError that says what it waits for."""
    told = ""
    try:
        async with asyncio.timeout(wanted.within_s):
            while True:
                try:
                    step, done = _progress(await connection.get(key), here)
                except (UnavailableError, DeadlineExceededError) as error:
                    step, done = f"no answer: {error.message}", False
                if step != told:
                    click.echo(f"{place(key)}: {step}")
                    told = step
                if done:
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise _late(key, told, wanted.within_s) from error


def _late(key: ObjectKey, told: str, within_s: float) -> LateError:
    return LateError(
        f"{place(key)} has not moved within {within_s:g} s, and goes on to try: {told}; if its node is down for good, "
        f"give it another one: ructl move {key.name} NODE --force"
    )


def _progress(obj: api_pb2.Object, here: str) -> tuple[str, bool]:
    """Where the move is, in words, and whether it is done."""
    status = systemd_pb2.UnitStatus()
    obj.status.Unpack(status)
    now = bound_node(obj.metadata)
    if now == here:
        if MOVE_ANNOTATION not in obj.metadata.annotations:
            return f"stays on {here}: somebody has taken the move back", True
        return (status.message or f"stops on {here}"), False
    if status.node != now or status.HasField("unknown_since") or status.observed_generation < obj.metadata.generation:
        return f"starts on {now}", False
    return f"{status.active_state} on {now}", True
