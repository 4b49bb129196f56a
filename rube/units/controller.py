"""The unit controller: decides how one machine's services become what their objects say. Pure; the drivers act.

A unit is started once for each generation and each boot of the machine; from then on the service's own restart policy
brings it back, and a unit that fails by that policy stays failed. A unit that runs as it should is adopted.

A request to restart is the annotation `rube/restart`, each new value another one. A unit is restarted once for the
newest; the memory has the last one, and if the memory is lost, the reported status has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import Decision, Metadata, State, Unit, UnitAction, UnitMemory, UnitObservation, UnitStatus
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.well_known import RESTART_ANNOTATION, UNIT_TYPE, Move, requested_move
from rube.controllers.contract import Input
from rube.units.boot import is_same_boot
from rube.units.names import parse_unit_name, unit_name
from rube.units.occurrences import occurrences, release, removal
from rube.units.policy.gate import PolicyGate
from rube.units.render import digest_of
from rube.units.report import NextReport, report
from rube.units.service.exit_codes import exit_detail, explain_exit
from rube.units.service.policy import CLD_EXITED
from rube.units.spec_checks import check_unit_spec
from rube.units.validate import sentence

_Unit = Unit
_Ensure = UnitAction.Ensure
# Active states of a unit that runs or will: restarts that systemd has scheduled are `activating`.
_UP = frozenset({"active", "reloading", "activating"})
# What systemd says of units that can be enabled; others (`static`, `indirect`, `masked`, …) are as they are.
_ENABLEMENT = {"enabled": True, "disabled": False}


class UnitController:
    """Keyed by api.systemd.Unit; State.observed and the actions are UnitObservation and UnitAction."""

    name = "unit"
    type = UNIT_TYPE
    selector = ""
    inputs: Sequence[Input] = ()

    def __init__(self, *, node: str, boot_id: str, gate: PolicyGate | None = None) -> None:
        """`node` is reported in each status; `boot_id` is new with each boot of the machine; `gate` has the node's
        policy."""
        self._node = node
        self._gate = gate or PolicyGate()
        self._boot_id = boot_id

    def thing_of(self, key: ObjectKey) -> str:
        return unit_name(key.namespace, key.name)

    def key_of_thing(self, name: str) -> ObjectKey | None:
        parsed = parse_unit_name(name)
        return None if parsed is None else ObjectKey(UNIT_TYPE, *parsed)

    def decide(self, state: State) -> Decision:
        if state.observe_error:
            return self._unseen(state)
        observed = UnitObservation()
        state.observed.Unpack(observed)
        unit = unit_name(state.key.namespace, state.key.name)
        if not state.HasField("object"):
            return self._remove(unit, observed) if observed.installed else Decision()
        memory = _memory_of(state)
        spec = _Unit()
        state.object.spec.Unpack(spec)
        move = requested_move(state.object.metadata)
        if move is not None and move.node != self._node:
            return self._release(state, observed, memory, move)
        invalid = sentence(check_unit_spec(spec.SerializeToString(deterministic=True)))
        refusal = "" if invalid else self._gate.refusal(spec)
        decision = Decision()
        if refusal:
            memory.ClearField("uid")  # it is started again once the policy allows it
            if observed.installed:
                decision.CopyFrom(_removal(unit))
        elif invalid:
            if observed.installed and observed.uid != state.object.metadata.uid:
                decision.CopyFrom(_removal(unit))
        else:
            self._ensure(decision, unit, state, spec, observed, memory)
        observed.error = observed.error or state.action_error
        if refusal or observed.error or invalid or not decision.actions:  # else it changes, and is decided again
            self._report(decision, state, self._status(state.object.metadata, observed, invalid or refusal), memory)
        self._tell(decision, state, observed, invalid, refusal)
        decision.memory.Pack(memory, TYPE_URL_PREFIX, deterministic=True)
        return decision

    def _tell(self, decision: Decision, state: State, observed: UnitObservation, invalid: str, refusal: str) -> None:
        mine = observed.installed and observed.uid == state.object.metadata.uid
        status = observed.status if mine else UnitStatus()
        why = _why_failed(status, observed.reason)
        decision.events.extend(
            occurrences(status, node=self._node, why_failed=why, error=observed.error, invalid=invalid, refusal=refusal)
        )

    def _remove(self, unit: str, observed: UnitObservation) -> Decision:
        decision = _removal(unit)
        decision.events.append(removal(self._node, observed.uid))
        return decision

    def _ensure(
        self,
        decision: Decision,
        unit: str,
        state: State,
        spec: Unit,
        observed: UnitObservation,
        memory: UnitMemory,
    ) -> None:
        """Adds the action that is needed, if any, and remembers it as the last one asked for."""
        metadata = state.object.metadata
        run = self._run(state, spec, observed, memory)
        memory.uid, memory.generation, memory.boot_id = metadata.uid, metadata.generation, self._boot_id
        memory.restart_request = metadata.annotations.get(RESTART_ANNOTATION, "") or memory.restart_request
        if run == _Ensure.KEEP and _is_installed_as(observed, metadata, spec):
            return
        if run == _Ensure.KEEP and memory.restart_pending:
            run = _Ensure.RESTART  # this action takes the place of the one that waits
        action = UnitAction(unit=unit, boot_id=self._boot_id)
        action.ensure.spec.CopyFrom(spec)
        action.ensure.uid = metadata.uid
        action.ensure.generation = metadata.generation
        action.ensure.run = run
        if run == _Ensure.RESTART:
            action.ensure.restart_request = memory.restart_request
            memory.restart_pending = bool(memory.restart_request)
        decision.actions.add().action.Pack(action, TYPE_URL_PREFIX, deterministic=True)

    def _run(
        self,
        state: State,
        spec: Unit,
        observed: UnitObservation,
        memory: UnitMemory,
    ) -> UnitAction.Ensure.Run.ValueType:
        metadata = state.object.metadata
        up = observed.installed and observed.status.active_state in _UP
        if spec.state == _Unit.STOPPED:
            return _Ensure.STOP if up else _Ensure.KEEP
        if not observed.installed:
            return _Ensure.START
        if observed.uid != metadata.uid or observed.digest != digest_of(spec) or _is_to_be_restarted(state, memory):
            return _Ensure.RESTART
        asked = (memory.uid, memory.generation) == (metadata.uid, metadata.generation)
        if up or (asked and is_same_boot(memory.boot_id, self._boot_id)):
            return _Ensure.KEEP
        return _Ensure.START

    def _release(
        self,
        state: State,
        observed: UnitObservation,
        memory: UnitMemory,
        move: Move,
    ) -> Decision:
        """Stops and removes the unit, and says so once nothing of it is left: then it may start elsewhere."""
        where = move.node or "another node"
        decision = _removal(unit_name(state.key.namespace, state.key.name)) if observed.installed else Decision()
        observed.error = observed.error or state.action_error
        status = self._status(state.object.metadata, observed, "")
        if observed.installed:
            status.message = status.message or f"stops here, to move to {where}"
        else:
            status.message, status.released_for = f"stopped here, to move to {where}", move.request
            status.observed_generation = state.object.metadata.generation
            decision.events.append(release(self._node, where))
        memory.ClearField("uid")  # even if the move fails, no action was asked for last
        self._report(decision, state, status, memory)
        decision.memory.Pack(memory, TYPE_URL_PREFIX, deterministic=True)
        return decision

    def _unseen(self, state: State) -> Decision:
        """Handles an unobservable unit: says so in the object's status, and keeps the memory.

        A deleted one is removed without an observation: a removal needs no record, only that the driver can find its
        processes.
        """
        if not state.HasField("object"):
            return _removal(unit_name(state.key.namespace, state.key.name))
        decision = Decision()
        memory = _memory_of(state)
        status = UnitStatus()
        state.object.status.Unpack(status)
        status.node, status.message = self._node, f"cannot see the unit: {state.observe_error}"
        self._report(decision, state, status, memory)
        decision.memory.Pack(memory, TYPE_URL_PREFIX, deterministic=True)
        return decision

    def _report(
        self,
        decision: Decision,
        state: State,
        status: UnitStatus,
        memory: UnitMemory,
    ) -> None:
        """Adds the status call that is due, if any, and when to look again for one that is not yet due."""
        seen = _reported(state)
        status.restart_request = seen.restart_request if memory.restart_pending else memory.restart_request
        match report(seen, status, memory, state.now):
            case NextReport(now=True):
                call = decision.calls.add().update_status
                call.key.CopyFrom(state.key)
                call.uid = state.object.metadata.uid
                call.status.Pack(status, TYPE_URL_PREFIX, deterministic=True)
                call.observed_generation = status.observed_generation
                memory.report_time.CopyFrom(state.now)
            case NextReport(wait_ns=wait_ns) if wait_ns:
                decision.wake_after.FromNanoseconds(wait_ns)

    def _status(self, metadata: Metadata, observed: UnitObservation, invalid: str) -> UnitStatus:
        status = UnitStatus()
        mine = observed.installed and observed.uid == metadata.uid
        if mine:
            status.CopyFrom(observed.status)
        else:
            status.load_state, status.active_state, status.sub_state = "not-found", "inactive", "dead"
        status.node = self._node
        status.observed_generation = metadata.generation if invalid or mine else 0
        if mine and not invalid:
            status.observed_generation = observed.generation
        if invalid:
            status.message = f"generation {metadata.generation} is not applied: {invalid}"
        elif observed.error:
            status.message = observed.error
        elif mine and (status.active_state == "failed" or status.sub_state == "auto-restart"):
            status.message = "; ".join(filter(None, (_why_failed(status, observed.reason), status.message)))
        return status


def _memory_of(state: State) -> UnitMemory:
    memory = UnitMemory()
    state.memory.Unpack(memory)
    memory.restart_pending = memory.restart_pending and state.actions_pending
    return memory


def _reported(state: State) -> UnitStatus:
    status = UnitStatus()
    state.object.status.Unpack(status)
    return status


def _is_to_be_restarted(state: State, memory: UnitMemory) -> bool:
    request = state.object.metadata.annotations.get(RESTART_ANNOTATION, "")
    return request not in ("", memory.restart_request, _reported(state).restart_request)


def _removal(unit: str) -> Decision:
    action = UnitAction(unit=unit, remove=UnitAction.Remove())
    decision = Decision()
    decision.actions.add().action.Pack(action, TYPE_URL_PREFIX, deterministic=True)
    return decision


def _is_installed_as(observed: UnitObservation, metadata: Metadata, spec: Unit) -> bool:
    """Returns whether nothing is to be written: definition, owner, generation and enablement are those of the
    object."""
    return (
        observed.installed
        and observed.uid == metadata.uid
        and observed.generation == metadata.generation
        and observed.digest == digest_of(spec)
        and _ENABLEMENT.get(observed.status.unit_file_state, spec.enabled) == spec.enabled
    )


def _why_failed(status: UnitStatus, reason: str) -> str:
    """Returns how a unit failed, or which failure it restarts after; empty after a success.

    Such as `failed: exec.start: /x: no such file (exit-code, status 203/EXEC)`, `restarts after a failure (signal 9)`.
    """
    restarts = status.sub_state == "auto-restart"
    if restarts and status.result in ("", "success"):
        return ""
    reason = reason or explain_exit(status.exit_status if status.exit_code == CLD_EXITED else 0)
    detail = ", ".join(filter(None, (status.result, exit_detail(status.exit_code, status.exit_status))))
    words = "restarts after a failure" if restarts else "failed"
    return f"{words}: {reason} ({detail})" if reason else f"{words} ({detail})"
