"""The end of processes that a killed shim left running. No other process learns how they end, and none may run
twice."""

from __future__ import annotations

import os
import time  # noqa: TID251 (an adapter)
from collections.abc import Iterable
from signal import SIGKILL

from rube.units.drivers.supervisor import processes
from rube.units.drivers.supervisor.presence import UNIT_VARIABLE
from rube.units.drivers.supervisor.unstoppable import lasting_words, refused_words

KILL_S_MAX = 5.0
KILL_POLL_S = 0.01


def kill_leftovers(invocation: str, recorded: Iterable[tuple[int, int]]) -> bool:
    """Kills the rest of one start of a unit and returns once it is gone; returns whether there was anything.

    The rest are the `recorded` processes (pid and start time) and their sessions, those with this INVOCATION_ID in
    their environment, and all descendants of any of them. Raises TimeoutError, which names them, if some cannot be
    killed.
    """
    return _kill(f"INVOCATION_ID={invocation}", list(recorded))


def kill_all(directory: str) -> bool:
    """Does what `kill_leftovers` does, for all starts of the unit that has this directory and no record any more."""
    return _kill(f"{UNIT_VARIABLE}={directory}", [])


def _kill(mark: str, recorded: list[tuple[int, int]]) -> bool:
    until = time.monotonic() + KILL_S_MAX
    any_left = False
    while True:
        table = processes.table()
        left = _left(table, processes.marked(mark), recorded) - {os.getpid()}
        if not left:
            return any_left
        any_left = True
        refused = {pid for pid in sorted(left) if not processes.send_signal(pid, table[pid].started, SIGKILL)}
        if time.monotonic() > until:
            words = refused_words(refused) or lasting_words(left)
            if words:
                raise TimeoutError(f"left of an earlier start: {words}")
        time.sleep(KILL_POLL_S)


def _left(table: dict[int, processes.Process], marked: set[int], recorded: Iterable[tuple[int, int]]) -> set[int]:
    known = {pid for pid, started in recorded if pid in table and table[pid].started == started}
    sessions = {table[pid].session for pid in known}
    members = {pid for pid, process in table.items() if process.session in sessions}
    return processes.below(table, known | members | (marked & table.keys()))
