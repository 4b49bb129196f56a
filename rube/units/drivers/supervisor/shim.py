"""The shim: parent and supervisor of one unit's processes, for as long as the unit is up.

It has a session of its own and is a subreaper, so that every descendant of the unit, however it forks away, stays its
descendant and in the end its child. It lives until the unit rests, even if the rubelet ends. The ServiceMachine makes
all decisions; the shim carries them out. SIGUSR1 says that files have changed, SIGTERM stops the unit.

After each wake-up it checks everything: the reason for the wake-up is a hint, the check finds the truth. It has no
period.
"""

from __future__ import annotations

import os
import select
import time  # noqa: TID251 (an adapter)
from collections.abc import Callable
from typing import TYPE_CHECKING

from rube.units.boot import boot_identity
from rube.units.drivers.supervisor import processes
from rube.units.drivers.supervisor.account import Account
from rube.units.drivers.supervisor.family import Family
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.output import UnitOutput
from rube.units.drivers.supervisor.presence import UNIT_VARIABLE
from rube.units.drivers.supervisor.records import Plan, StateRecord
from rube.units.drivers.supervisor.spawn import EXIT_RESOURCES, SpawnReport, spawn
from rube.units.service.commandline import CommandLine
from rube.units.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.units.service.machine import ServiceMachine
from rube.units.service.policy import CLD_EXITED, Exit, Policy
from rube.units.service.states import ACTIVE_STATES, RESTING, Result, State

if TYPE_CHECKING:
    from rube.units.drivers.supervisor.notify import NotifySocket

PID_FILE_POLL_S = 0.05
WRITE_RETRY_S = 3.0
POLL_S_MAX = 86_400.0
"""poll(2) counts milliseconds in 32 bits: a later deadline is looked at again after a day."""
NOTES_MAX = 16
CODES = {1: "exited", 2: "killed", 3: "dumped"}


class Shim:
    """One unit's shim. `wakeup` is readable after each signal; the unit's locks are held."""

    def __init__(self, account: Account, wakeup: int) -> None:
        self.account = account
        self.machine = ServiceMachine(Policy())
        self.boot_id = boot_identity()
        self.request_id = ""
        self.message = ""
        self.invocation = ""
        self.active_ns = 0
        self._wakeup = wakeup
        self._family = Family()
        self._output = UnitOutput(account.directory)
        self._identity = processes.myself()
        self._notify: NotifySocket | None = None
        self._notes: list[str] = []
        self._without_resources = 0  # an ended process that systemd would not even have started
        self._asked_to_stop = False
        self._asked_to_leave = False
        self._unsettled = True

    @property
    def plan(self) -> Plan:
        return self.account.unit.plan if self.account.unit is not None else Plan()

    def run(self, ready: Callable[[], None]) -> None:
        """Runs until the unit rests. `ready` is called when the waiting request is taken, which the state shows.

        Exits with status 1 instead if the request led to nothing and not even that can be written.
        """
        self._take_request()
        self._settle()
        if self.machine.state in RESTING and not self.account.is_written:
            raise SystemExit(1)  # nothing runs, and the driver asks again
        ready()
        while not self._is_done():
            self._wait()
            self._look()
            self._settle()
        self._output.close()

    def ask_to_stop(self) -> None:
        """Stops the unit at the next turn; called by a signal's handler. A resting unit stays as it is."""
        self._asked_to_stop = True

    def carry_out(self, effects: list[Effect]) -> None:
        self._unsettled |= bool(effects)
        for effect in effects:
            if isinstance(effect, Spawn):
                self._spawn(effect)
            elif isinstance(effect, Kill):
                self._family.kill(effect)
            elif isinstance(effect, FindMain):
                self._find_main(again=False)
            elif isinstance(effect, Load):
                self._load()

    # Requests

    def _take_request(self) -> None:
        request = self.account.read_request()
        if request is None or request.id == self.request_id:
            return
        self.request_id = request.id
        verbs = {"start": self.machine.start, "restart": self.machine.restart, "stop": self.machine.stop}
        if request.verb in verbs:
            self.carry_out(verbs[request.verb](now_ns()))
        else:
            self.message = f"its supervisor process is of an older Rube and cannot {request.verb!r}: restart the unit"

    def _load(self) -> None:
        """Reads the definition, which takes effect when the service is next started."""
        self.message = ""
        self._notes.clear()
        try:
            self.account.read_unit()
        except FileError as error:
            self.message = f"not started: {error}"
            self.carry_out(self.machine.refused(Result.RESOURCES, now_ns()))
            return
        self._family.forget()
        if self.plan.conditions:
            # Imported here, because most shims never need it; the socket likewise.
            from rube.units.drivers.supervisor.conditions import what_is_unmet

            self.message = what_is_unmet(self.plan.conditions)
            if self.message:
                self.carry_out(self.machine.refused(Result.SUCCESS, now_ns()))
                return
        self.invocation = os.urandom(16).hex()  # noqa: TID251 (an adapter)
        if self._notify is None and self.plan.notify != "none":
            from rube.units.drivers.supervisor.notify import NotifySocket

            self._notify = NotifySocket(self.invocation)
        self.carry_out(self.machine.loaded(self.plan.policy, now_ns()))

    # Waking up

    def _wait(self) -> None:
        """Waits until something may have happened: a signal, output, a notification, the next deadline."""
        poll = select.poll()
        for handle in (self._wakeup, *self._output.readers, *self._family.handles()):
            poll.register(handle, select.POLLIN)
        if self._notify is not None:
            poll.register(self._notify, select.POLLIN)
        timeout_s = self._timeout_s()
        poll.poll(None if timeout_s is None else timeout_s * 1000 + 1)

    def _timeout_s(self) -> float | None:
        """Returns the time until the next deadline; None: none is due, and this process sleeps until it is woken."""
        due = [] if self.account.is_written else [WRITE_RETRY_S]
        if self.machine.awaits_pid_file:
            due.append(PID_FILE_POLL_S)
        if self.machine.deadline_ns is not None:
            due.append(min(max(0.0, (self.machine.deadline_ns - now_ns()) / 1e9), POLL_S_MAX))
        return min(due, default=None)

    def _look(self) -> None:
        """Drains the signals' bytes first, then checks: an event in between is seen, or wakes again."""
        signalled = self._drain()
        self._output.copy()
        for pid, report in self._family.reports():
            self._take_report(pid, report)
        self._reap()
        self._hear()
        if signalled:
            self.account.restore()
            self._output.log.check()
            if self._asked_to_stop:
                self._asked_to_stop = False
                self._asked_to_leave = self.machine.state in RESTING
                self.carry_out(self.machine.stop(now_ns()))
            self._take_request()
        self.machine.withstands = bool(self._family.withstanding())
        self.carry_out(self.machine.tick(now_ns()))

    def _drain(self) -> bool:
        try:
            return bool(os.read(self._wakeup, 4096))
        except BlockingIOError:
            return False

    def _is_done(self) -> bool:
        """Returns whether the unit rests, all its output is written, and processes that it left running (KillMode=none)
        print no more."""
        if self.machine.state not in RESTING:
            return False
        return self._asked_to_leave or (self.account.is_written and not self._output.readers)

    # Events

    def _reap(self) -> None:
        """Takes the exit status of every child that ended and tells the machine."""
        ended = self._family.reap()
        if ended:
            self._unsettled = True
            self._count()
        for pid, exit in ended:
            report = self._family.last_report(pid)
            if report is not None:
                self._take_report(pid, report)
            if pid == self._without_resources and exit == Exit(CLD_EXITED, EXIT_RESOURCES):
                self.machine.result = Result.RESOURCES
            if pid == self._family.main:
                self._family.main = 0
                self.carry_out(self.machine.main_ended(exit, now_ns()))
            elif pid == self._family.control:
                self._family.control = 0
                self.carry_out(self.machine.control_ended(exit, now_ns()))
        if self.machine.awaits_pid_file:
            self._find_main(again=True)

    def _take_report(self, pid: int, report: SpawnReport) -> None:
        """Takes a new process's report of the steps before its program."""
        self._notes_of(report.notes)
        if report.error:
            self.message = f"exec.{self._family.list_of(pid)}: {report.error}" if report.is_program else report.error
            self._without_resources = pid if report.is_resources else 0
        elif pid == self._family.main:
            self.carry_out(self.machine.executed(now_ns()))

    def _notes_of(self, notes: tuple[str, ...]) -> None:
        self._notes += [note for note in notes if note not in self._notes and len(self._notes) < NOTES_MAX]

    def _count(self) -> set[int]:
        below = processes.descendants(os.getpid())
        self.machine.others = bool(below - self._family.known())
        return below

    def _settle(self) -> None:
        """Tells the machine when nothing is left, until that changes nothing more, and writes the state."""
        for _ in range(len(State)):
            if not self._unsettled:
                break
            before = self.machine.state
            if self.machine.state in RESTING or self._count():
                break
            self.carry_out(self.machine.emptied(now_ns()))
            if self.machine.state is before:
                break
        self._unsettled = False
        if self.machine.state in RESTING:
            self._output.release()
        self._write()

    def _hear(self) -> None:
        """Takes the service's messages by sd_notify(3)."""
        if self._notify is None:
            return
        for pid, words in self._notify.receive():
            main, control = self._family.main, self._family.control
            allowed = {"main": {main}, "exec": {main, control}}.get(self.plan.notify)
            if pid not in (self._count() if allowed is None else allowed):
                continue
            said = words.get("MAINPID", "")
            if said.isdigit() and int(said) in self._count():
                self._family.adopt_main(int(said))
            if words.get("READY") == "1":
                self.carry_out(self.machine.ready(now_ns()))
            if words.get("WATCHDOG") == "1":
                self.carry_out(self.machine.alive(now_ns()))

    # Effects

    def _spawn(self, effect: Spawn) -> None:
        program, arguments, prefixes = self.plan.commands[effect.list][effect.index]
        if self.account.written is None or self.account.written.invocation != self.invocation:
            # The next shim must find the running processes, should this one be killed: it then starts from the
            # beginning.
            self._write(loading=True)
            if not self.account.is_written:
                self.message = f"exec.{effect.list}: not started, for the state cannot be written: is the disk full?"
                self._failed_to_spawn(effect)
                return
        command = CommandLine(program, arguments, prefixes)
        try:
            spawned = spawn(self.plan, command, self._environment(), self._output.writer())
        except OSError as error:
            self.message = f"exec.{effect.list}: no process can be started: {error.strerror}"
            self._failed_to_spawn(effect)
            return
        self._family.add(spawned, effect.list, is_main=effect.main)

    def _failed_to_spawn(self, effect: Spawn) -> None:
        """Handles a failed fork as if the process had ended at once, with systemd's status for it."""
        self.machine.result = Result.RESOURCES
        ended = self.machine.main_ended if effect.main else self.machine.control_ended
        self.carry_out(ended(Exit(CLD_EXITED, EXIT_RESOURCES), now_ns()))

    def _environment(self) -> dict[str, str]:
        environment = {"INVOCATION_ID": self.invocation}
        if self.machine.policy.kill_mode in ("control-group", "mixed"):  # with others it may leave some running
            environment[UNIT_VARIABLE] = self.account.directory
        if self.plan.pid_file:
            environment["PIDFILE"] = self.plan.pid_file
        if self._family.main:
            environment["MAINPID"] = str(self._family.main)
        if self._notify is not None:
            environment["NOTIFY_SOCKET"] = self._notify.address
        watchdog_ns = self.machine.policy.watchdog_ns
        if watchdog_ns is not None and self._notify is not None:
            environment["WATCHDOG_USEC"] = str(watchdog_ns // 1000)
        if self.machine.state in (State.STOP, State.STOP_POST):
            environment["SERVICE_RESULT"] = self.machine.result.value
            if exit := self.machine.main_exit:
                environment["EXIT_CODE"], environment["EXIT_STATUS"] = CODES[exit.code], str(exit.status)
        return environment

    def _find_main(self, *, again: bool) -> None:
        """Looks for the process that the PID file names, if it is the unit's own; without a file, the only one there
        is."""
        below = self._count()
        pid = 0
        if self.plan.pid_file:
            pid = processes.read_pid_file(self.plan.pid_file)
        elif self.machine.policy.guess_main_pid and len(below - {self._family.control}) == 1:
            (pid,) = below - {self._family.control}
        if pid in below:
            self._family.adopt_main(pid)
            self._count()
            self.carry_out(self.machine.main_found(now_ns()))
        elif not again:
            if self.plan.pid_file:
                self.message = f"the PID file {self.plan.pid_file} names no process of this unit"
            self.carry_out(self.machine.main_missing(now_ns()))

    # State

    def _write(self, *, loading: bool = False) -> None:
        machine, written = self.machine, self.account.written
        was_active = written is not None and ACTIVE_STATES[written.state] == "active"
        if ACTIVE_STATES[machine.state] == "active" and not was_active:
            self.active_ns = self.active_ns if written is None and self.active_ns else time.time_ns()
        self.account.write(
            StateRecord(
                boot_id=self.boot_id,
                shim=self._identity,
                state=machine.state,
                result=machine.result,
                main_pid=self._family.main if machine.main_alive else 0,
                processes=self._family.identities(),
                exit=(machine.main_exit.code, machine.main_exit.status) if machine.main_exit else None,
                restarts=machine.restarts,
                starts_ns=tuple(machine.starts_ns),
                forbid_restart=machine.forbid_restart,
                start_pending=machine.start_pending,
                loading=loading,
                active_ns=self.active_ns,
                invocation=self.invocation,
                request_id=self.request_id,
                digest=self.account.unit.digest if self.account.unit is not None else "",
                message=self.message,
                notes=tuple(self._notes),
                withstanding=self._family.withstanding(),
            )
        )


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
