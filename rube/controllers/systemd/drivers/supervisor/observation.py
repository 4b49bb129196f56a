"""What the files of a unit's directory say of it, as the controller's observation."""

from __future__ import annotations

from typing import Any

from rube.api.systemd_pb2 import UnitObservation, UnitStatus
from rube.controllers.systemd.drivers.supervisor import files, processes, shims
from rube.controllers.systemd.service.states import ACTIVE_STATES, State


def observe(unit: dict[str, Any] | None, state: dict[str, Any], node: str, error: str = "") -> UnitObservation:
    """Of what the driver (`unit`; None: nothing) and the shim (`state`; {}: nothing since boot) have written."""
    if unit is None:
        return UnitObservation(
            status=UnitStatus(load_state="not-found", active_state="inactive", sub_state="dead", node=node)
        )
    status = UnitStatus(
        load_state="loaded",
        active_state="inactive",
        sub_state="dead",
        result="success",
        unit_file_state="enabled" if unit["enabled"] else "disabled",
        observed_generation=unit["generation"],
        node=node,
    )
    said = _fill(status, state) if state else ""
    fails = status.result != "success"
    status.message = "; ".join(filter(None, ("" if fails else said, *_without_effect(unit["plan"]))))
    return UnitObservation(
        installed=True,
        uid=unit["uid"],
        generation=unit["generation"],
        digest=unit["digest"],
        status=status,
        error=error,
        last_action_id=unit["action_id"],
        reason=said if fails else "",
    )


def _without_effect(plan: dict[str, Any]) -> list[str]:
    fields, specifiers = ", ".join(plan["unsupported"]), ", ".join(plan["specifiers"])
    said = [f"no effect without systemd: {fields}"] if fields else []
    return said + ([f"not replaced without systemd: {specifiers}"] if specifiers else [])


def _fill(status: UnitStatus, state: dict[str, Any]) -> str:
    """Takes over what the shim wrote, and gives its message."""
    machine = State.START if state["loading"] else State(state["state"])
    status.active_state, status.sub_state = ACTIVE_STATES[machine], machine.value
    status.result = state["result"]
    status.main_pid = state["main_pid"]
    if state["exit"]:
        status.exit_code, status.exit_status = state["exit"]
    status.restarts = state["restarts"]
    if state["active_ns"]:
        status.active_time.FromNanoseconds(state["active_ns"])
    if files.rests(state) or shims.is_alive(state):
        return str(state["message"])
    if processes.start_time(status.main_pid) is None:
        status.main_pid = 0
    return f"its supervisor process {state['shim'][0]} is gone, and a new one takes over"
