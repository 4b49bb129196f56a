"""The events that end each state of a service: tables from state to what follows. Pure. An event that is not in a table
waits."""

from __future__ import annotations

from collections.abc import Callable

from rube.units.service.effects import FindMain
from rube.units.service.lifecycle import Lifecycle
from rube.units.service.states import Result, State

Row = Callable[[Lifecycle, Result], None]


def wait(service: Lifecycle, result: Result) -> None:
    """Does nothing: the present step ends first; or the process was left running (KillMode=none) and no longer
    matters."""


def _fail(service: Lifecycle, result: Result) -> None:
    service.enter_signal(State.STOP_SIGTERM, result)


def _main_ended_in_start(service: Lifecycle, result: Result) -> None:
    if service.policy.type == "oneshot" and result is Result.SUCCESS:
        service.enter_start_post()
    elif service.policy.type == "notify" and result is Result.SUCCESS:
        _fail(service, Result.PROTOCOL)
    else:
        _fail(service, result) if result is not Result.SUCCESS else service.enter_running(result)


def _control_ended_in_start(service: Lifecycle, result: Result) -> None:
    if result is Result.SUCCESS and (service.policy.has_pid_file or service.policy.guess_main_pid):
        if service.policy.has_pid_file and service.policy.commands.get("start_post"):
            service.enter_start_post()
        else:
            service.effects.append(FindMain())
    elif result is Result.SUCCESS:
        service.enter_start_post()
    else:
        _fail(service, result)


def _control_ended_in_start_post(service: Lifecycle, result: Result) -> None:
    if result is Result.SUCCESS:
        service.started()
    else:
        _fail(service, result)


def _stopped(service: Lifecycle, result: Result) -> None:
    if not (service.main_alive or service.control_alive):
        service.enter_stop_post(result)


def _finished(service: Lifecycle, result: Result) -> None:
    service.note(result)
    mode = service.policy.kill_mode
    if service.main_alive or service.control_alive or (service.others and mode == "control-group"):
        return
    if not service.others or mode != "mixed":
        service.enter_dead(result)
    elif service.state is State.FINAL_SIGTERM:
        _finish_by_force(service, result)


def _kill_or_go_on(service: Lifecycle, result: Result) -> None:
    if service.policy.send_sigkill:
        service.enter_signal(State.STOP_SIGKILL, result)
    else:
        service.enter_stop_post(result)


def _finish_by_force(service: Lifecycle, result: Result) -> None:
    if service.policy.send_sigkill:
        service.enter_signal(State.FINAL_SIGKILL, result)
    else:
        _give_up(service, result)


def _give_up(service: Lifecycle, result: Result) -> None:
    service.note(result)
    service.give_up()


def _emptied_in_start(service: Lifecycle, result: Result) -> None:
    if service.awaits_pid_file or (service.policy.type == "notify" and service.main_known):
        _fail(service, Result.PROTOCOL)


CONTROL_STATES = frozenset(
    {State.CONDITION, State.START_PRE, State.START, State.START_POST, State.STOP, State.STOP_POST}
)
"""The states in which the next command of a list follows a success; in the others the list is being killed."""

MAIN_ENDED: dict[State, Row] = {
    State.START: _main_ended_in_start,
    State.START_POST: wait,
    State.RUNNING: Lifecycle.enter_running,
    State.STOP: wait,
    State.STOP_WATCHDOG: _stopped,
    State.STOP_SIGTERM: _stopped,
    State.STOP_SIGKILL: _stopped,
    State.STOP_POST: wait,
    State.FINAL_SIGTERM: _finished,
    State.FINAL_SIGKILL: _finished,
}
CONTROL_ENDED: dict[State, Row] = {
    State.CONDITION: lambda service, result: (
        service.enter_start_pre() if result is Result.SUCCESS else _fail(service, result)
    ),
    State.START_PRE: lambda service, result: (
        service.enter_start() if result is Result.SUCCESS else _fail(service, result)
    ),
    State.START: _control_ended_in_start,
    State.START_POST: _control_ended_in_start_post,
    State.STOP: _fail,
    State.STOP_WATCHDOG: _stopped,
    State.STOP_SIGTERM: _stopped,
    State.STOP_SIGKILL: _stopped,
    State.STOP_POST: lambda service, result: service.enter_signal(State.FINAL_SIGTERM, result),
    State.FINAL_SIGTERM: _finished,
    State.FINAL_SIGKILL: _finished,
}
EMPTIED: dict[State, Row] = {
    State.START: _emptied_in_start,
    State.START_POST: _emptied_in_start,
    State.RUNNING: Lifecycle.enter_running,
    State.STOP_WATCHDOG: _stopped,
    State.STOP_SIGTERM: _stopped,
    State.STOP_SIGKILL: _stopped,
    State.FINAL_SIGTERM: _finished,
    State.FINAL_SIGKILL: _finished,
}
TIMED_OUT: dict[State, Row] = {
    State.CONDITION: _fail,
    State.START_PRE: _fail,
    State.START: _fail,
    State.START_POST: _fail,
    State.RUNNING: Lifecycle.enter_stop,
    State.STOP: _fail,
    State.STOP_WATCHDOG: _kill_or_go_on,
    State.STOP_SIGTERM: _kill_or_go_on,
    State.STOP_SIGKILL: Lifecycle.enter_stop_post,
    State.STOP_POST: lambda service, result: service.enter_signal(State.FINAL_SIGTERM, result),
    State.FINAL_SIGTERM: _finish_by_force,
    State.FINAL_SIGKILL: _give_up,
    State.AUTO_RESTART: lambda service, result: service.auto_restart(),
}
