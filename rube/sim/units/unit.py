"""One simulated unit: the shipped state machine, on processes that are no more than numbers and timers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from rube.api import UnitStatus
from rube.api.times import NS_PER_S
from rube.sim.world.kernel import SimProcess
from rube.sim.world.kernel.handles import SimTimer
from rube.units.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.units.service.machine import ServiceMachine
from rube.units.service.policy import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    SIGABRT,
    SIGKILL,
    Exit,
    Policy,
)
from rube.units.service.states import ACTIVE_STATES, RESTING, Result

COMMAND_S = 0.001
KILL_S = 0.0005
EMPTY_ROUNDS_MAX = 32
_ENDS = {CLD_EXITED: "status", CLD_KILLED: "signal", CLD_DUMPED: "signal"}
CLEAN_EXIT = Exit(CLD_EXITED, 0)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The behaviour of a unit's processes. Times in seconds of the host's clock."""

    start_s: float = 0.05
    """Until a oneshot ends, a forking service has forked, a notifying one is ready."""
    exits_after_s: float | None = None
    """The main process ends by itself after this long, with `exit`; None: it runs until it is killed."""
    exit: Exit = CLEAN_EXIT
    stop_s: float = 0.01
    """From SIGTERM to the end."""
    ignores_sigterm: bool = False
    never_forks: bool = False
    """The first process of a forking service stays in the foreground."""
    prints: Sequence[str] = ()
    """The lines that the main process prints when it starts."""
    prints_every_s: float | None = None
    """It prints `tick` again and again, this often."""
    leaves_daemon: bool = True
    """The first process of a forking service leaves a process and, if one is asked for, a PID file behind."""
    unmet: str = ""
    """The obstacle to its start, in words: a condition of its definition that does not hold on this host."""


class _Role(Enum):
    MAIN = "main"
    CONTROL = "control"
    REST = "rest"


class SimUnit:
    """A unit that has been started at least once since its host booted."""

    def __init__(
        self,
        *,
        name: str,
        process: SimProcess,
        load: Callable[[], tuple[Policy, Behaviour]],
        new_pid: Callable[[], int],
        changed: Callable[[str], None],
        printed: Callable[[str, str], None],
    ) -> None:
        """`printed(name, line)` gets the output of the unit's processes."""
        self.machine = ServiceMachine(Policy())
        self._name = name
        self._process = process
        self._load = load
        self._new_pid = new_pid
        self._changed = changed
        self._printed = printed
        self._behaviour = Behaviour()
        self._pids: dict[int, _Role] = {}
        self._timer: SimTimer | None = None
        self._active_ns = 0
        self._message = ""
        self._seen = ("inactive", "dead", "success", 0)

    @property
    def main_pid(self) -> int:
        """The pid of the main process; 0 if none runs."""
        return self._pid_of(_Role.MAIN)

    def start(self) -> None:
        self._carry_out(self.machine.start(self._now_ns()))
        self._settle()

    def stop(self) -> None:
        self._carry_out(self.machine.stop(self._now_ns()))
        self._settle()

    def restart(self) -> None:
        self._carry_out(self.machine.restart(self._now_ns()))
        self._settle()

    def end_main(self, exit: Exit) -> None:
        """The main process ends now."""
        self._end(self.main_pid, exit)

    def vanish(self) -> None:
        """All of it is gone at once."""
        self._pids.clear()
        if self._timer is not None:
            self._timer.cancel()

    def fill(self, status: UnitStatus) -> None:
        """Fills in the unit's state, as systemd would."""
        machine = self.machine
        status.active_state, status.sub_state = ACTIVE_STATES[machine.state], machine.state.value
        status.result = machine.result.value
        status.main_pid = self.main_pid
        status.message = self._message
        status.restarts = machine.restarts
        if machine.main_exit is not None:
            status.exit_code, status.exit_status = machine.main_exit.code, machine.main_exit.status
        if self._active_ns:
            status.active_time.FromNanoseconds(self._active_ns)

    # Effects

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Load():
                    self._pids.clear()
                    policy, self._behaviour = self._load()
                    self._message = self._behaviour.unmet
                    if self._message:
                        self._carry_out(self.machine.refused(Result.SUCCESS, self._now_ns()))
                    else:
                        self._carry_out(self.machine.loaded(policy, self._now_ns()))
                case Spawn():
                    self._spawn(effect)
                case Kill():
                    self._kill(effect)
                case FindMain():
                    self._find_main()

    def _spawn(self, effect: Spawn) -> None:
        pid = self._new_pid()
        behaviour, kind = self._behaviour, self.machine.policy.type
        if not effect.main:
            self._pids[pid] = _Role.CONTROL
            if effect.list != "start":
                self._after(COMMAND_S, self._end, pid, Exit(CLD_EXITED, 0))
            elif not behaviour.never_forks:
                self._after(behaviour.start_s, self._fork, pid)
            return
        self._pids[pid] = _Role.MAIN
        self._print(f"main process {pid} started", *behaviour.prints)
        if behaviour.prints_every_s is not None:
            self._after(behaviour.prints_every_s, self._tick_print, pid, behaviour.prints_every_s)
        if kind == "oneshot":
            self._after(behaviour.start_s, self._end, pid, behaviour.exit)
        elif behaviour.exits_after_s is not None:
            self._after(behaviour.exits_after_s, self._end, pid, behaviour.exit)
        if kind == "notify":
            self._after(behaviour.start_s, self._ready, pid)
        self._carry_out(self.machine.executed(self._now_ns()))

    def _fork(self, control: int) -> None:
        """The first process of a forking service has done its work."""
        if self._behaviour.leaves_daemon and control in self._pids:
            pid = self._new_pid()
            self._pids[pid] = _Role.REST
            if self._behaviour.exits_after_s is not None:
                self._after(self._behaviour.exits_after_s, self._end, pid, self._behaviour.exit)
        self._end(control, Exit(CLD_EXITED, 0))

    def _find_main(self) -> None:
        pid = self._pid_of(_Role.REST)
        if pid:
            self._pids[pid] = _Role.MAIN
            self._count()
            self._carry_out(self.machine.main_found(self._now_ns()))
        else:
            self._carry_out(self.machine.main_missing(self._now_ns()))

    def _kill(self, effect: Kill) -> None:
        for pid, role in tuple(self._pids.items()):
            if role is _Role.REST and not effect.rest:
                continue
            if effect.signal == SIGKILL:
                self._after(KILL_S, self._end, pid, Exit(CLD_KILLED, SIGKILL))
            elif effect.signal == SIGABRT:
                self._after(KILL_S, self._end, pid, Exit(CLD_DUMPED, SIGABRT))
            elif not self._behaviour.ignores_sigterm:
                self._after(self._behaviour.stop_s, self._end, pid, Exit(CLD_KILLED, effect.signal))

    def _print(self, *lines: str) -> None:
        for line in lines:
            self._printed(self._name, line)

    def _tick_print(self, pid: int, every_s: float) -> None:
        if pid in self._pids:
            self._print("tick")
            self._after(every_s, self._tick_print, pid, every_s)

    # Events

    def _end(self, pid: int, exit: Exit) -> None:
        role = self._pids.pop(pid, None)
        if role is None:
            return
        self._count()
        if role is _Role.MAIN:
            self._print(f"main process {pid} ended: {_ENDS[exit.code]} {exit.status}")
            self._carry_out(self.machine.main_ended(exit, self._now_ns()))
        elif role is _Role.CONTROL:
            self._carry_out(self.machine.control_ended(exit, self._now_ns()))
        self._settle()

    def _ready(self, pid: int) -> None:
        if pid in self._pids:
            self._carry_out(self.machine.ready(self._now_ns()))
            self._settle()

    def _tick(self) -> None:
        self._carry_out(self.machine.tick(self._now_ns()))
        self._settle()

    def _settle(self) -> None:
        """Tells the machine when nothing is left, sets its timer and says what has changed."""
        for _ in range(EMPTY_ROUNDS_MAX):
            before = self.machine.state
            self._count()
            if self._pids or before in RESTING:
                break
            self._carry_out(self.machine.emptied(self._now_ns()))
            if self.machine.state is before:
                break
        if self._timer is not None:
            self._timer.cancel()
        due = self.machine.deadline_ns
        self._timer = None if due is None else self._after((due - self._now_ns()) / NS_PER_S, self._tick)
        self._report()

    def _report(self) -> None:
        state = self.machine.state
        seen = (ACTIVE_STATES[state], state.value, self.machine.result.value, self.machine.restarts)
        if seen == self._seen:
            return
        if seen[0] == "active" and self._seen[0] != "active":
            self._active_ns = self._process.clock.wall_ns(self._process.loop.now_ns)
        self._seen = seen
        host = self._process.host
        host.world.trace.add("unit", host.name, self._name, *seen)
        self._changed(self._name)

    def _count(self) -> None:
        self.machine.others = _Role.REST in self._pids.values()

    def _pid_of(self, role: _Role) -> int:
        return next((pid for pid, its in self._pids.items() if its is role), 0)

    def _after(self, delay_s: float, callback: Callable[..., None], *args: object) -> SimTimer:
        context = self._process.context.copy()
        return self._process.loop.call_later(max(0.0, delay_s), callback, *args, context=context)

    def _now_ns(self) -> int:
        return self._process.clock.monotonic_ns(self._process.loop.now_ns)
