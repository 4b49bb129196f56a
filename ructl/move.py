"""`ructl move`: a unit to another node, stopped on its own before it starts there."""

from __future__ import annotations

from dataclasses import dataclass

import click

from rube.api import Node, NodeStatus, Object, UnitStatus
from rube.api.errors import FailedPreconditionError
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import MOVE_ANNOTATION, NODE_LABEL, NODE_TYPE, UNIT_TYPE, bound_node, move_request
from ructl.completion import complete_namespaces, complete_nodes, complete_units
from ructl.connection import Connection, run
from ructl.edit import edit
from ructl.following import until_done
from ructl.ground import randomness
from ructl.options import dry_run_option, fixed_type_option, server_options, server_target, within_option
from ructl.output import place
from ructl.query import Query, parse_query
from ructl.units import find_units
from ructl.wait import LateError


@click.command("move")
@click.argument("unit", shell_complete=complete_units)
@click.argument("node", required=False, shell_complete=complete_nodes)
@click.option(
    "-n",
    "--namespace",
    metavar="NAMESPACE",
    help="The unit's namespace, where several have that name.",
    shell_complete=complete_namespaces,
)
@click.option("--force", is_flag=True, help="Bind it to NODE at once: for a while it may run on both nodes.")
@click.option("--no-wait", is_flag=True, help="Ask for the move, and don't wait until it is done.")
@dry_run_option
@within_option("How long to wait; the move goes on afterwards, too.")
@fixed_type_option(UNIT_TYPE)
@server_options
def command(
    unit: str,
    node: str | None,
    namespace: str | None,
    force: bool,
    no_wait: bool,
    dry_run: bool,
    within_s: float,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Moves UNIT to NODE, or, without one, to another node that placement chooses.

    \b
    ructl move web worker-2
    ructl move -n system indexer
    ructl move web worker-2 --force

    The unit's node stops it first, and only then the other one starts it, so that it never runs twice. While its node
    is silent it may still run there, and the move waits. --force does not wait: use it when you know that
    the node is down, or that the unit may run twice.

    Exit codes: 0 once it has moved, 3 if it has not within --within seconds, 1 for an error, 2 for wrong usage.
    """
    if force and node is None:
        raise click.UsageError("--force needs the NODE to bind it to")
    query = parse_query(UNIT_TYPE, namespace, None, [unit])
    wanted = _Move(query=query, node=node or "", force=force, within_s=0 if no_wait else within_s, dry_run=dry_run)
    run(server_target(server, timeout_s), lambda connection: _move(connection, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """The request of the command line; `within_s` 0: not to wait."""

    query: Query
    node: str
    force: bool
    within_s: float
    dry_run: bool

    def is_done(self, obj: Object) -> bool:
        return bool(self.node) and bound_node(obj.metadata) == self.node


async def _move(connection: Connection, wanted: _Move) -> None:
    (obj,) = await find_units(connection, wanted.query)
    if wanted.node and not wanted.is_done(obj):
        await _check_node(connection, wanted)
    elif not wanted.node:
        await _check_others(connection, bound_node(obj.metadata))
    here = ""

    def ask(put: Object) -> bool:
        nonlocal here
        here = bound_node(put.metadata)
        return _ask(put, wanted)

    written = await edit(connection, obj, ask, dry_run=wanted.dry_run)
    if written is None:
        click.echo(f"{place(obj.metadata)} is on {here} already")
    elif wanted.dry_run:
        click.echo(
            f"would {'bind' if wanted.force else 'move'} {place(obj.metadata)} to {wanted.node or 'another node'}"
        )
    elif wanted.force:
        click.echo(f"bound {place(obj.metadata)} to {wanted.node}; {here or 'no node'} may still run it for a while")
    elif wanted.within_s:
        await _wait(connection, key_of(obj), here, wanted.within_s)
    else:
        click.echo(f"asked to move {place(obj.metadata)} from {here} to {wanted.node or 'another node'}")


async def _check_node(connection: Connection, wanted: _Move) -> None:
    """Raises NotFoundError or FailedPreconditionError for a node that would not run the unit."""
    (node,) = await connection.find(Query(type=NODE_TYPE, names=(wanted.node,)))
    why = _why_unfit(node)
    if why and not wanted.force:
        raise FailedPreconditionError(f"node {wanted.node} is {why}, or --force")


async def _check_others(connection: Connection, here: str) -> None:
    """Raises FailedPreconditionError where placement would find no node: the unit would be stopped for nothing."""
    nodes = await connection.list_objects(Query(type=NODE_TYPE))
    if not any(node.metadata.name != here and not _why_unfit(node) for node in nodes):
        raise FailedPreconditionError(
            f"no node but {here} is ready and takes units, so it stays there: see 'ructl list -t Node'"
        )


def _why_unfit(node: Object) -> str:
    """Returns why a node would not run new units, and the remedy; empty if it would."""
    spec, status = Node(), NodeStatus()
    node.spec.Unpack(spec)
    node.status.Unpack(status)
    if spec.unschedulable:
        return f"cordoned: 'ructl uncordon {node.metadata.name}'"
    if status.readiness != NodeStatus.READY:
        return f"{NodeStatus.Readiness.Name(status.readiness).lower()}, not ready: choose another one"
    return ""


def _ask(put: Object, wanted: _Move) -> bool:
    """Writes the request into the object, unless it is on the node already. Raises FailedPreconditionError."""
    if wanted.is_done(put):
        return False
    if wanted.force:
        put.metadata.labels[NODE_LABEL] = wanted.node
        put.metadata.annotations[MOVE_ANNOTATION] = ""  # takes back a move that is under way
        return True
    if not bound_node(put.metadata):
        raise FailedPreconditionError(
            f"{place(put.metadata)} has no node yet: placement gives it one; --force binds it to a node of yours"
        )
    put.metadata.annotations[MOVE_ANNOTATION] = move_request(wanted.node, randomness().uid())
    return True


async def _wait(connection: Connection, key: ObjectKey, here: str, within_s: float) -> None:
    """Prints each step, until the new node runs the unit. Raises LateError that says what it waits for."""
    told = ""

    def lack(obj: Object) -> str:
        nonlocal told
        step, done = _progress(obj, here)
        if step != told:
            click.echo(f"{place(key)}: {step}")
            told = step
        return "" if done else step

    if late := await until_done(connection, key, lack, within_s):
        raise _late(key, late, within_s)


def _late(key: ObjectKey, told: str, within_s: float) -> LateError:
    return LateError(
        f"{place(key)} has not moved within {within_s:g} s, and goes on to try: {told}; if its node is down for good, "
        f"give it another one: ructl move {place(key)} NODE --force"
    )


def _progress(obj: Object, here: str) -> tuple[str, bool]:
    """Returns the state of the move, in words, and whether it is done."""
    status = UnitStatus()
    obj.status.Unpack(status)
    now = bound_node(obj.metadata)
    if now == here:
        if MOVE_ANNOTATION not in obj.metadata.annotations:
            return f"stays on {here}: the move was withdrawn", True
        return (status.message or f"stops on {here}"), False
    if status.node != now or status.HasField("unknown_since") or status.observed_generation < obj.metadata.generation:
        return f"starts on {now}", False
    return f"{status.active_state} on {now}", True
