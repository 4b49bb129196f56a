"""How a shim comes to stand on its own: detached, alone on its unit, a subreaper, with its signals set up."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time  # noqa: TID251 (an adapter)

from rube.controllers.systemd.drivers.supervisor import files
from rube.controllers.systemd.drivers.supervisor.shim import Shim

PR_SET_CHILD_SUBREAPER = 36
EXIT_LOCKED = 75
"""Another shim is alive (EX_TEMPFAIL)."""
LOCK_WAIT_S_MAX = 1.0
LOCK_POLL_S = 0.01


def supervise(directory: str) -> None:
    """Detaches from whoever starts it, which gets exit status 0 once the request that waited is taken."""
    said_by_child, tell = os.pipe()
    if os.fork():
        os.close(tell)
        with os.fdopen(said_by_child, "rb") as pipe:
            said = pipe.read(1)
        os._exit(ord(said) if said else 1)
    os.close(said_by_child)
    os.setsid()
    _redirect_own_output(directory)
    lock = _lock(directory)
    if lock is None:
        os.write(tell, bytes([EXIT_LOCKED]))
        os._exit(EXIT_LOCKED)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    shim = Shim(directory, wakeup)

    def stop(number: int, frame: object) -> None:
        shim.ask_to_stop()

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def ready() -> None:
        os.write(tell, b"\0")
        os.close(tell)

    shim.run(ready)
    sys.exit(0)


def _lock(directory: str) -> int | None:
    """One shim for each unit: the one before may still be on its way out."""
    handle = os.open(os.path.join(directory, files.LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + LOCK_WAIT_S_MAX
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return None
            time.sleep(LOCK_POLL_S)
        else:
            return handle


def _redirect_own_output(directory: str) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    log = os.open(os.path.join(directory, files.SHIM_LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
