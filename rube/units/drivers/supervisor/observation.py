"""The controller's observation of a unit, from the files in its directory."""

from __future__ import annotations

from rube.api import UnitObservation, UnitStatus
from rube.units.drivers.supervisor import processes
from rube.units.drivers.supervisor.records import Plan, StateRecord
from rube.units.drivers.supervisor.shims import Look
from rube.units.service.states import ACTIVE_STATES, Result, State


def absent(node: str) -> UnitObservation:
    """Returns the observation of an absent unit."""
    return UnitObservation(
        status=UnitStatus(load_state="not-found", active_state="inactive", sub_state="dead", node=node)
    )


def observe(seen: Look, node: str, error: str = "") -> UnitObservation:
    """Returns the observation of a unit that is here. `error`: why it could not be managed. A lost definition has an
    empty uid, which no object has, so that it is written again."""
    unit = seen.unit
    status = UnitStatus(
        load_state="loaded" if unit is not None else "error",
        active_state="inactive",
        sub_state="dead",
        result="success",
        node=node,
    )
    said, notes = "", tuple[str, ...]()
    if seen.state_is_damaged:
        status.active_state, status.sub_state = ACTIVE_STATES[State.FAILED], State.FAILED.value
        status.result = Result.SUPERVISOR_LOST.value
    elif seen.state is not None:
        said, notes = _fill(status, seen, seen.state), seen.state.notes
    fails = status.result != "success"
    withstanding = seen.state.withstanding if seen.state is not None else ""
    observation = UnitObservation(installed=True, error=error or seen.why or withstanding, reason=said if fails else "")
    if unit is not None:
        status.unit_file_state = "enabled" if unit.enabled else "disabled"
        status.observed_generation = unit.generation
        observation.uid, observation.generation, observation.digest = unit.uid, unit.generation, unit.digest
        observation.last_action_id = unit.action_id
        notes += _without_effect(unit.plan)
    status.message = "; ".join(filter(None, ("" if fails else said, *notes)))
    observation.status.CopyFrom(status)
    return observation


def _without_effect(plan: Plan) -> tuple[str, ...]:
    fields, specifiers = ", ".join(plan.unsupported), ", ".join(plan.specifiers)
    said = [f"no effect without systemd: {fields}"] if fields else []
    return (*said, *([f"not replaced without systemd: {specifiers}"] if specifiers else []))


def _fill(status: UnitStatus, seen: Look, state: StateRecord) -> str:
    """Copies the shim's record, and returns its message."""
    machine = State.START if state.loading else state.state
    status.active_state, status.sub_state = ACTIVE_STATES[machine], machine.value
    status.result = state.result.value
    status.main_pid = state.main_pid
    if state.exit is not None:
        status.exit_code, status.exit_status = state.exit
    status.restarts = state.restarts
    if state.active_ns:
        status.active_time.FromNanoseconds(state.active_ns)
    if state.rests or seen.alive:
        return state.message
    if processes.start_time(status.main_pid) is None:
        status.main_pid = 0
    return f"its supervisor process {state.shim[0]} is gone, and a new one takes over"
