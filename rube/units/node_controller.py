"""The node controller of units: the controller, a driver, and the reports of their decisions to the node and its
log."""

from __future__ import annotations

from rube.api import UnitAction, UnitObservation, UnitStatus
from rube.controllers.config import Decided, NodeController
from rube.controllers.driver import Driver
from rube.host import Clock
from rube.units.controller import UnitController
from rube.units.policy import GuardedDriver, PolicyGate
from rube.units.unit_log import UnitLog


def unit_node_controller(
    *, node: str, boot_id: str, driver: Driver, driver_name: str, clock: Clock, gate: PolicyGate | None = None
) -> NodeController:
    """Returns the node controller of `api.systemd.Unit`. `boot_id` is new with each boot of the machine; `gate` has the
    node's policy: without it, that of a node whose rubelet is not root."""
    gate = gate or PolicyGate()
    return NodeController(
        controller=UnitController(node=node, boot_id=boot_id, gate=gate),
        driver=GuardedDriver(driver, gate),
        recheck=gate.changed,
        driver_name=driver_name,
        removal=lambda name: UnitAction(unit=name, remove=UnitAction.Remove()),
        unstored_status=lambda reporter, reason: UnitStatus(node=reporter, message=reason),
        problem=problem_of,
        observer=UnitLog(clock).note,
    )


def problem_of(decided: Decided) -> str:
    """Returns why a deleted unit is still on this machine; empty if nothing keeps it from being removed."""
    state = decided.state
    if state.HasField("object"):
        return ""
    observed = UnitObservation()
    state.observed.Unpack(observed)
    here = observed.installed or bool(state.observe_error)
    why = state.action_error or state.observe_error or observed.error
    if not (here and why):
        return ""
    return f"unit {decided.key.namespace}/{decided.key.name} was deleted and cannot be removed: {why}"
