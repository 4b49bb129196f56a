"""What /proc says of processes. A process is known by boot, pid and start time: pids are used again."""

from __future__ import annotations

import os


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start (/proc/<pid>/stat, field 22); None if it is gone or a zombie."""
    found = _stat(pid)
    return None if found is None or found[0] in "ZX" else found[2]


def is_gone(pid: int, started: int | None) -> bool:
    """Whether nothing is left of the process that had this start time; a zombie still has its status to give."""
    found = _stat(pid)
    return found is None or (started is not None and found[2] != started)


def descendants(root: int) -> set[int]:
    """The living processes below `root`, without it. Zombies don't count."""
    children: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := _stat(int(name))) is not None:
            children.setdefault(found[1], []).append((int(name), found[0]))
    below: set[int] = set()
    todo = [root]
    while todo:
        for pid, state in children.get(todo.pop(), ()):
            todo.append(pid)
            if state not in "ZX":
                below.add(pid)
    return below


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


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent's pid and start time. The name before them may hold anything, so they count from its end."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])
