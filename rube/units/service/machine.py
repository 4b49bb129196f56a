"""The state machine of one service, after systemd's src/core/service.c (version 252). Pure: events in, effects out.

Its owner (the shim on real processes, the simulated service manager on simulated ones) carries out the effects in
order, feeds back what happens, and calls `tick` when `deadline_ns` has come. Before each event it sets `others`:
whether the service has processes besides the main and the control process. Left out of systemd's machine: reload,
file descriptor stores, and what needs D-Bus.
"""

from __future__ import annotations

from rube.units.service.effects import Effect
from rube.units.service.lifecycle import Lifecycle
from rube.units.service.policy import Exit, Policy, result_of, within_start_limit
from rube.units.service.states import IDLE, RESTING, STARTING, STOPPING, Result, State
from rube.units.service.transitions import (
    CONTROL_ENDED,
    CONTROL_STATES,
    EMPTIED,
    MAIN_ENDED,
    TIMED_OUT,
    wait,
)


class ServiceMachine(Lifecycle):
    """The state machine of one service. Every method returns the effects, in order."""

    @property
    def deadline_ns(self) -> int | None:
        """The time to call `tick`; None: nothing is due."""
        due = [when for when in (self.timer_ns, self.watchdog_ns) if when is not None]
        return min(due, default=None)

    # Requests

    def start(self, now_ns: int) -> list[Effect]:
        """Starts it once it is down; no effects if it runs, is starting or waits for its automatic restart."""
        self.now_ns = now_ns
        if self.state in RESTING:
            self.begin_by_hand()
        elif self.state in STOPPING:
            self.start_pending = True
        return self.take_effects()

    def stop(self, now_ns: int) -> list[Effect]:
        """Stops it and does not restart it."""
        self.now_ns = now_ns
        self.start_pending = False
        self.forbid_restart = True
        if self.state is State.AUTO_RESTART:
            self.move_to(State.DEAD)
        elif self.state in STARTING:
            self.enter_signal(State.STOP_SIGTERM, Result.SUCCESS)
        elif self.state in (State.RUNNING, State.EXITED):
            self.enter_stop(Result.SUCCESS)
        return self.take_effects()

    def restart(self, now_ns: int) -> list[Effect]:
        """Stops it, if it runs, and starts it."""
        effects = self.stop(now_ns)
        return effects + self.start(now_ns)

    def loaded(self, policy: Policy, now_ns: int) -> list[Effect]:
        """Takes the answer to Load: goes on with the start."""
        self.now_ns = now_ns
        self.policy = policy
        if not within_start_limit(self.policy, self.starts_ns, self.now_ns):
            self.enter_dead(Result.START_LIMIT_HIT, allow_restart=False)
            return self.take_effects()
        self.starts_ns.append(self.now_ns)
        self.main_exit = None
        self.main_known = self.main_alive = self.awaits_pid_file = False
        self.run_or(State.CONDITION, "condition", self.enter_start_pre)
        return self.take_effects()

    def refused(self, result: Result, now_ns: int) -> list[Effect]:
        """Takes the answer to Load of an owner that does not start it: a condition does not hold (SUCCESS), or it
        cannot."""
        self.now_ns = now_ns
        self.main_known = self.main_alive = self.awaits_pid_file = False
        self.enter_dead(result, allow_restart=False)
        return self.take_effects()

    def supervision_lost(self, state: State, *, killed: bool, now_ns: int) -> list[Effect]:
        """Goes on for an owner that went away while the service was in `state`; of the service nothing is left.

        `killed`: something was, and had to be killed, because whose child it is no longer tells how it ends. The caller
        has set `policy` and what the owner remembered. What needs no process goes on as it was; otherwise it is a
        failure of its own kind, after which the restart policy decides.
        """
        self.now_ns = now_ns
        if state in IDLE and self.start_pending:
            self.begin_by_hand()
        elif state is State.AUTO_RESTART:
            self.move_to(state, self.policy.restart_ns)
        elif state in RESTING or (state is State.EXITED and not killed):
            self.move_to(state)
        else:
            wanted = self.forbid_restart or self.start_pending
            self.enter_stop_post(Result.SUCCESS if wanted else Result.SUPERVISOR_LOST)
        return self.take_effects()

    # Events of its processes

    def main_ended(self, exit: Exit, now_ns: int) -> list[Effect]:
        self.now_ns = now_ns
        self.main_alive = False
        self.main_exit = exit
        flags = self.policy.commands.get("start", ())
        index = self.main_index if self.policy.type != "forking" else 0
        ignored = index < len(flags) and flags[index]
        result = Result.SUCCESS if ignored else result_of(exit, self.policy)
        self.note(result)
        more = self.policy.type == "oneshot" and self.state is State.START and self.main_index + 1 < len(flags)
        if more and result is Result.SUCCESS:
            self.spawn_main(self.main_index + 1)
        else:
            MAIN_ENDED.get(self.state, wait)(self, result)
        return self.take_effects()

    def control_ended(self, exit: Exit, now_ns: int) -> list[Effect]:
        self.now_ns = now_ns
        self.control_alive = False
        if self.command is None:
            return []  # left running (KillMode=none) by an earlier start
        name, index = self.command
        flags = self.policy.commands[name]
        result = Result.SUCCESS if flags[index] else result_of(exit, self.policy)
        if self.state is State.CONDITION and result is Result.EXIT_CODE and exit.status != 255:
            result = Result.EXEC_CONDITION
        self.note(result)
        if result is Result.SUCCESS and index + 1 < len(flags) and self.state in CONTROL_STATES:
            self.spawn_control(name, index + 1)
        else:
            self.command = None
            CONTROL_ENDED.get(self.state, wait)(self, result)
        return self.take_effects()

    def emptied(self, now_ns: int) -> list[Effect]:
        """Notes that no process of the service is left."""
        self.now_ns = now_ns
        if not (self.main_alive or self.control_alive):
            EMPTIED.get(self.state, wait)(self, Result.SUCCESS)
        return self.take_effects()

    def executed(self, now_ns: int) -> list[Effect]:
        """Notes that the main process runs its program, which Type=exec waits for."""
        self.now_ns = now_ns
        if self.policy.type == "exec" and self.state is State.START and self.main_alive:
            self.enter_start_post()
        return self.take_effects()

    def main_found(self, now_ns: int) -> list[Effect]:
        """Notes that the main process of a forking service is known and lives."""
        self.now_ns = now_ns
        self.awaits_pid_file = False
        self.main_known = self.main_alive = True
        if self.state is State.START:
            self.enter_start_post()
        elif self.state is State.START_POST and self.command is None:
            self.enter_running(Result.SUCCESS)
        return self.take_effects()

    def main_missing(self, now_ns: int) -> list[Effect]:
        """Takes the answer to FindMain: not found now. Without a PID file a service may go on with no main process."""
        self.now_ns = now_ns
        if not self.policy.has_pid_file:
            if self.state is State.START:
                self.enter_start_post()
        elif self.others:
            self.awaits_pid_file = True
        else:
            self.enter_signal(State.STOP_SIGTERM, Result.PROTOCOL)
        return self.take_effects()

    def ready(self, now_ns: int) -> list[Effect]:
        """Handles READY=1, which Type=notify waits for."""
        self.now_ns = now_ns
        if self.policy.type == "notify" and self.state is State.START:
            self.enter_start_post()
        return self.take_effects()

    def alive(self, now_ns: int) -> list[Effect]:
        """Handles WATCHDOG=1, which puts the watchdog off."""
        self.now_ns = now_ns
        if self.watchdog_ns is not None:
            self.arm_watchdog()
        return self.take_effects()

    def tick(self, now_ns: int) -> list[Effect]:
        """Carries out what is due by now, if anything is."""
        self.now_ns = now_ns
        if self.watchdog_ns is not None and now_ns >= self.watchdog_ns:
            self.enter_signal(State.STOP_WATCHDOG, Result.WATCHDOG)
        elif self.timer_ns is not None and now_ns >= self.timer_ns:
            self.timer_ns = None
            TIMED_OUT[self.state](self, Result.TIMEOUT)
        return self.take_effects()
