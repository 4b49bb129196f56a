"""The recovery of a shim from the account of the one before, which was killed, or whose account is lost."""

from __future__ import annotations

import os

from rube.units.boot import is_same_boot
from rube.units.drivers.supervisor import files
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.leftovers import kill_all, kill_leftovers
from rube.units.drivers.supervisor.records import LOST_VARIABLE, RequestRecord, StateRecord
from rube.units.drivers.supervisor.shim import Shim, now_ns
from rube.units.service.policy import Exit
from rube.units.service.states import IDLE, State


def recover(shim: Shim) -> None:
    """Recovers, before any request is taken.

    Raises TimeoutError if remaining processes of the unit cannot be killed, FileError for the account of a later
    release.
    """
    try:
        state = files.read(shim.account.directory, StateRecord)
    except FileError as error:
        if error.newer:
            raise
        _go_on_without(shim, str(error))
        return
    if state is not None and is_same_boot(state.boot_id, shim.boot_id):
        _go_on_from(shim, state)
        return
    if state is None and LOST_VARIABLE in os.environ:
        _go_on_without(shim, f"{StateRecord.NAME} was removed")


def _go_on_from(shim: Shim, state: StateRecord) -> None:
    machine = shim.machine
    shim.request_id, shim.active_ns, shim.message = state.request_id, state.active_ns, state.message
    machine.result, machine.restarts = state.result, state.restarts
    machine.main_exit = Exit(*state.exit) if state.exit else None
    machine.starts_ns = list(state.starts_ns)
    machine.forbid_restart = state.forbid_restart
    machine.start_pending = state.start_pending or state.loading
    last, killed = State.DEAD if state.loading else state.state, False
    if state.loading or last not in IDLE:
        killed = kill_leftovers(state.invocation, state.processes)
    if not state.rests:
        _read_definition(shim)
        shim.invocation = state.invocation
        shim.message = f"its supervisor process {state.shim[0]} was killed"
    shim.carry_out(machine.supervision_lost(last, killed=killed, now_ns=now_ns()))


def _go_on_without(shim: Shim, why: str) -> None:
    """Recovers without an account. The service counts as one that ran, and its remaining processes are killed, so that
    the restart policy decides. A request that was carried out is not carried out again."""
    machine = shim.machine
    killed = kill_all(shim.account.directory)
    _read_definition(shim)
    request = shim.account.read_request() or RequestRecord()
    if shim.account.unit is not None and shim.account.unit.action_id == request.id:
        shim.request_id = request.id
    machine.forbid_restart = request.verb == "stop"
    shim.message = f"its supervisor process and its record are lost: {why}"
    shim.carry_out(machine.supervision_lost(State.RUNNING, killed=killed, now_ns=now_ns()))


def _read_definition(shim: Shim) -> None:
    try:
        shim.account.read_unit()
    except FileError as error:
        shim.account.note(str(error))
    shim.machine.policy = shim.plan.policy
