"""The identity of this machine's boot. A machine is what has its own process 1: a container counts as one.

The kernel's boot_id alone is the host's: it stays when a container is started again, though none of its processes run
any more. The machine's own identity adds the PID namespace and the time at which its process 1 started. It changes
exactly when every process of the machine has gone.
"""

from __future__ import annotations

import os

STAT_BYTES_MAX = 4096


def boot_identity() -> str:
    """Returns such as `d1f2…-…/4026531836/2`: boot_id, the PID namespace, process 1's start in clock ticks since the
    boot."""
    return f"{_read('/proc/sys/kernel/random/boot_id').strip()}/{_pid_namespace()}/{_first_start()}"


def is_same_boot(recorded: str, identity: str) -> bool:
    """Returns whether `recorded` is the boot `identity`. Rube 0.1 recorded the kernel's boot_id alone, which says
    less."""
    return recorded == identity or ("/" not in recorded and recorded != "" and identity.startswith(f"{recorded}/"))


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _first_start() -> str:
    """Returns the start of process 1; empty if it is hidden from this user (hidepid)."""
    fields = _read("/proc/1/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _read(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, STAT_BYTES_MAX).decode(errors="replace")
    finally:
        os.close(handle)
