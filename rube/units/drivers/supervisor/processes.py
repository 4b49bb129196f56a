"""The processes in /proc. A process is identified by boot, pid and start time: pids are used again."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

PID_FILE_BYTES_MAX = 64


class Process(NamedTuple):
    """A line of /proc/<pid>/stat, as far as it matters. `started`: clock ticks from boot to the process's start."""

    state: str
    parent: int
    session: int
    started: int
    comm: str = ""
    """The name that the process has in the table; it may be anything."""

    @property
    def living(self) -> bool:
        """True unless it is a zombie: those run nothing, and only have their status to report."""
        return self.state not in "ZX"


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def table() -> dict[int, Process]:
    """Returns all processes of the machine by pid, zombies included."""
    return {pid: found for pid in pids() if (found := stat(pid)) is not None}


def start_time(pid: int) -> int | None:
    """Returns when the process started; None if it is gone or a zombie."""
    found = stat(pid)
    return found.started if found is not None and found.living else None


def myself() -> tuple[int, int]:
    """Returns pid and start time of this process."""
    return os.getpid(), start_time(os.getpid()) or 0


def read_pid_file(path: str) -> int:
    """Returns the pid in a service's PID file; 0 if there is none, or it is no plain file: a FIFO would not end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        return int(os.read(handle, PID_FILE_BYTES_MAX).strip() or 0)
    except (OSError, ValueError):
        return 0
    finally:
        os.close(handle)


def descendants(root: int) -> set[int]:
    """Returns the living processes below `root`, without it."""
    return below(table(), {root}) - {root}


def below(processes: dict[int, Process], roots: set[int]) -> set[int]:
    """Returns the living ones of `roots` and of all their descendants."""
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
    """Returns the processes whose initial environment holds `NAME=value`."""
    wanted = variable.encode()
    return {pid for pid, values in environments(wanted).items() if wanted in values}


def environments(prefix: bytes) -> dict[int, list[bytes]]:
    """Returns, for each process that this user may inspect, the lines of its initial environment with that prefix, if
    any."""
    found: dict[int, list[bytes]] = {}
    for pid in pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                data = file.read()
        except OSError:
            continue
        if prefix in data and (lines := [line for line in data.split(b"\0") if line.startswith(prefix)]):
            found[pid] = lines
    return found


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signals that process if it is still there; through a pidfd, so that no other one is ever hit.

    Returns False if this user may not, as for a set-uid program.
    """
    try:
        handle = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return True
    try:
        if start_time(pid) == started:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(handle)
    return True


def stat(pid: int) -> Process | None:
    """Returns one process; None if no process has this pid. The name before the fields may hold anything: they count
    from its end."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            before, _, after = file.read().rpartition(b")")
    except OSError:
        return None
    fields = after.split()
    comm = before.partition(b"(")[2].decode(errors="replace")
    return Process(fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]), comm)
