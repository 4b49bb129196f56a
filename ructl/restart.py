"""`ructl restart`: units, one after the other, without an edit of their definitions."""

from __future__ import annotations

import click

from rube.api import Metadata, Object, Unit, UnitStatus
from rube.api.errors import FailedPreconditionError
from rube.api.keys import key_of
from rube.api.well_known import RESTART_ANNOTATION, UNIT_TYPE, bound_node
from ructl.completion import complete_labels, complete_namespaces, complete_units
from ructl.connection import Connection, run
from ructl.durations import now_ns
from ructl.edit import edit
from ructl.following import until_done
from ructl.ground import randomness
from ructl.options import dry_run_option, fixed_type_option, server_options, server_target, within_option
from ructl.output import place, tell
from ructl.query import Query, parse_query
from ructl.units import find_units
from ructl.wait import LateError


@click.command("restart")
@click.argument("units", nargs=-1, metavar="[UNIT…]", shell_complete=complete_units)
@click.option(
    "-n", "--namespace", metavar="NAMESPACE", help="The units' namespace.", shell_complete=complete_namespaces
)
@click.option("-l", "--labels", metavar="SELECTOR", help="All units with these labels.", shell_complete=complete_labels)
@click.option("--no-wait", is_flag=True, help="Ask for the restarts, and don't wait until they are done.")
@dry_run_option
@within_option("How long to wait for each unit. A restart that was asked for is carried out afterwards, too.")
@fixed_type_option(UNIT_TYPE)
@server_options
def command(
    units: tuple[str, ...],
    namespace: str | None,
    labels: str | None,
    no_wait: bool,
    dry_run: bool,
    within_s: float,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Restarts units where they are, one after the other, and waits for each until it runs.

    \b
    ructl restart web
    ructl restart -n system indexer crawler
    ructl restart -l tier=web --within 120
    ructl restart web --no-wait

    The unit's definition stays as it is. The request is the annotation `rube/restart`; the node carries out each
    request once, also one that was made while it was away, and reports it in its status as `restart_request`. A unit
    that has failed is started again. The first unit that fails or is late ends the command.

    Exit codes: 0, 3 for a unit that is late, 1 for an error, 2 for wrong usage.
    """
    if not units and not labels:
        raise click.UsageError("restart needs the name of a unit, or labels with -l")
    query = parse_query(UNIT_TYPE, namespace, labels, units)
    late = run(
        server_target(server, timeout_s),
        lambda connection: _restart_all(connection, query, None if no_wait else within_s, dry_run=dry_run),
    )
    if late:
        raise LateError(late)


async def _restart_all(connection: Connection, query: Query, within_s: float | None, *, dry_run: bool) -> str:
    """Gives the empty text, or which unit is late."""
    for obj in await find_units(connection, query):
        _check(obj)
        request = _new_request()
        await edit(connection, obj, lambda wanted, request=request: _ask(wanted, request), dry_run=dry_run)  # type: ignore[misc]
        if dry_run:
            tell(f"would restart {place(obj.metadata)}")
        elif within_s is None:
            tell(f"asked to restart {place(obj.metadata)}")
        elif late := await _wait(connection, obj, request, within_s):
            return late
    return ""


def _check(obj: Object) -> None:
    """Raises FailedPreconditionError for a unit that cannot be restarted."""
    spec = Unit()
    obj.spec.Unpack(spec)
    if spec.state == Unit.STOPPED:
        raise FailedPreconditionError(f"{place(obj.metadata)} is to be stopped: put it with state: RUNNING to start it")
    if not bound_node(obj.metadata):
        raise FailedPreconditionError(f"{place(obj.metadata)} has no node yet: see 'ructl describe'")


def _new_request() -> str:
    """A value that no other request has; people can see when it was made."""
    seconds = now_ns() // 1_000_000_000
    stamp = Metadata()
    stamp.create_time.FromSeconds(seconds)
    return f"{stamp.create_time.ToJsonString()}#{randomness().uid()}"


def _ask(obj: Object, request: str) -> bool:
    obj.metadata.annotations[RESTART_ANNOTATION] = request
    return True


async def _wait(connection: Connection, obj: Object, request: str, within_s: float) -> str:
    """Returns once the unit runs again; returns what is missing if it is late. Raises if it has failed."""
    late = await until_done(connection, key_of(obj), lambda found: _progress(found, request), within_s)
    if late:
        return f"{place(obj.metadata)} has not restarted within {within_s:g} s, and still may: {late}"
    tell(f"restarted {place(obj.metadata)}")
    return ""


def _progress(obj: Object, request: str) -> str:
    """Returns what the restart waits for, in words; empty once it is done. Raises FailedPreconditionError if it has
    failed."""
    status = UnitStatus()
    obj.status.Unpack(status)
    node = bound_node(obj.metadata)
    if status.restart_request != request:
        return f"node {node} has not carried it out" + (f": {status.message}" if status.message else "")
    if status.active_state == "failed":
        raise FailedPreconditionError(f"{place(obj.metadata)} was restarted and has failed: {status.message}")
    ended_well = status.active_state == "inactive" and status.result == "success"
    if status.active_state == "active" or ended_well:
        return ""
    return f"it is {status.active_state} ({status.sub_state})" + (f": {status.message}" if status.message else "")
