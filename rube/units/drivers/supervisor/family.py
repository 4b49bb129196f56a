"""The processes of a unit, as its shim tracks them: the main and the control process, and those that begin."""

from __future__ import annotations

import os
import signal

from rube.units.drivers.supervisor import processes
from rube.units.drivers.supervisor.spawn import Spawned, SpawnReport
from rube.units.drivers.supervisor.unstoppable import refused_words
from rube.units.service.effects import Kill
from rube.units.service.policy import CLD_EXITED, SIGKILL, Exit


class Family:
    """Pids are 0 where there is no such process."""

    def __init__(self) -> None:
        self.main = 0
        self.control = 0
        self._main_start: int | None = None
        self._main_handle: int | None = None
        """A pidfd of a main process whose end this process would not hear of, since it is another process's child."""
        self._beginning: dict[int, Spawned] = {}
        """Those that have not said yet whether they run their program."""
        self._lists: dict[int, str] = {}
        """The Exec list of each."""
        self._refused: dict[int, int] = {}
        """Start times of those that could not be signalled."""

    def forget(self) -> None:
        """Begins a new start: processes left from the one before are not its main and control processes."""
        self.main = self.control = 0
        self._lists.clear()

    def add(self, spawned: Spawned, exec_list: str, *, is_main: bool) -> None:
        self._beginning[spawned.pid] = spawned
        self._lists[spawned.pid] = exec_list
        if is_main:
            self._set_main(spawned.pid)
        else:
            self.control = spawned.pid

    def adopt_main(self, pid: int) -> None:
        """Makes a process that the service itself has started, or names, its main process."""
        self._set_main(pid)
        found = processes.stat(pid)
        if found is not None and found.parent != os.getpid():
            try:
                self._main_handle = os.pidfd_open(pid)
            except OSError:  # it has ended, which the next look finds
                self._main_handle = None

    def known(self) -> set[int]:
        return {self.main, self.control}

    def list_of(self, pid: int) -> str:
        return self._lists.get(pid, "start")

    def handles(self) -> list[int]:
        """Returns the descriptors to poll for input."""
        watched = [spawned.handle for spawned in self._beginning.values()]
        if self.main and self._main_handle is not None:
            watched.append(self._main_handle)
        return watched

    def reports(self) -> list[tuple[int, SpawnReport]]:
        """Returns the reports of processes since the last call, by pid."""
        found = []
        for pid, spawned in tuple(self._beginning.items()):
            if (report := spawned.report()) is not None:
                del self._beginning[pid]
                found.append((pid, report))
        return found

    def last_report(self, pid: int) -> SpawnReport | None:
        """Returns the report of a process that has ended, unless it was returned before."""
        spawned = self._beginning.pop(pid, None)
        return None if spawned is None else spawned.report(ended=True)

    def reap(self) -> list[tuple[int, Exit]]:
        """Returns all children that have ended, and how. A main process that is no child of this one counts as a
        success."""
        ended: list[tuple[int, Exit]] = []
        while True:
            try:
                status = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                break
            if status is None:
                break
            ended.append((status.si_pid, Exit(status.si_code, status.si_status)))
        if self.main and self.main not in {pid for pid, _ in ended} and self._main_ended_elsewhere():
            ended.append((self.main, Exit(CLD_EXITED, 0)))
        return ended

    def kill(self, effect: Kill) -> None:
        """Carries the effect out as far as this user may: processes that it may not signal are `withstanding`."""
        pids = {pid for pid in self.known() if pid}
        if effect.rest:
            pids |= processes.descendants(os.getpid())
        self._refused.clear()
        for pid in sorted(pids):
            if not _signal(pid, effect.signal) and (started := processes.start_time(pid)) is not None:
                self._refused[pid] = started
            if effect.hangup:
                _signal(pid, signal.SIGHUP)
            if effect.signal != SIGKILL:
                _signal(pid, signal.SIGCONT)

    def withstanding(self) -> str:
        """Returns the living processes that the last `kill` was not allowed to signal, in words; empty if there are
        none."""
        if not self._refused:
            return ""
        return refused_words(pid for pid, started in self._refused.items() if processes.start_time(pid) == started)

    def identities(self) -> tuple[tuple[int, int], ...]:
        """Returns pid and start time of the main and the control process, as far as they live."""
        pids = (self.main, self.control)
        return tuple((pid, started) for pid in pids if pid and (started := processes.start_time(pid)) is not None)

    def _main_ended_elsewhere(self) -> bool:
        """Returns whether the main process does not run any more, and will never be reaped here. A zombie does not run;
        a child of this process is reaped at the next look."""
        found = processes.stat(self.main)
        if found is None or (self._main_start is not None and found.started != self._main_start):
            return True
        return not found.living and found.parent != os.getpid()

    def _set_main(self, pid: int) -> None:
        if self._main_handle is not None:
            os.close(self._main_handle)
        self._main_handle = None
        self.main, self._main_start = pid, processes.start_time(pid)


def _signal(pid: int, number: int) -> bool:
    """Sends a signal; False if this user may not."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
