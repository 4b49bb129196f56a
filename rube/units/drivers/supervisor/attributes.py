"""The attributes that a process inherits from the rubelet's parent, and their values in shims and units.

- Signals: none is blocked, all have their default effect; a unit ignores SIGPIPE (IgnoreSIGPIPE=), a shim SIGHUP too.
- umask: 0077 for a shim, `umask` or 0022 for a unit.
- Working directory, environment, session, terminal: `/`, LANG alone, one's own, none; a unit's are its definition's.
- Open files: a unit has standard input, output and error.
- nice: a shim keeps the rubelet's; a unit has `nice`, or 0 where this user may lower it.
- Out-of-memory score: a shim keeps the rubelet's; a unit has 0 where this user may lower it.
- Limits: a shim may open as many files as the hard limit says. A unit has `limits`; else 1024:524288 open files, as
  systemd's default is, and for the rest what process 1 has; all as far as this user may raise them.
- Groups and capabilities: a shim keeps the rubelet's. A unit has its user's groups, and no capabilities unless it is
  root, whose are within the rubelet's bounding set; never inheritable or ambient ones (`privileges`).
- Scheduler, processors, control group, namespaces, bounding set, seccomp, no_new_privs: both keep the rubelet's, so
  that confining a node confines its units. A unit also has no_new_privs if its definition says so.
"""

from __future__ import annotations

import os
import resource
import signal

OPEN_FILES_SOFT, OPEN_FILES_HARD = 1024, 512 * 1024
"""systemd-system.conf(5), DefaultLimitNOFILE=."""
_KEPT = (resource.RLIMIT_NOFILE,)
_LIMITS = tuple(sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")} - set(_KEPT)))
_UNTOUCHABLE = frozenset({signal.SIGKILL, signal.SIGSTOP})


def reset_signals(ignored: frozenset[signal.Signals]) -> None:
    """Gives every signal its default effect, except the ignored ones, and blocks none."""
    for number in signal.valid_signals() - _UNTOUCHABLE:
        try:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        except (OSError, ValueError):  # the C library keeps some for itself
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def set_shims() -> None:
    """Sets a shim's attributes, except for its signals."""
    os.umask(0o077)
    os.chdir("/")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_units(umask: int) -> None:
    """Sets the attributes of a unit's process that its definition may change afterwards, except for its signals."""
    os.umask(umask)
    _try_to_write("/proc/self/oom_score_adj", b"0")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        pass
    for which in _LIMITS:
        try:
            resource.setrlimit(which, resource.prlimit(1, which))
        except (OSError, ValueError):  # not visible, or not to be raised
            continue
    _set_open_files()


def lower_to_fit(which: int, value: int) -> int | None:
    """Sets both limits, or, if this user may not have that many, as many as it may, as systemd does; then it returns
    how many. Raises OSError and ValueError."""
    wanted = resource.RLIM_INFINITY if value > 2**62 else value
    try:
        resource.setrlimit(which, (wanted, wanted))
    except (OSError, ValueError):
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
            resource.setrlimit(which, (hard, hard))
            return hard
        raise
    return None


def _set_open_files() -> None:
    for hard in (OPEN_FILES_HARD, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES_SOFT, hard), hard))
        except (OSError, ValueError):
            continue
        return


def _try_to_write(path: str, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(handle, data)
    except OSError:
        pass
    finally:
        os.close(handle)
