"""The unit controller's decisions, one case a line."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from rube.api import CoreEvent, Decision, State, Unit, UnitAction, UnitMemory, UnitObservation, UnitStatus
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.api.well_known import RESTART_ANNOTATION
from rube.controllers.contract import evaluate
from rube.units.controller import UnitController
from rube.units.render import digest_of
from tests.unit.controllers.cluster_fake import of_unit

KEY = ObjectKey("api.systemd.Unit", "default", "web")
CONTROLLER = UnitController(node="worker-1", boot_id="boot-1")
UID, GENERATION = "uid-1", 3
Ensure = UnitAction.Ensure
NOW_S = 1_000_000


def spec_of(start: str = "/bin/serve", *, stopped: bool = False, enabled: bool = False) -> Unit:
    spec = Unit(enabled=enabled, state=Unit.STOPPED if stopped else Unit.RUNNING)
    spec.service.exec.start.append(start)
    return spec


def observed(
    active: str, *, uid: str = UID, generation: int = GENERATION, start: str = "/bin/serve", error: str = ""
) -> UnitObservation:
    seen = UnitObservation(
        installed=True, uid=uid, generation=generation, digest=digest_of(spec_of(start)), error=error
    )
    seen.status.load_state, seen.status.active_state = "loaded", active
    return seen


NOTHING = UnitObservation()
ASKED = UnitMemory(uid=UID, generation=GENERATION, boot_id="boot-1")
ASKED_BEFORE_BOOT = UnitMemory(uid=UID, generation=GENERATION, boot_id="boot-0")
NEVER = UnitMemory()


def state_of(
    spec: Unit | None,
    seen: UnitObservation,
    memory: UnitMemory = NEVER,
    status: UnitStatus | None = None,
) -> State:
    state = State(key=KEY.to_proto(), observed=pack(seen), memory=pack(memory))
    if spec is not None:
        state.object.CopyFrom(of_unit("web", spec))
        state.object.metadata.uid, state.object.metadata.generation = UID, GENERATION
    if status is not None:
        state.object.status.CopyFrom(pack(status))
    state.now.FromSeconds(NOW_S)
    return state


def decide(state: State) -> Decision:
    return evaluate(CONTROLLER, state, check_purity=True)


def action_of(decision: Decision) -> str:
    """`nothing`, `remove`, or what `ensure` runs."""
    if not decision.actions:
        return "nothing"
    action = UnitAction()
    assert decision.actions[0].action.Unpack(action)
    assert action.unit == "rube-default.web.service"
    return "remove" if action.HasField("remove") else Ensure.Run.Name(action.ensure.run).lower()


def status_of(decision: Decision) -> UnitStatus | None:
    if not decision.calls:
        return None
    call = decision.calls[0].update_status
    assert call.uid == UID
    status = UnitStatus()
    assert call.status.Unpack(status)
    return status


def enablement(state: str) -> UnitObservation:
    seen = observed("active")
    seen.status.unit_file_state = state
    return seen


class Case(NamedTuple):
    name: str
    spec: Unit | None
    seen: UnitObservation
    memory: UnitMemory
    action: str


RUNNING, STOPPED = spec_of(), spec_of(stopped=True)
CASES = [
    Case("a new unit is started", RUNNING, NOTHING, NEVER, "start"),
    Case("a new stopped unit is installed", STOPPED, NOTHING, NEVER, "keep"),
    Case("a running one is adopted", RUNNING, observed("active"), NEVER, "nothing"),
    Case("one that starts is adopted", RUNNING, observed("activating"), NEVER, "nothing"),
    Case("a dead one is started once", RUNNING, observed("inactive"), NEVER, "start"),
    Case("one that ended stays ended", RUNNING, observed("inactive"), ASKED, "nothing"),
    Case("one that failed stays failed", RUNNING, observed("failed"), ASKED, "nothing"),
    Case("after a reboot it is started", RUNNING, observed("inactive"), ASKED_BEFORE_BOOT, "start"),
    Case("another definition restarts", RUNNING, observed("active", start="/bin/old"), ASKED, "restart"),
    Case("also a failed one", RUNNING, observed("failed", start="/bin/old"), ASKED, "restart"),
    Case("another definition, to be down", STOPPED, observed("inactive", start="/bin/old"), ASKED, "keep"),
    Case("another object's unit is replaced", RUNNING, observed("active", uid="uid-0"), ASKED, "restart"),
    Case("another object's, to be down", STOPPED, observed("active", uid="uid-0"), NEVER, "stop"),
    Case("a newer generation alone keeps it running", RUNNING, observed("active", generation=2), NEVER, "keep"),
    Case("and starts a dead one", RUNNING, observed("failed", generation=2), NEVER, "start"),
    Case("to be down, it is stopped", STOPPED, observed("active"), ASKED, "stop"),
    Case("also while it waits to restart", STOPPED, observed("activating"), ASKED, "stop"),
    Case("down already", STOPPED, observed("inactive"), ASKED, "nothing"),
    Case("failed is down", STOPPED, observed("failed"), ASKED, "nothing"),
    Case("removed by hand, it comes back", RUNNING, NOTHING, ASKED, "start"),
    Case("disabled by hand, it is enabled", spec_of(enabled=True), enablement("disabled"), ASKED, "keep"),
    Case("enabled by hand, it is disabled", RUNNING, enablement("enabled"), ASKED, "keep"),
    Case("enabled, it stays so", spec_of(enabled=True), enablement("enabled"), ASKED, "nothing"),
    Case("what cannot be enabled is left", spec_of(enabled=True), enablement("static"), ASKED, "nothing"),
    Case("nor disabled", RUNNING, enablement("indirect"), ASKED, "nothing"),
    Case("deleted, it is removed", None, observed("active"), ASKED, "remove"),
    Case("gone, nothing is left to do", None, NOTHING, ASKED, "nothing"),
    Case("an invalid spec changes nothing", spec_of("/bin/x\n"), observed("active"), ASKED, "nothing"),
    Case("but ends what another object ran", spec_of("/bin/x\n"), observed("active", uid="uid-0"), NEVER, "remove"),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_done(case: Case) -> None:
    assert action_of(decide(state_of(case.spec, case.seen, case.memory))) == case.action


def test_a_deleted_unit_is_forgotten_once_it_is_gone() -> None:
    assert decide(state_of(None, NOTHING, ASKED)) == Decision()


def test_what_was_asked_for_is_remembered_with_the_action() -> None:
    memory = UnitMemory()
    assert decide(state_of(RUNNING, NOTHING)).memory.Unpack(memory)
    assert (memory.uid, memory.generation, memory.boot_id) == (UID, GENERATION, "boot-1")


def test_nothing_is_reported_while_an_action_is_about_to_change_it() -> None:
    assert status_of(decide(state_of(RUNNING, NOTHING))) is None


def test_status_says_what_the_machine_says_and_for_which_generation() -> None:
    status = status_of(decide(state_of(RUNNING, observed("active"), ASKED)))
    assert status is not None
    assert (status.active_state, status.observed_generation, status.node) == ("active", GENERATION, "worker-1")
    assert not status.message


def test_the_same_status_is_not_written_again() -> None:
    status = status_of(decide(state_of(RUNNING, observed("active"), ASKED)))
    assert status_of(decide(state_of(RUNNING, observed("active"), ASKED, status))) is None


def test_an_invalid_spec_is_named_in_the_status() -> None:
    status = status_of(decide(state_of(spec_of("/bin/x\n"), observed("active"), ASKED)))
    assert status is not None
    assert "generation 3 is not applied" in status.message
    assert "service.exec.start[0]" in status.message
    assert status.active_state == "active", "what runs is still told"


def test_a_drivers_error_is_the_message_though_an_action_is_pending() -> None:
    seen = observed("inactive", start="/bin/old", error="no bus")
    decision = decide(state_of(RUNNING, seen, ASKED))
    status = status_of(decision)
    assert action_of(decision) == "restart"
    assert status is not None
    assert status.message == "no bus"


def test_a_failed_unit_says_how() -> None:
    seen = observed("failed")
    seen.status.result, seen.status.exit_code, seen.status.exit_status = "exit-code", 1, 3
    status = status_of(decide(state_of(RUNNING, seen, ASKED)))
    assert status is not None
    assert status.message == "failed (exit-code, status 3)"


def test_a_failed_unit_says_the_reason_that_its_driver_saw_and_what_has_no_effect() -> None:
    seen = observed("failed")
    seen.status.result, seen.status.exit_code, seen.status.exit_status = "exit-code", 1, 203
    seen.reason, seen.status.message = "exec.start: /x: no such file", "no effect without systemd: wants"
    status = status_of(decide(state_of(RUNNING, seen, ASKED)))
    assert status is not None
    assert status.message == (
        "failed: exec.start: /x: no such file (exit-code, status 203/EXEC); no effect without systemd: wants"
    )


def test_a_unit_that_is_about_to_restart_says_what_after() -> None:
    seen = observed("activating")
    seen.status.sub_state, seen.status.result = "auto-restart", "exit-code"
    seen.status.exit_code, seen.status.exit_status = 1, 217
    status = status_of(decide(state_of(RUNNING, seen, ASKED)))
    assert status is not None
    assert status.message.startswith("restarts after a failure: user: the user does not exist on this machine")


def reported(seconds_ago: float) -> UnitMemory:
    memory = UnitMemory()
    memory.CopyFrom(ASKED)
    memory.report_time.FromNanoseconds(round((NOW_S - seconds_ago) * 1e9))
    return memory


def test_noise_waits_ten_seconds_after_the_last_report() -> None:
    status = status_of(decide(state_of(RUNNING, observed("active"), ASKED)))
    noisy = observed("active")
    noisy.status.restarts, noisy.status.main_pid = 7, 4711
    early = decide(state_of(RUNNING, noisy, reported(4), status))
    assert status_of(early) is None
    assert early.wake_after.ToSeconds() == 6
    assert status_of(decide(state_of(RUNNING, noisy, reported(10), status))) is not None


def test_a_change_of_meaning_waits_a_second_at_most() -> None:
    status = status_of(decide(state_of(RUNNING, observed("active"), ASKED)))
    early = decide(state_of(RUNNING, observed("failed"), reported(0.5), status))
    assert status_of(early) is None
    assert early.wake_after.ToMilliseconds() == 500
    assert status_of(decide(state_of(RUNNING, observed("failed"), reported(1), status))) is not None


def test_a_clock_that_was_set_back_delays_no_report() -> None:
    status = status_of(decide(state_of(RUNNING, observed("active"), ASKED)))
    assert status_of(decide(state_of(RUNNING, observed("failed"), reported(-3600), status))) is not None


def test_things_have_keys_and_foreign_names_have_none() -> None:
    assert CONTROLLER.key_of_thing(CONTROLLER.thing_of(KEY)) == KEY
    assert CONTROLLER.key_of_thing("sshd.service") is None


def test_why_an_action_failed_is_the_message_too() -> None:
    state = state_of(RUNNING, NOTHING, ASKED)
    state.action_error = "cannot start a supervisor process"
    decision = decide(state)
    status = status_of(decision)
    assert action_of(decision) == "start"
    assert status is not None
    assert status.message == "cannot start a supervisor process"


def test_a_unit_that_cannot_be_seen_is_reported_so_and_left_alone() -> None:
    state = state_of(RUNNING, NOTHING, ASKED)
    state.ClearField("observed")
    state.observe_error = "no bus"
    decision = decide(state)
    assert action_of(decision) == "nothing"
    status = status_of(decision)
    assert status is not None
    assert status.message == "cannot see the unit: no bus"
    memory = UnitMemory()
    assert decision.memory.Unpack(memory)
    assert (memory.generation, memory.boot_id) == (ASKED.generation, ASKED.boot_id)


def test_a_deleted_unit_that_cannot_be_seen_is_removed_all_the_same() -> None:
    state = state_of(None, NOTHING, ASKED)
    state.ClearField("observed")
    state.observe_error = "no bus"
    decision = decide(state)
    assert action_of(decision) == "remove"


def moving(seen: UnitObservation, request: str = "worker-2#1") -> Decision:
    state = state_of(spec_of(), seen, ASKED)
    state.object.metadata.annotations["rube/move-to"] = request
    return evaluate(CONTROLLER, state, check_purity=True)


def told_of(decision: Decision) -> UnitStatus:
    status = status_of(decision)
    assert status is not None
    return status


def test_a_unit_that_is_to_move_is_removed_and_let_go_once_nothing_of_it_is_left() -> None:
    stopping = moving(observed("active"))
    action = UnitAction()
    stopping.actions[0].action.Unpack(action)
    assert action.HasField("remove")
    assert not told_of(stopping).released_for
    assert told_of(stopping).message == "stops here, to move to worker-2"
    gone = moving(NOTHING)
    assert not gone.actions
    assert told_of(gone).released_for == "worker-2#1"
    assert told_of(gone).active_state == "inactive"
    stuck = moving(observed("deactivating", error="will not stop"))
    assert not told_of(stuck).released_for
    assert told_of(stuck).message == "will not stop"


def test_a_move_that_was_taken_back_starts_the_unit_again() -> None:
    state = state_of(spec_of(), NOTHING)
    state.memory.CopyFrom(moving(NOTHING).memory)
    action = UnitAction()
    evaluate(CONTROLLER, state, check_purity=True).actions[0].action.Unpack(action)
    assert action.ensure.run == Ensure.START


def test_a_move_to_this_node_is_none() -> None:
    assert not moving(observed("active"), "worker-1#1").actions


# Restarts that a user asks for

FIRST = UnitMemory(uid=UID, generation=GENERATION, boot_id="boot-1", restart_request="first")
DONE = UnitStatus(active_state="active", observed_generation=GENERATION, restart_request="first")


def asked(
    request: str,
    memory: UnitMemory = ASKED,
    *,
    active: str = "active",
    status: UnitStatus | None = None,
    stopped: bool = False,
) -> State:
    state = state_of(spec_of(stopped=stopped), observed(active), memory, status)
    state.object.metadata.annotations[RESTART_ANNOTATION] = request
    return state


def memory_of(request: str) -> UnitMemory:
    memory = UnitMemory(restart_request=request)
    memory.MergeFrom(ASKED)
    return memory


class Request(NamedTuple):
    name: str
    state: State
    action: str


REQUESTS = [
    Request("a running unit is restarted", asked("first"), "restart"),
    Request("so is a failed one", asked("first", active="failed"), "restart"),
    Request("and one that waits to restart", asked("first", active="activating"), "restart"),
    Request("once", asked("first", FIRST), "nothing"),
    Request("again for another request", asked("second", FIRST), "restart"),
    Request("not for an empty one", asked("", FIRST), "nothing"),
    Request("nor once that failed since", asked("first", FIRST, active="failed"), "nothing"),
    Request("nor where a lost memory's request was reported", asked("first", NEVER, status=DONE), "nothing"),
    Request("but where another one was reported", asked("second", NEVER, status=DONE), "restart"),
    Request(
        "nor for one that was carried out before the last", asked("first", memory_of("second"), status=DONE), "nothing"
    ),
    Request("nor a unit that is to be down", asked("first", stopped=True, active="inactive"), "nothing"),
    Request("which is stopped first", asked("first", stopped=True), "stop"),
]


@pytest.mark.parametrize("case", REQUESTS, ids=[case.name for case in REQUESTS])
def test_a_request_to_restart(case: Request) -> None:
    assert action_of(decide(case.state)) == case.action


def test_a_request_while_a_unit_was_down_does_not_restart_it_later() -> None:
    memory = UnitMemory()
    assert decide(asked("first", stopped=True, active="inactive")).memory.Unpack(memory)
    state = asked("first", memory)
    state.object.metadata.generation = GENERATION
    assert action_of(decide(state)) == "nothing"


def test_actions_of_two_requests_are_two_actions() -> None:
    actions = [decide(asked(request)).actions[0].action.value for request in ("first", "second")]
    assert actions[0] != actions[1]


def test_a_request_is_reported_once_it_was_carried_out() -> None:
    status = status_of(decide(asked("first", FIRST)))
    assert status is not None
    assert status.restart_request == "first"


def test_a_request_whose_action_failed_is_not_reported_and_not_lost() -> None:
    memory = UnitMemory()
    assert decide(asked("first")).memory.Unpack(memory)
    state = asked("first", memory)
    state.action_error, state.actions_pending = "no space left", True
    # What it is asked for besides, such as to be enabled, must not take the place of the restart.
    state.object.metadata.generation += 1
    decision = decide(state)
    status = status_of(decision)
    assert action_of(decision) == "restart"
    assert status is not None
    assert (status.message, status.restart_request) == ("no space left", "")


def test_a_restart_that_is_under_way_is_left_to_end_and_what_is_seen_is_reported() -> None:
    memory = UnitMemory()
    assert decide(asked("first")).memory.Unpack(memory)
    state = asked("first", memory, active="deactivating")
    state.actions_pending = True
    decision = decide(state)
    status = status_of(decision)
    assert action_of(decision) == "nothing"
    assert status is not None
    assert (status.active_state, status.restart_request) == ("deactivating", "")


def test_another_action_that_fails_repeats_no_restart() -> None:
    state = asked("first", FIRST)
    state.action_error = "no space left"
    assert action_of(decide(state)) == "nothing"


def events_of(decision: Decision) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in decision.events]


def test_a_run_is_told_once_each_time() -> None:
    seen = observed("active")
    seen.status.active_time.FromSeconds(5)
    first, again = decide(state_of(spec_of(), seen, ASKED)), decide(state_of(spec_of(), seen, ASKED))
    assert events_of(first) == [("Started", "started on node worker-1")]
    assert list(first.events) == list(again.events)
    seen.status.restarts = 1
    assert decide(state_of(spec_of(), seen, ASKED)).events[0].id != first.events[0].id


@pytest.mark.parametrize(
    ("result", "reason"), [("exit-code", "Failed"), ("start-limit-hit", "RestartedTooOften"), ("timeout", "Failed")]
)
def test_a_failure_is_told_with_its_end(result: str, reason: str) -> None:
    seen = observed("failed")
    seen.status.result, seen.status.exit_code, seen.status.exit_status = result, 1, 3
    (event,) = decide(state_of(spec_of(), seen, ASKED)).events
    assert (event.type, event.reason) == (CoreEvent.WARNING, reason)
    assert f"({result}, status 3)" in event.message


def test_restarts_are_told_and_are_no_warning_after_a_success() -> None:
    seen = observed("activating")
    seen.status.sub_state, seen.status.result = "auto-restart", "success"
    (event,) = decide(state_of(spec_of(), seen, ASKED)).events
    assert (event.type, event.reason) == (CoreEvent.NORMAL, "Restarting")
    seen.status.result, seen.status.exit_code, seen.status.exit_status = "exit-code", 1, 7
    (event,) = decide(state_of(spec_of(), seen, ASKED)).events
    assert (event.type, event.reason) == (CoreEvent.WARNING, "Restarting")
    assert "status 7" in event.message


def test_what_goes_wrong_before_a_run_is_told() -> None:
    (event,) = decide(state_of(spec_of(), observed("inactive", error="no space left"), ASKED)).events
    assert (event.type, event.reason, event.message) == (CoreEvent.WARNING, "ActionFailed", "no space left")
    (event,) = decide(state_of(Unit(), NOTHING)).events
    assert (event.type, event.reason) == (CoreEvent.WARNING, "NotApplied")


def test_a_unit_without_an_object_is_told_of_as_the_object_that_it_was() -> None:
    (event,) = decide(state_of(None, observed("active", uid="uid-0"))).events
    assert (event.reason, event.uid) == ("Removing", "uid-0")
    assert decide(state_of(None, NOTHING)).events == []
