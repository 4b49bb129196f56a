"""A unit's shim as the driver sees it: its record, its presence, and how to wake and start it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess  # noqa: TID251 (an adapter)
import sys
from dataclasses import dataclass

from rube.api.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError
from rube.host import Clock
from rube.units.boot import is_same_boot
from rube.units.drivers.disk import disk_errors
from rube.units.drivers.supervisor import files, presence, processes
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.records import LOST_VARIABLE, StateRecord, UnitRecord

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")
LAUNCH_S_MAX = 10.0
"""The time from the start of a shim until it has taken its request; it may have to kill what another one left."""
UNIT_FILES_MAX = 1024
"""The soft limit of open files that units begin with, as systemd's own default is."""
LAST_WORDS_BYTES_MAX = 512


@dataclass(frozen=True, kw_only=True)
class Look:
    """The content of the files in a unit's directory at one moment, and whether its shim is alive."""

    unit: UnitRecord | None
    state: StateRecord | None
    """The state of this boot; None: nothing was started since."""
    errors: tuple[FileError, ...] = ()
    """The reasons why records cannot be read."""
    state_is_damaged: bool = False
    alive: bool = False

    @property
    def why(self) -> str:
        return "; ".join(map(str, self.errors))

    @property
    def newer(self) -> bool:
        """True if a later release wrote here, which knows better."""
        return any(error.newer for error in self.errors)

    @property
    def rests(self) -> bool:
        """True if by the records no part of the unit is meant to run."""
        return not self.state_is_damaged and (self.state is None or self.state.rests)

    @property
    def is_lost(self) -> bool:
        """True if the shim is gone though it still had, or may have had, a unit to manage."""
        return not self.rests and not self.alive and not self.newer

    @property
    def lacks(self) -> bool:
        """True if there is a shim, and files are missing that it could write."""
        return self.alive and not self.newer and (self.unit is None or self.state is None)


def look(directory: str, boot_id: str, *, with_unit: bool = True) -> Look:
    """Returns the look. It raises no error of the disk: a unit whose files can't be read has them in its `errors`."""
    unit, state, errors, damaged = None, None, [], False
    try:
        unit = files.read(directory, UnitRecord) if with_unit else None
    except FileError as error:
        errors.append(error)
    try:
        state = files.read(directory, StateRecord)
    except FileError as error:
        errors.append(error)
        damaged = not error.newer
    alive = presence.is_alive(directory)
    if state is not None and not is_same_boot(state.boot_id, boot_id):
        state = None
    return Look(unit=unit, state=state, errors=tuple(errors), state_is_damaged=damaged, alive=alive)


def poke(directory: str, state: StateRecord | None, number: int = signal.SIGUSR1) -> None:
    """Tells the shim to look at its files; with SIGTERM, to stop its unit."""
    known = state.shim if state is not None and processes.start_time(state.shim[0]) == state.shim[1] else None
    shim = known or presence.find(directory)
    if shim is not None:
        processes.send_signal(*shim, number)


def kill(directory: str, state: StateRecord | None) -> None:
    """Ends a shim that hangs. The next one finds its unit, and stops it."""
    poke(directory, state, signal.SIGKILL)


async def launch(directory: str, clock: Clock, *, lost: bool = False) -> None:
    """Starts a shim, which takes the waiting request, and returns once it has detached.

    `lost`: unrecorded processes of the unit run; they are killed before anything is started.

    Raises UnavailableError if no process can be started, ResourceExhaustedError without room or files for one,
    DeadlineExceededError if it has not detached in LAUNCH_S_MAX (it goes on), FailedPreconditionError with its last
    error output if it gives up.
    """
    try:
        with disk_errors("cannot start a supervisor process"):
            files.make_directory(directory)
            launcher = _start_launcher(directory, lost)
    except FailedPreconditionError as error:
        raise UnavailableError(error.message) from error
    try:
        async with clock.timeout(LAUNCH_S_MAX):
            await _ended(launcher.pid)
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"the supervisor of {os.path.basename(directory)} has not taken its request after {LAUNCH_S_MAX:g} s"
        ) from error
    finally:
        if launcher.poll() is None:
            launcher.kill()
            launcher.wait()  # at once, after SIGKILL: it waits for a pipe
    code = launcher.returncode
    if code not in (0, presence.EXIT_LOCKED):
        raise FailedPreconditionError(
            f"the supervisor of {os.path.basename(directory)} ended with status {code}: {_last_words(directory)}"
        )


def _start_launcher(directory: str, lost: bool) -> subprocess.Popen[bytes]:
    """Returns once it has been executed, which takes a millisecond.

    Not by the event loop: uvloop forks with fork(2), whose handlers make gRPC restart its threads in the child, which
    occasionally crashes there before it has executed anything. subprocess takes vfork(2), which runs no handlers. Not
    in a thread: vfork(2) holds the interpreter anyway, and a caller that is cancelled meanwhile would leave the process
    behind.
    """
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, directory],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LANG": "C.UTF-8", **({LOST_VARIABLE: "1"} if lost else {})},
        start_new_session=True,
    )
    # A daemon's own limit is high, and units would inherit it: select(2) fails past 1,024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE, (min(UNIT_FILES_MAX, hard), hard))
    return launcher


async def _ended(pid: int) -> None:
    """Returns once the child has ended, and leaves its status to take. It takes no thread, however long that is."""
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _last_words(directory: str) -> str:
    path = os.path.join(directory, files.SHIM_LOG)
    try:
        with open(path, "rb") as file:
            lines = file.read()[-LAST_WORDS_BYTES_MAX:].decode(errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line for line in reversed(lines) if line.strip()), f"see {path}")
