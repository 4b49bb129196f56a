"""What /proc says of processes. A process is known by boot, pid and start time: pids are used again."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple


class Process(NamedTuple):
    """A line of /proc/<pid>/stat, as far as it matters. `started`: clock ticks from boot to the process's start."""

    state: str
    parent: int
    session: int
    started: int

    @property
    def living(self) -> bool:
        """Zombies are not: they run nothing, and only have their status to give."""
        return self.state not in "ZX"


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def table() -> dict[int, Process]:
    """All processes of the machine by pid, zombies included."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid: found for pid in pids if (found := _stat(pid)) is not None}


def start_time(pid: int) -> int | None:
    """When the process started; None if it is gone or a zombie."""
    found = _stat(pid)
    return found.started if found is not None and found.living else None


def is_gone(pid: int, started: int | None) -> bool:
    """Whether nothing is left of the process that had this start time; a zombie still has its status to give."""
    found = _stat(pid)
    return found is None or (started is not None and found.started != started)


def descendants(root: int) -> set[int]:
    """The living processes below `root`, without it."""
    return below(table(), {root}) - {root}


def below(processes: dict[int, Process], roots: set[int]) -> set[int]:
    """The living ones of `roots` and of all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, todo = set(roots), list(roots)
    while todo:
        new = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(new)
        todo.extend(new)
    return {pid for pid in found if pid in processes and processes[pid].living}


def marked(variable: str) -> set[int]:
    """The processes whose initial environment holds `NAME=value`."""
    wanted, found = variable.encode(), set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        found.add(int(name))
            except OSError:
                continue
    return found


def send_signal(pid: int, started: int, number: int) -> None:
    """Signals that process if it is still there; through a pidfd, so that no other one is ever hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) == started:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _stat(pid: int) -> Process | None:
    """The name before the fields may hold anything, so they count from its end."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Process(fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))
