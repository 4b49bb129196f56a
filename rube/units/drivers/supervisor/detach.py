"""The start of a shim: detached, alone on its unit, a subreaper, with its signals set up."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from rube.units.drivers.supervisor import attributes, files, presence
from rube.units.drivers.supervisor.account import Account
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.recovery import recover
from rube.units.drivers.supervisor.shim import Shim

PR_SET_CHILD_SUBREAPER = 36
_IGNORED = frozenset({signal.SIGHUP, signal.SIGPIPE})


def supervise(directory: str) -> None:
    """Detaches from its parent, which gets exit status 0 once the waiting request is taken."""
    attributes.reset_signals(_IGNORED)
    attributes.set_shims()
    said_by_child, tell = os.pipe()
    if os.fork():
        _wait_for_word(said_by_child, tell)
    os.close(said_by_child)
    os.setsid()
    _redirect_own_output(directory)
    taken = presence.take(directory)
    if taken is None:
        os.write(tell, bytes([presence.EXIT_LOCKED]))
        os._exit(presence.EXIT_LOCKED)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    shim = Shim(Account(directory, taken), wakeup)
    _set_handlers(shim, writer)

    def ready() -> None:
        os.write(tell, b"\0")
        os.close(tell)

    try:
        recover(shim)
    except (FileError, TimeoutError) as error:
        sys.exit(str(error))
    shim.run(ready)
    sys.exit(0)


def _wait_for_word(said: int, tell: int) -> None:
    """Runs the first process: ends with the status that the shim sends, and with status 1 if the shim ends without
    one."""
    code = 1
    try:
        os.close(tell)
        word = os.read(said, 1)
        code = ord(word) if word else 1
    finally:
        os._exit(code)


def _set_handlers(shim: Shim, writer: int) -> None:
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: shim.ask_to_stop())


def _redirect_own_output(directory: str) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    log = os.open(os.path.join(directory, files.SHIM_LOG), flags, files.FILE_MODE)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for handle in (null, log):
        if handle > 2:
            os.close(handle)
