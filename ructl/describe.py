"""`ructl describe`: an object in words: its state, its node, what it waits for and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from rube.api import Lease, Node, NodeStatus, Object, StatusCondition, Unit, UnitStatus
from rube.api.errors import NotFoundError
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import (
    LEASE_TYPE,
    NODE_LABEL,
    NODE_LEASE_NAMESPACE,
    NODE_TYPE,
    UNIT_TYPE,
    bound_node,
    silent_since,
)
from ructl.cluster_types import TYPES
from ructl.connection import Connection, ask
from ructl.deletion import blocked_by, waits_for
from ructl.durations import now_ns
from ructl.events import last_events, words_of
from ructl.options import connection_options, query_options, target
from ructl.output import place
from ructl.query import Query, parse_query
from ructl.table import age_of, printable, state_of, time_since, value_at
from ructl.unit_outlook import outlook_of_unit

# Rows of a node's description.
_UNITS_MAX = 50
_EVENTS_MAX = 8


@click.command("describe")
@query_options
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Says how objects are, in words: state, age, node, messages, what they wait for and what happens next.

    \b
    ructl describe -t Unit web
    ructl describe -t Unit -n system indexer
    ructl describe -t Node worker-1
    ructl describe -t Unit -l tier=web

    Programs read `ructl get -o json`; these words may change.
    """
    query = parse_query(type_name, namespace, labels, names)
    if query == Query(type=query.type):
        raise click.UsageError(f"describe needs a name or a selector; for all of them: ructl list -t {query.type}")
    ask(target(server, node_socket, timeout_s), lambda connection: _describe_all(connection, query))


async def _describe_all(connection: Connection, query: Query) -> None:
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}")
    at_ns = now_ns()
    for index, obj in enumerate(found):
        lines = [*_head(obj, at_ns), *await _deletion(connection, obj, at_ns)]
        type_name = key_of(obj).type
        if type_name == UNIT_TYPE:
            node = await _get(connection, ObjectKey(NODE_TYPE, "", bound_node(obj.metadata)))
            lines += describe_unit(obj, node, at_ns, asks_node=connection.target.is_node)
        elif type_name == NODE_TYPE:
            lease = await _get(connection, ObjectKey(LEASE_TYPE, NODE_LEASE_NAMESPACE, obj.metadata.name))
            units = await connection.list_objects(parse_query(UNIT_TYPE, None, f"{NODE_LABEL}={obj.metadata.name}", []))
            lines += describe_node(obj, lease, units, at_ns)
        else:
            lines += _summary(obj)
        lines += [*_conditions(obj, at_ns), *await _events(connection, obj, at_ns)]
        click.echo("\n".join(["", *lines] if index else lines))


async def _get(connection: Connection, key: ObjectKey) -> Object | None:
    """Returns the object; None if there is none, the name is empty, or a rubelet is asked, which has only its units."""
    if not key.name or connection.target.is_node:
        return None
    try:
        return await connection.get(key)
    except NotFoundError:
        return None


def _head(obj: Object, now_ns: int) -> Iterator[str]:
    metadata = obj.metadata
    yield f"{key_of(obj).type} {place(metadata)}"
    yield _row("age", age_of(obj, now_ns))
    yield _row("generation", f"{metadata.generation}, revision {metadata.revision}, uid {metadata.uid}")
    for name, pairs in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        if pairs:
            yield _row(name, ", ".join(f"{key}={pairs[key]}" for key in sorted(pairs)))
    owners = [ObjectKey(owner.type, owner.namespace, owner.name) for owner in metadata.owner_references]
    if owners:
        yield _row("owners", ", ".join(f"{owner.type} {place(owner)}" for owner in owners))
    if metadata.finalizers:
        yield _row("finalizers", ", ".join(metadata.finalizers))


def _summary(obj: Object) -> Iterator[str]:
    """Yields what a list shows of the object: the columns of a type that was pushed, or the state."""
    kind = TYPES.get(key_of(obj).type)
    if kind is None or not kind.source:
        yield _row("state", state_of(obj))
        return
    for column in kind.columns:
        yield _row(column.name.lower(), printable(value_at(column.path, obj)) or "-")


async def _deletion(connection: Connection, obj: Object, now_ns: int) -> list[str]:
    """The lines of an object under deletion: since when, and what holds it up."""
    metadata = obj.metadata
    if not metadata.HasField("delete_time"):
        return []
    since = time_since(metadata.delete_time.ToNanoseconds(), now_ns)
    lines = [_row("deletion", f"asked for {since} ago, {waits_for(list(metadata.finalizers))}")]
    if not connection.target.is_node:
        blockers = await blocked_by(connection, obj)
        lines += [_row("" if index else "blocked by", each) for index, each in enumerate(blockers)]
    return lines


def _conditions(obj: Object, now_ns: int) -> Iterator[str]:
    """The conditions in a status, of any type that has them."""
    if not obj.status.type_url:
        return
    status = TYPES.unpack(obj.status)
    for index, condition in enumerate(getattr(status, "conditions", ())):
        if condition.DESCRIPTOR.full_name != StatusCondition.DESCRIPTOR.full_name:
            return
        since = time_since(condition.transition_time.ToNanoseconds(), now_ns)
        words = f"{condition.type} {StatusCondition.State.Name(condition.state).lower()} for {since}"
        why = ": ".join(part for part in (condition.reason, condition.message) if part)
        yield _row("" if index else "conditions", f"{words} ({why})" if why else words)


async def _events(connection: Connection, obj: Object, at_ns: int) -> list[str]:
    """The lines of the last events about an object."""
    if connection.target.is_node:
        return []
    events = await last_events(connection, obj, _EVENTS_MAX)
    return [_row("" if index else "events", words_of(event, at_ns)) for index, event in enumerate(events)]


def describe_unit(obj: Object, node: Object | None, now_ns: int, *, asks_node: bool = False) -> Iterator[str]:
    """The lines of a unit below its head."""
    spec, status = Unit(), UnitStatus()
    obj.spec.Unpack(spec)
    obj.status.Unpack(status)
    if spec.description:
        yield _row("description", spec.description)
    yield _row("command", "; ".join(spec.service.exec.start) or "none")
    yield _row("wanted", "stopped" if spec.state == Unit.STOPPED else "running")
    yield _row("node", _node_words(obj, node, now_ns, asks_node=asks_node))
    yield _row("state", state_of(obj))
    if status.HasField("active_time") and status.active_state == "active":
        yield _row("since", time_since(status.active_time.ToNanoseconds(), now_ns))
    if status.main_pid:
        yield _row("process", str(status.main_pid))
    if status.restarts:
        yield _row("restarts", f"{status.restarts} by its restart policy")
    if status.exit_code:
        word = "exit status" if status.exit_code == 1 else "signal"
        yield _row("last end", f"{word} {status.exit_status}")
    if status.message:
        yield _row("message", status.message)
    yield from _log(status)
    outlook = outlook_of_unit(obj, node, asks_node=asks_node)
    yield _row("waits for", outlook.waits_for or "nothing")
    yield _row("next", outlook.next)


def _node_words(obj: Object, node: Object | None, now_ns: int, *, asks_node: bool) -> str:
    name = bound_node(obj.metadata)
    if not name:
        return "none yet"
    if asks_node:
        return name
    return f"{name} ({_readiness(node, now_ns)})" if node is not None else f"{name} (there is no such node)"


def _readiness(node: Object, now_ns: int) -> str:
    spec, status = Node(), NodeStatus()
    node.spec.Unpack(spec)
    node.status.Unpack(status)
    words = NodeStatus.Readiness.Name(status.readiness).lower()
    if status.HasField("readiness_time"):
        silent = status.readiness == NodeStatus.SILENT
        since = silent_since(status) if silent else status.readiness_time
        words += f" for {time_since(since.ToNanoseconds(), now_ns)}"
    return f"{words}, cordoned" if spec.unschedulable else words


def _log(status: UnitStatus) -> Iterator[str]:
    """The last lines that the unit has printed, where its node reports them."""
    for index, line in enumerate(status.log_tail):
        yield _row("" if index else "last log", line)


def describe_node(obj: Object, lease: Object | None, units: Sequence[Object], now_ns: int) -> Iterator[str]:
    """The lines of a node below its head."""
    spec, status, held = Node(), NodeStatus(), Lease()
    obj.spec.Unpack(spec)
    obj.status.Unpack(status)
    yield _row("state", _readiness(obj, now_ns))
    yield _row("driver", status.driver or "not reported yet")
    yield _row("rubelet", f"{status.rubelet_version or 'version unknown'}, instance {spec.instance_id or 'none'}")
    if lease is not None:
        lease.spec.Unpack(held)
        yield _row("last heard", f"{time_since(held.renew_time.ToNanoseconds(), now_ns)} ago, by its own clock")
    yield _row("takes units", _takes_units(spec, status))
    for index, problem in enumerate(status.problems):
        yield _row("" if index else "problems", problem)
    yield _row("units", str(len(units)))
    for unit in units[:_UNITS_MAX]:
        yield _row("", f"{place(unit.metadata)}: {state_of(unit)}")
    if len(units) > _UNITS_MAX:
        yield _row("", f"and {len(units) - _UNITS_MAX} more: ructl list -t Unit -l node={obj.metadata.name}")


def _takes_units(spec: Node, status: NodeStatus) -> str:
    if spec.unschedulable:
        return "no: it is cordoned"
    return "yes" if status.readiness == NodeStatus.READY else "no: it is not ready"


def _row(name: str, value: str) -> str:
    return printable(f"  {name:<12}  {' '.join(value.split()) if name else value}").rstrip()
