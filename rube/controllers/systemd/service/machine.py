"""The state machine of one service, after systemd's src/core/service.c (version 252). Pure: events in, effects out.

Its owner (the shim on real processes, the simulated service manager on simulated ones) carries out the effects in
order, feeds back what happens, and calls `tick` when `deadline_ns` has come. Before each event it sets `others`:
whether the service has processes besides the main and the control process. Left out of systemd's machine: reload,
file descriptor stores, and what needs D-Bus.
"""

from __future__ import annotations

from collections.abc import Callable

from rube.controllers.systemd.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.controllers.systemd.service.policy import (
    SIGABRT,
    SIGKILL,
    Exit,
    Policy,
    result_of,
    shall_restart,
    within_start_limit,
)
from rube.controllers.systemd.service.states import RESTING, STARTING, STOPPING, Result, State


class ServiceMachine:
    """Invariants: main_alive implies that the main process is known; a resting service has no deadline."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state = State.DEAD
        self.result = Result.SUCCESS
        self.main_exit: Exit | None = None
        """How the last main process ended."""
        self.main_known = False
        self.main_alive = False
        self.control_alive = False
        self.others = False
        self.restarts = 0
        """Automatic restarts since it was last started by hand."""
        self.starts_ns: list[int] = []
        """When it was started, for the start limit."""
        self.awaits_pid_file = False
        """The owner keeps looking for the PID file and calls `main_found`."""
        self._timer_ns: int | None = None
        self._watchdog_ns: int | None = None
        self._command: tuple[str, int] | None = None
        self._main_index = 0
        self._forbid_restart = False
        self._start_pending = False
        self._effects: list[Effect] = []
        self._now_ns = 0

    @property
    def deadline_ns(self) -> int | None:
        """When to call `tick`; None: nothing is due."""
        due = [when for when in (self._timer_ns, self._watchdog_ns) if when is not None]
        return min(due, default=None)

    # Requests

    def start(self, now_ns: int) -> list[Effect]:
        """Start it once it is down; nothing if it runs, is starting or waits for its automatic restart."""
        self._now_ns = now_ns
        if self.state in RESTING:
            self._begin_by_hand()
        elif self.state in STOPPING:
            self._start_pending = True
        return self._take()

    def stop(self, now_ns: int) -> list[Effect]:
        """Stop it and don't restart it."""
        self._now_ns = now_ns
        self._start_pending = False
        self._forbid_restart = True
        if self.state is State.AUTO_RESTART:
            self._set(State.DEAD)
        elif self.state in STARTING:
            self._enter_signal(State.STOP_SIGTERM, Result.SUCCESS)
        elif self.state in (State.RUNNING, State.EXITED):
            self._enter_stop(Result.SUCCESS)
        return self._take()

    def restart(self, now_ns: int) -> list[Effect]:
        """Stop it, if it runs, and start it."""
        effects = self.stop(now_ns)
        return effects + self.start(now_ns)

    # What happens to its processes

    def main_ended(self, exit: Exit, now_ns: int) -> list[Effect]:
        self._now_ns = now_ns
        self.main_alive = False
        self.main_exit = exit
        flags = self.policy.commands.get("start", ())
        index = self._main_index if self.policy.type != "forking" else 0
        ignored = index < len(flags) and flags[index]
        result = Result.SUCCESS if ignored else result_of(exit, self.policy)
        self._note(result)
        more = self.policy.type == "oneshot" and self.state is State.START and self._main_index + 1 < len(flags)
        if more and result is Result.SUCCESS:
            self._spawn_main(self._main_index + 1)
        else:
            _MAIN_ENDED[self.state](self, result)
        return self._take()

    def control_ended(self, exit: Exit, now_ns: int) -> list[Effect]:
        self._now_ns = now_ns
        self.control_alive = False
        assert self._command is not None
        name, index = self._command
        flags = self.policy.commands[name]
        result = Result.SUCCESS if flags[index] else result_of(exit, self.policy)
        if self.state is State.CONDITION and result is Result.EXIT_CODE and exit.status != 255:
            result = Result.EXEC_CONDITION
        self._note(result)
        if result is Result.SUCCESS and index + 1 < len(flags) and self.state in _CONTROL_STATES:
            self._spawn_control(name, index + 1)
        else:
            self._command = None
            _CONTROL_ENDED[self.state](self, result)
        return self._take()

    def emptied(self, now_ns: int) -> list[Effect]:
        """No process of the service is left."""
        self._now_ns = now_ns
        if not (self.main_alive or self.control_alive):
            _EMPTIED.get(self.state, _wait)(self, Result.SUCCESS)
        return self._take()

    def executed(self, now_ns: int) -> list[Effect]:
        """The main process runs its program: what Type=exec waits for."""
        self._now_ns = now_ns
        if self.policy.type == "exec" and self.state is State.START and self.main_alive:
            self._enter_start_post()
        return self._take()

    def main_found(self, now_ns: int) -> list[Effect]:
        """The main process of a forking service is known and lives."""
        self._now_ns = now_ns
        self.awaits_pid_file = False
        self.main_known = self.main_alive = True
        if self.state is State.START:
            self._enter_start_post()
        elif self.state is State.START_POST and self._command is None:
            self._enter_running(Result.SUCCESS)
        return self._take()

    def main_missing(self, now_ns: int) -> list[Effect]:
        """The answer to FindMain: not found now. Without a PID file a service may go on with no main process."""
        self._now_ns = now_ns
        if not self.policy.has_pid_file:
            if self.state is State.START:
                self._enter_start_post()
        elif self.others:
            self.awaits_pid_file = True
        else:
            self._enter_signal(State.STOP_SIGTERM, Result.PROTOCOL)
        return self._take()

    def ready(self, now_ns: int) -> list[Effect]:
        """READY=1: what Type=notify waits for."""
        self._now_ns = now_ns
        if self.policy.type == "notify" and self.state is State.START:
            self._enter_start_post()
        return self._take()

    def alive(self, now_ns: int) -> list[Effect]:
        """WATCHDOG=1: puts the watchdog off."""
        self._now_ns = now_ns
        if self._watchdog_ns is not None:
            self._arm_watchdog()
        return self._take()

    def tick(self, now_ns: int) -> list[Effect]:
        """Time has passed: carries out what is due, if anything is."""
        self._now_ns = now_ns
        if self._watchdog_ns is not None and now_ns >= self._watchdog_ns:
            self._enter_signal(State.STOP_WATCHDOG, Result.WATCHDOG)
        elif self._timer_ns is not None and now_ns >= self._timer_ns:
            self._timer_ns = None
            _TIMED_OUT[self.state](self, Result.TIMEOUT)
        return self._take()

    # Entering states

    def _begin_by_hand(self) -> None:
        self._forbid_restart = False
        self.restarts = 0
        self._begin()

    def _begin(self) -> None:
        self.result = Result.SUCCESS
        self._start_pending = False
        self._effects.append(Load())

    def loaded(self, policy: Policy, now_ns: int) -> list[Effect]:
        """The answer to Load: goes on with the start."""
        self._now_ns = now_ns
        self.policy = policy
        if not within_start_limit(self.policy, self.starts_ns, self._now_ns):
            self._enter_dead(Result.START_LIMIT_HIT, allow_restart=False)
            return self._take()
        self.starts_ns.append(self._now_ns)
        self.main_exit = None
        self.main_known = self.main_alive = self.awaits_pid_file = False
        self._run_or(State.CONDITION, "condition", self._enter_start_pre)
        return self._take()

    def _enter_start_pre(self) -> None:
        self._run_or(State.START_PRE, "start_pre", self._enter_start)

    def _enter_start(self) -> None:
        policy = self.policy
        if not policy.commands.get("start"):
            self._enter_start_post()
        elif policy.type == "forking":
            self._set(State.START, policy.start_timeout_ns)
            self._spawn_control("start", 0)
        else:
            simple = policy.type not in ("exec", "notify", "oneshot")
            self._set(State.START, None if simple else policy.start_timeout_ns)
            self._spawn_main(0)
            if simple:
                self._enter_start_post()

    def _enter_start_post(self) -> None:
        self._arm_watchdog()
        self._run_or(State.START_POST, "start_post", self._started)

    def _started(self) -> None:
        if self.policy.type == "forking" and self.policy.has_pid_file and not self.main_known:
            self._effects.append(FindMain())
        else:
            self._enter_running(Result.SUCCESS)

    def _enter_running(self, result: Result) -> None:
        self._note(result)
        if self.result is not Result.SUCCESS:
            self._enter_signal(State.STOP_SIGTERM, result)
        elif self.main_alive or (not self.main_known and self.others):
            if self.state is not State.RUNNING:
                self._set(State.RUNNING, self.policy.runtime_ns)
        elif self.policy.remain_after_exit:
            self._set(State.EXITED)
        else:
            self._enter_stop(Result.SUCCESS)

    def _enter_stop(self, result: Result) -> None:
        self._note(result)
        self._run_or(State.STOP, "stop", lambda: self._enter_signal(State.STOP_SIGTERM, Result.SUCCESS))

    def _enter_stop_post(self, result: Result) -> None:
        self._note(result)
        self._run_or(State.STOP_POST, "stop_post", lambda: self._enter_signal(State.FINAL_SIGTERM, Result.SUCCESS))

    def _enter_signal(self, state: State, result: Result) -> None:
        """Signals what is left; with nothing left to wait for it goes straight to the state after."""
        self._note(result)
        self.awaits_pid_file = False
        policy = self.policy
        last = state in (State.STOP_SIGKILL, State.FINAL_SIGKILL)
        rest = policy.kill_mode == "control-group" or (policy.kill_mode == "mixed" and last)
        if policy.kill_mode != "none" and (self.main_alive or self.control_alive or (rest and self.others)):
            self._set(state, policy.stop_timeout_ns)
            self._effects.append(Kill(_SIGNALS.get(state, policy.kill_signal), rest, policy.send_sighup and not last))
        elif state is State.FINAL_SIGTERM and policy.send_sigkill:
            self._enter_signal(State.FINAL_SIGKILL, Result.SUCCESS)
        elif state in (State.STOP_SIGTERM, State.STOP_WATCHDOG) and policy.send_sigkill:
            self._enter_signal(State.STOP_SIGKILL, Result.SUCCESS)
        elif state in (State.FINAL_SIGTERM, State.FINAL_SIGKILL):
            self._enter_dead(Result.SUCCESS)
        else:
            self._enter_stop_post(Result.SUCCESS)

    def _enter_dead(self, result: Result, *, allow_restart: bool = True) -> None:
        self._note(result)
        self.main_alive = self.control_alive = False
        self._command = None
        clean = self.result in (Result.SUCCESS, Result.EXEC_CONDITION)
        self._set(State.DEAD if clean else State.FAILED)
        if self._start_pending:
            self._begin_by_hand()
        elif allow_restart and not self._forbid_restart and shall_restart(self.policy, self.result, self.main_exit):
            self._set(State.AUTO_RESTART, self.policy.restart_ns)

    def _auto_restart(self) -> None:
        self.restarts += 1
        self._begin()

    # Small things

    def _note(self, result: Result) -> None:
        """The first thing that goes wrong is the result."""
        if self.result is Result.SUCCESS:
            self.result = result

    def _set(self, state: State, timeout_ns: int | None = None) -> None:
        self.state = state
        self._timer_ns = None if timeout_ns is None else self._now_ns + timeout_ns
        if state not in _WATCHED:
            self._watchdog_ns = None

    def _arm_watchdog(self) -> None:
        watchdog = self.policy.watchdog_ns
        self._watchdog_ns = None if watchdog is None else self._now_ns + watchdog

    def _run_or(self, state: State, commands: str, otherwise: Callable[[], None]) -> None:
        """Runs a list of control commands in `state`, or goes on at once if there is none."""
        if not self.policy.commands.get(commands):
            otherwise()
            return
        stopping = state in (State.STOP, State.STOP_POST)
        self._set(state, self.policy.stop_timeout_ns if stopping else self.policy.start_timeout_ns)
        self._spawn_control(commands, 0)

    def _spawn_main(self, index: int) -> None:
        self._main_index = index
        self.main_known = self.main_alive = True
        self._effects.append(Spawn(True, "start", index))

    def _spawn_control(self, commands: str, index: int) -> None:
        self._command = (commands, index)
        self.control_alive = True
        self._effects.append(Spawn(False, commands, index))

    def _take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    # Rows of the tables

    def _fail(self, result: Result) -> None:
        self._enter_signal(State.STOP_SIGTERM, result)

    def _main_ended_in_start(self, result: Result) -> None:
        if self.policy.type == "oneshot" and result is Result.SUCCESS:
            self._enter_start_post()
        elif self.policy.type == "notify" and result is Result.SUCCESS:
            self._fail(Result.PROTOCOL)
        else:
            self._fail(result) if result is not Result.SUCCESS else self._enter_running(result)

    def _control_ended_in_start(self, result: Result) -> None:
        if result is Result.SUCCESS and (self.policy.has_pid_file or self.policy.guess_main_pid):
            if self.policy.has_pid_file and self.policy.commands.get("start_post"):
                self._enter_start_post()
            else:
                self._effects.append(FindMain())
        elif result is Result.SUCCESS:
            self._enter_start_post()
        else:
            self._fail(result)

    def _control_ended_in_start_post(self, result: Result) -> None:
        if result is Result.SUCCESS:
            self._started()
        else:
            self._fail(result)

    def _stopped(self, result: Result) -> None:
        if not (self.main_alive or self.control_alive):
            self._enter_stop_post(result)

    def _finished(self, result: Result) -> None:
        self._note(result)
        mode = self.policy.kill_mode
        if self.main_alive or self.control_alive or (self.others and mode == "control-group"):
            return
        if not self.others or mode != "mixed":
            self._enter_dead(result)
        elif self.state is State.FINAL_SIGTERM:
            self._finish_by_force(result)

    def _kill_or_go_on(self, result: Result) -> None:
        if self.policy.send_sigkill:
            self._enter_signal(State.STOP_SIGKILL, result)
        else:
            self._enter_stop_post(result)

    def _finish_by_force(self, result: Result) -> None:
        if self.policy.send_sigkill:
            self._enter_signal(State.FINAL_SIGKILL, result)
        else:
            self._enter_dead(result)

    def _emptied_in_start(self, result: Result) -> None:
        if self.awaits_pid_file or (self.policy.type == "notify" and self.main_known):
            self._fail(Result.PROTOCOL)


_Row = Callable[[ServiceMachine, Result], None]


def _wait(machine: ServiceMachine, result: Result) -> None:
    """What is under way goes on first."""


_SIGNALS = {State.STOP_WATCHDOG: SIGABRT, State.STOP_SIGKILL: SIGKILL, State.FINAL_SIGKILL: SIGKILL}
_WATCHED = frozenset({State.START_POST, State.RUNNING})
_CONTROL_STATES = frozenset(
    {State.CONDITION, State.START_PRE, State.START, State.START_POST, State.STOP, State.STOP_POST}
)
"""Where the next command of a list follows a success; elsewhere the list is being killed."""

_MAIN_ENDED: dict[State, _Row] = {
    State.START: ServiceMachine._main_ended_in_start,
    State.START_POST: _wait,
    State.RUNNING: ServiceMachine._enter_running,
    State.STOP: _wait,
    State.STOP_WATCHDOG: ServiceMachine._stopped,
    State.STOP_SIGTERM: ServiceMachine._stopped,
    State.STOP_SIGKILL: ServiceMachine._stopped,
    State.STOP_POST: _wait,
    State.FINAL_SIGTERM: ServiceMachine._finished,
    State.FINAL_SIGKILL: ServiceMachine._finished,
}
_CONTROL_ENDED: dict[State, _Row] = {
    State.CONDITION: lambda machine, result: (
        machine._enter_start_pre() if result is Result.SUCCESS else machine._fail(result)
    ),
    State.START_PRE: lambda machine, result: (
        machine._enter_start() if result is Result.SUCCESS else machine._fail(result)
    ),
    State.START: ServiceMachine._control_ended_in_start,
    State.START_POST: ServiceMachine._control_ended_in_start_post,
    State.STOP: ServiceMachine._fail,
    State.STOP_WATCHDOG: ServiceMachine._stopped,
    State.STOP_SIGTERM: ServiceMachine._stopped,
    State.STOP_SIGKILL: ServiceMachine._stopped,
    State.STOP_POST: lambda machine, result: machine._enter_signal(State.FINAL_SIGTERM, result),
    State.FINAL_SIGTERM: ServiceMachine._finished,
    State.FINAL_SIGKILL: ServiceMachine._finished,
}
_EMPTIED: dict[State, _Row] = {
    State.START: ServiceMachine._emptied_in_start,
    State.START_POST: ServiceMachine._emptied_in_start,
    State.RUNNING: ServiceMachine._enter_running,
    State.STOP_WATCHDOG: ServiceMachine._stopped,
    State.STOP_SIGTERM: ServiceMachine._stopped,
    State.STOP_SIGKILL: ServiceMachine._stopped,
    State.FINAL_SIGTERM: ServiceMachine._finished,
    State.FINAL_SIGKILL: ServiceMachine._finished,
}
_TIMED_OUT: dict[State, _Row] = {
    State.CONDITION: ServiceMachine._fail,
    State.START_PRE: ServiceMachine._fail,
    State.START: ServiceMachine._fail,
    State.START_POST: ServiceMachine._fail,
    State.RUNNING: ServiceMachine._enter_stop,
    State.STOP: ServiceMachine._fail,
    State.STOP_WATCHDOG: ServiceMachine._kill_or_go_on,
    State.STOP_SIGTERM: ServiceMachine._kill_or_go_on,
    State.STOP_SIGKILL: ServiceMachine._enter_stop_post,
    State.STOP_POST: lambda machine, result: machine._enter_signal(State.FINAL_SIGTERM, result),
    State.FINAL_SIGTERM: ServiceMachine._finish_by_force,
    State.FINAL_SIGKILL: ServiceMachine._enter_dead,
    State.AUTO_RESTART: lambda machine, result: machine._auto_restart(),
}
