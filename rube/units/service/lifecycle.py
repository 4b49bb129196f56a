"""The states of a service and their order, after systemd's src/core/service.c (version 252). Pure.

Each `enter_…` goes to a state, or past it if there is nothing to do in it. `transitions` has the events that end a
state; `machine` calls it.
"""

from __future__ import annotations

from collections.abc import Callable

from rube.units.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.units.service.policy import SIGABRT, SIGKILL, Exit, Policy, shall_restart
from rube.units.service.states import Result, State

_SIGNALS = {State.STOP_WATCHDOG: SIGABRT, State.STOP_SIGKILL: SIGKILL, State.FINAL_SIGKILL: SIGKILL}
_WATCHED = frozenset({State.START_POST, State.RUNNING})


class Lifecycle:
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
        self.withstands = False
        """Its owner may not signal all of its processes. They are waited for: a start beside them would double it."""
        self.restarts = 0
        """Automatic restarts since it was last started by hand."""
        self.starts_ns: list[int] = []
        """When it was started, for the start limit."""
        self.awaits_pid_file = False
        """The owner keeps looking for the PID file and calls `main_found`."""
        self.timer_ns: int | None = None
        self.watchdog_ns: int | None = None
        self.command: tuple[str, int] | None = None
        self.main_index = 0
        self.forbid_restart = False
        """It was asked to stop."""
        self.start_pending = False
        """It was asked to start, and is once it is down."""
        self.effects: list[Effect] = []
        self.now_ns = 0

    # Entering states

    def begin_by_hand(self) -> None:
        """Resets the count of starts for a start on request, as `systemctl reset-failed` does."""
        self.forbid_restart = False
        self.restarts = 0
        self.starts_ns.clear()
        self.begin()

    def begin(self) -> None:
        self.result = Result.SUCCESS
        self.start_pending = False
        self.effects.append(Load())

    def enter_start_pre(self) -> None:
        self.run_or(State.START_PRE, "start_pre", self.enter_start)

    def enter_start(self) -> None:
        policy = self.policy
        if not policy.commands.get("start"):
            self.enter_start_post()
        elif policy.type == "forking":
            self.move_to(State.START, policy.start_timeout_ns)
            self.spawn_control("start", 0)
        else:
            simple = policy.type not in ("exec", "notify", "oneshot")
            self.move_to(State.START, None if simple else policy.start_timeout_ns)
            self.spawn_main(0)
            if simple:
                self.enter_start_post()

    def enter_start_post(self) -> None:
        self.arm_watchdog()
        self.run_or(State.START_POST, "start_post", self.started)

    def started(self) -> None:
        if self.policy.type == "forking" and self.policy.has_pid_file and not self.main_known:
            self.effects.append(FindMain())
        else:
            self.enter_running(Result.SUCCESS)

    def enter_running(self, result: Result) -> None:
        self.note(result)
        if self.result is not Result.SUCCESS:
            self.enter_signal(State.STOP_SIGTERM, result)
        elif self.main_alive or (not self.main_known and self.others):
            if self.state is not State.RUNNING:
                self.move_to(State.RUNNING, self.policy.runtime_ns)
        elif self.policy.remain_after_exit:
            self.move_to(State.EXITED)
        else:
            self.enter_stop(Result.SUCCESS)

    def enter_stop(self, result: Result) -> None:
        self.note(result)
        self.run_or(State.STOP, "stop", lambda: self.enter_signal(State.STOP_SIGTERM, Result.SUCCESS))

    def enter_stop_post(self, result: Result) -> None:
        self.note(result)
        self.run_or(State.STOP_POST, "stop_post", lambda: self.enter_signal(State.FINAL_SIGTERM, Result.SUCCESS))

    def enter_signal(self, state: State, result: Result) -> None:
        """Signals what is left; with nothing left to wait for it goes straight to the state after."""
        self.note(result)
        self.awaits_pid_file = False
        policy = self.policy
        last = state in (State.STOP_SIGKILL, State.FINAL_SIGKILL)
        rest = policy.kill_mode == "control-group" or (policy.kill_mode == "mixed" and last)
        if policy.kill_mode != "none" and (self.main_alive or self.control_alive or (rest and self.others)):
            self.move_to(state, policy.stop_timeout_ns)
            self.effects.append(Kill(_SIGNALS.get(state, policy.kill_signal), rest, policy.send_sighup and not last))
        elif state is State.FINAL_SIGTERM and policy.send_sigkill:
            self.enter_signal(State.FINAL_SIGKILL, Result.SUCCESS)
        elif state in (State.STOP_SIGTERM, State.STOP_WATCHDOG) and policy.send_sigkill:
            self.enter_signal(State.STOP_SIGKILL, Result.SUCCESS)
        elif state in (State.FINAL_SIGTERM, State.FINAL_SIGKILL):
            self.enter_dead(Result.SUCCESS)
        else:
            self.enter_stop_post(Result.SUCCESS)

    def enter_dead(self, result: Result, *, allow_restart: bool = True) -> None:
        self.note(result)
        self.main_alive = self.control_alive = False
        self.command = None
        clean = self.result in (Result.SUCCESS, Result.EXEC_CONDITION)
        self.move_to(State.DEAD if clean else State.FAILED)
        if self.start_pending:
            self.begin_by_hand()
        elif allow_restart and not self.forbid_restart and shall_restart(self.policy, self.result, self.main_exit):
            self.move_to(State.AUTO_RESTART, self.policy.restart_ns)

    def give_up(self) -> None:
        """Gives up on killed processes that have not ended in time: they are left behind, except those that no signal
        has reached."""
        if self.withstands:
            self.enter_signal(self.state, Result.SUCCESS)
        else:
            self.enter_dead(Result.SUCCESS)

    def auto_restart(self) -> None:
        self.restarts += 1
        self.begin()

    # Helpers

    def note(self, result: Result) -> None:
        """Notes a result: the first failure counts."""
        if self.result is Result.SUCCESS:
            self.result = result

    def move_to(self, state: State, timeout_ns: int | None = None) -> None:
        self.state = state
        self.timer_ns = None if timeout_ns is None else self.now_ns + timeout_ns
        if state not in _WATCHED:
            self.watchdog_ns = None

    def arm_watchdog(self) -> None:
        watchdog = self.policy.watchdog_ns
        self.watchdog_ns = None if watchdog is None else self.now_ns + watchdog

    def run_or(self, state: State, commands: str, otherwise: Callable[[], None]) -> None:
        """Runs a list of control commands in `state`, or goes on at once if there is none."""
        if not self.policy.commands.get(commands):
            otherwise()
            return
        stopping = state in (State.STOP, State.STOP_POST)
        self.move_to(state, self.policy.stop_timeout_ns if stopping else self.policy.start_timeout_ns)
        self.spawn_control(commands, 0)

    def spawn_main(self, index: int) -> None:
        self.main_index = index
        self.main_known = self.main_alive = True
        self.effects.append(Spawn(True, "start", index))

    def spawn_control(self, commands: str, index: int) -> None:
        self.command = (commands, index)
        self.control_alive = True
        self.effects.append(Spawn(False, commands, index))

    def take_effects(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects
