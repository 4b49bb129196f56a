"""The shim: parent and supervisor of one unit's processes, for as long as the unit is up.

It has a session of its own and is a subreaper, so that every descendant of the unit, however it forks away, stays
its descendant and in the end its child. It lives until the unit rests, whatever becomes of the rubelet. All decisions
are the ServiceMachine's; this carries them out. SIGUSR1 says that request.json is new, SIGTERM stops the unit.
"""

from __future__ import annotations

import os
import select
import signal
import time  # noqa: TID251 (an adapter)
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rube.controllers.systemd.drivers.supervisor import files, processes
from rube.controllers.systemd.drivers.supervisor.leftovers import kill_leftovers
from rube.controllers.systemd.drivers.supervisor.spawn import environment_of, spawn
from rube.controllers.systemd.service.commandline import CommandLine
from rube.controllers.systemd.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.controllers.systemd.service.machine import ServiceMachine
from rube.controllers.systemd.service.policy import CLD_EXITED, SIGKILL, Exit, Policy
from rube.controllers.systemd.service.states import ACTIVE_STATES, IDLE, RESTING, Result, State

if TYPE_CHECKING:
    from rube.controllers.systemd.drivers.supervisor.notify import NotifySocket

LOG_BYTES_MAX = 1024 * 1024
HOUSEKEEPING_S = 3.0
PID_FILE_POLL_S = 0.05
CODES = {1: "exited", 2: "killed", 3: "dumped"}


class Shim:
    """One unit's shim; `directory` is the unit's, and its lock is held. `wakeup` is readable after each signal."""

    def __init__(self, directory: str, wakeup: int) -> None:
        self._directory = directory
        self._wakeup = wakeup
        self._boot_id = processes.boot_id()
        self._identity = [os.getpid(), processes.start_time(os.getpid())]
        self._plan: dict[str, Any] = {}
        self._machine = ServiceMachine(Policy())
        self._notify: NotifySocket | None = None
        self._main = self._control = 0
        self._main_start: int | None = None
        self._invocation = ""
        self._active_ns = 0
        self._request_id = ""
        self._digest = ""
        self._message = ""
        self._written: dict[str, Any] = {}
        self._is_written = False
        self._asked_to_stop = False
        self._unsettled = True

    def run(self, ready: Callable[[], None]) -> None:
        """Until the unit rests. `ready` is called when the request that waits is taken, which the state tells.

        Exits with status 1 instead if the request led to nothing and not even that can be written.
        """
        self._recover()
        self._take_request()
        self._settle()
        if self._machine.state in RESTING and not self._is_written:
            raise SystemExit(1)  # nothing runs, and who asked asks again
        ready()
        while True:
            self._settle()
            if self._machine.state in RESTING and self._is_written:
                return
            if not self._wait():
                continue
            if self._asked_to_stop:
                self._asked_to_stop = False
                self._carry_out(self._machine.stop(_now_ns()))
            self._take_request()
            self._reap()
            self._hear()
            self._carry_out(self._machine.tick(_now_ns()))

    def ask_to_stop(self) -> None:
        """For a signal's handler: stops the unit at the next turn."""
        self._asked_to_stop = True

    # Requests

    def _recover(self) -> None:
        """Goes on from the last shim's account. Raises TimeoutError if what it left running cannot be killed."""
        state = files.read_json(self._directory, files.STATE) or {}
        if state.get("boot_id") != self._boot_id:
            return
        machine = self._machine
        self._request_id, self._active_ns = state["request_id"], state["active_ns"]
        self._message = state["message"]
        machine.result, machine.restarts = Result(state["result"]), state["restarts"]
        machine.main_exit = Exit(*state["exit"]) if state["exit"] else None
        machine.starts_ns = list(state["starts_ns"])
        machine.forbid_restart = state["forbid_restart"]
        machine.start_pending = state["start_pending"] or state["loading"]
        last, killed = State.DEAD if state["loading"] else State(state["state"]), False
        if state["loading"] or last not in IDLE:
            killed = kill_leftovers(state["invocation"], [(pid, started) for pid, started in state["processes"]])
        if not files.rests(state):
            self._read_definition()
            machine.policy = Policy.from_json(self._plan["policy"])
            self._invocation = state["invocation"]
            self._message = f"its supervisor process {state['shim'][0]} was killed"
        self._carry_out(machine.supervision_lost(last, killed=killed, now_ns=_now_ns()))

    def _take_request(self) -> None:
        request = files.read_json(self._directory, files.REQUEST) or {}
        if request.get("id", "") == self._request_id:
            return
        self._request_id = request["id"]
        verb = {"start": self._machine.start, "restart": self._machine.restart, "stop": self._machine.stop}
        self._carry_out(verb[request["verb"]](_now_ns()))

    def _load(self) -> None:
        """Reads the definition, which takes effect when the service is next started."""
        self._read_definition()
        self._main = self._control = 0
        self._invocation = os.urandom(16).hex()  # noqa: TID251 (an adapter)
        self._message = ""
        if self._notify is None and self._plan["notify"] != "none":
            # Here, because it imports socket, which most shims never need.
            from rube.controllers.systemd.drivers.supervisor.notify import NotifySocket

            self._notify = NotifySocket(self._invocation)
        self._carry_out(self._machine.loaded(Policy.from_json(self._plan["policy"]), _now_ns()))

    def _read_definition(self) -> None:
        unit = files.read_json(self._directory, files.UNIT)
        if unit is not None:
            self._plan, self._digest = unit["plan"], unit["digest"]

    # Events

    def _wait(self) -> bool:
        """Until a signal, a notification or the next deadline; False: there was only time to keep house."""
        timeout = HOUSEKEEPING_S
        if self._machine.awaits_pid_file:
            timeout = PID_FILE_POLL_S
        deadline = self._machine.deadline_ns
        if deadline is not None:
            timeout = max(0.0, min(timeout, (deadline - _now_ns()) / 1e9))
        if self._machine.state is State.AUTO_RESTART and deadline is not None:
            timeout = max(0.0, (deadline - _now_ns()) / 1e9)
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if self._notify is not None:
            poll.register(self._notify, select.POLLIN)
        woken = bool(poll.poll(timeout * 1000 + 1))
        try:
            os.read(self._wakeup, 4096)
        except BlockingIOError:
            pass
        self._keep_house()
        due = deadline is not None and _now_ns() >= deadline
        return woken or due or self._machine.awaits_pid_file or self._main_is_gone()

    def _reap(self) -> None:
        """Takes the exit status of every child that ended and tells the machine."""
        ended: list[tuple[int, Exit]] = []
        while True:
            try:
                status = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                break
            if status is None:
                break
            ended.append((status.si_pid, Exit(status.si_code, status.si_status)))
        if not ended and self._main_is_gone():
            ended.append((self._main, Exit(CLD_EXITED, 0)))
        if ended:
            self._unsettled = True
            self._count()
        for pid, exit in ended:
            if pid == self._main:
                self._main = 0
                self._carry_out(self._machine.main_ended(exit, _now_ns()))
            elif pid == self._control:
                self._control = 0
                self._carry_out(self._machine.control_ended(exit, _now_ns()))
        if self._machine.awaits_pid_file:
            self._find_main(again=True)

    def _main_is_gone(self) -> bool:
        """Whether the main process ended unnoticed: one that was never our child tells somebody else how it ended."""
        return self._main != 0 and processes.is_gone(self._main, self._main_start)

    def _count(self) -> set[int]:
        below = processes.descendants(os.getpid())
        self._machine.others = bool(below - {self._main, self._control})
        return below

    def _settle(self) -> None:
        """Tells the machine when nothing is left, until that changes nothing more, and writes the state."""
        for _ in range(len(State)):
            if not self._unsettled:
                break
            before = self._machine.state
            if self._machine.state in RESTING or self._count():
                break
            self._carry_out(self._machine.emptied(_now_ns()))
            if self._machine.state is before:
                break
        self._unsettled = False
        self._write()

    def _hear(self) -> None:
        """Takes what the service says with sd_notify(3)."""
        if self._notify is None:
            return
        for pid, words in self._notify.receive():
            access = self._plan["notify"]
            allowed = {"main": {self._main}, "exec": {self._main, self._control}}.get(access)
            if pid not in (self._count() if allowed is None else allowed):
                continue
            main = words.get("MAINPID", "")
            if main.isdigit() and int(main) in self._count():
                self._adopt_main(int(main))
            if words.get("READY") == "1":
                self._carry_out(self._machine.ready(_now_ns()))
            if words.get("WATCHDOG") == "1":
                self._carry_out(self._machine.alive(_now_ns()))

    # Effects

    def _carry_out(self, effects: list[Effect]) -> None:
        self._unsettled |= bool(effects)
        for effect in effects:
            if isinstance(effect, Spawn):
                self._spawn(effect)
            elif isinstance(effect, Kill):
                self._kill(effect)
            elif isinstance(effect, FindMain):
                self._find_main(again=False)
            elif isinstance(effect, Load):
                self._load()

    def _spawn(self, effect: Spawn) -> None:
        program, arguments, prefixes = self._plan["commands"][effect.list][effect.index]
        command = CommandLine(program, tuple(arguments), prefixes)
        log = os.path.join(self._directory, files.LOG)
        if self._written.get("invocation") != self._invocation:
            # What runs must be found by the next shim, should this one be killed: which then starts from the beginning.
            self._write(loading=True)
            if not self._is_written:
                self._message = f"exec.{effect.list}: not started, for the state cannot be written: is the disk full?"
                self._failed_to_spawn(effect)
                return
        try:
            spawned = spawn(self._plan, command, self._environment(), log)
        except OSError as error:
            self._message = f"exec.{effect.list}: {error}"
            self._failed_to_spawn(effect)
            return
        if spawned.error:
            self._message = f"exec.{effect.list}: {spawned.error}"
        if effect.main:
            self._main, self._main_start = spawned.pid, processes.start_time(spawned.pid)
            if not spawned.error:
                self._carry_out(self._machine.executed(_now_ns()))
        else:
            self._control = spawned.pid

    def _failed_to_spawn(self, effect: Spawn) -> None:
        """No process could be made: as if it had ended at once, with systemd's status for it."""
        exit = Exit(CLD_EXITED, 1)
        self._machine.result = Result.RESOURCES
        ended = self._machine.main_ended if effect.main else self._machine.control_ended
        self._carry_out(ended(exit, _now_ns()))

    def _environment(self) -> dict[str, str]:
        environment = environment_of(self._plan)
        environment["INVOCATION_ID"] = self._invocation
        if self._plan["pid_file"]:
            environment["PIDFILE"] = self._plan["pid_file"]
        if self._main:
            environment["MAINPID"] = str(self._main)
        if self._notify is not None:
            environment["NOTIFY_SOCKET"] = self._notify.address
        watchdog_ns = self._machine.policy.watchdog_ns
        if watchdog_ns is not None and self._notify is not None:
            environment["WATCHDOG_USEC"] = str(watchdog_ns // 1000)
        if self._machine.state in (State.STOP, State.STOP_POST):
            environment["SERVICE_RESULT"] = self._machine.result.value
            if exit := self._machine.main_exit:
                environment["EXIT_CODE"], environment["EXIT_STATUS"] = CODES[exit.code], str(exit.status)
        return environment

    def _kill(self, effect: Kill) -> None:
        pids = {pid for pid in (self._main, self._control) if pid}
        if effect.rest:
            pids |= processes.descendants(os.getpid())
        for pid in sorted(pids):
            _signal(pid, effect.signal)
            if effect.hangup:
                _signal(pid, signal.SIGHUP)
            if effect.signal != SIGKILL:
                _signal(pid, signal.SIGCONT)

    def _find_main(self, *, again: bool) -> None:
        """The process that the PID file names, if it is the unit's own; without a file, the only one there is."""
        below = self._count()
        pid = 0
        if self._plan["pid_file"]:
            try:
                with open(self._plan["pid_file"]) as file:
                    pid = int(file.read(64).strip() or 0)
            except (OSError, ValueError):
                pid = 0
        elif self._machine.policy.guess_main_pid and len(below - {self._control}) == 1:
            (pid,) = below - {self._control}
        if pid in below:
            self._adopt_main(pid)
            self._carry_out(self._machine.main_found(_now_ns()))
        elif not again:
            if self._plan["pid_file"]:
                self._message = f"the PID file {self._plan['pid_file']} names no process of this unit"
            self._carry_out(self._machine.main_missing(_now_ns()))

    def _adopt_main(self, pid: int) -> None:
        self._main, self._main_start = pid, processes.start_time(pid)
        self._count()

    # State

    def _write(self, *, loading: bool = False) -> None:
        machine = self._machine
        active = ACTIVE_STATES[machine.state] == "active"
        if active and ACTIVE_STATES[State(self._written.get("state", "dead"))] != "active":
            self._active_ns = time.time_ns()
        state = {
            "boot_id": self._boot_id,
            "shim": self._identity,
            "state": machine.state.value,
            "result": machine.result.value,
            "main_pid": self._main if machine.main_alive else 0,
            "processes": self._identities(),
            "exit": [machine.main_exit.code, machine.main_exit.status] if machine.main_exit else None,
            "restarts": machine.restarts,
            "starts_ns": list(machine.starts_ns),
            "forbid_restart": machine.forbid_restart,
            "start_pending": machine.start_pending,
            "loading": loading,
            "active_ns": self._active_ns,
            "invocation": self._invocation,
            "request_id": self._request_id,
            "digest": self._digest,
            "message": self._message,
        }
        self._is_written = state == self._written
        if self._is_written:
            return
        try:
            files.write_json(self._directory, files.STATE, state)
        except OSError as error:
            # A full disk, say. The unit goes on, and the next turn tries again.
            _note(f"cannot write the state: {error}")
        else:
            self._written, self._is_written = state, True

    def _identities(self) -> list[tuple[int, int]]:
        """Pid and start time of the main and the control process, as far as they live."""
        pids = (self._main, self._control)
        return [(pid, started) for pid in pids if pid and (started := processes.start_time(pid)) is not None]

    def _keep_house(self) -> None:
        """Keeps the log bounded: the unit's processes hold it open, so it is copied and cut, not renamed."""
        log = os.path.join(self._directory, files.LOG)
        try:
            if os.path.getsize(log) > LOG_BYTES_MAX:
                with open(log, "rb") as old, open(f"{log}.1", "wb") as kept:
                    old.seek(-LOG_BYTES_MAX, os.SEEK_END)
                    kept.write(old.read(LOG_BYTES_MAX))
                os.truncate(log, 0)
        except OSError:
            pass


def _note(line: str) -> None:
    """Into the shim's own log, which may be on the same full disk."""
    try:
        os.write(1, f"{line}\n".encode())
    except OSError:
        pass


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
