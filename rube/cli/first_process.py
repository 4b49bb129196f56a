"""The duties of a machine's first process, if the machine is a container and a daemon its first process.

Orphans become children of process 1, which has to reap them, or they stay as zombies; here those are the supervisor's
shims and their descendants. And signals without a handler do not reach it. So the daemon goes on in a child, as under
`docker run --init`, and this process becomes an init.
"""

from __future__ import annotations

import os
import signal

FIRST = 1


def leave_first_process() -> None:
    """Returns in a child, if this is process 1; the first process passes signals on and ends with the child's status.

    To be called before there are threads, connections or event loops.
    """
    if os.getpid() != FIRST:
        return
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    code = 1
    try:
        code = _look_after(child)
    finally:
        os._exit(code)


def _look_after(daemon: int) -> int:
    """Reaps every child that ends and passes every other signal on, until the daemon has ended; its exit status."""
    while True:
        number = signal.sigwait(signal.valid_signals())
        if number != signal.SIGCHLD:
            os.kill(daemon, number)
            continue
        code = _reap(daemon)
        if code is not None:
            return code


def _reap(daemon: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == daemon:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
