"""A unit's shim as the driver sees it: alive or not, to be woken, to be started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess  # noqa: TID251 (an adapter)
import sys
from typing import Any

from rube.api.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError
from rube.controllers.systemd.drivers.supervisor import files, processes
from rube.host import Clock

EXIT_LOCKED = 75
"""What a shim ends with that finds another one alive (EX_TEMPFAIL)."""
LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")
LAUNCH_S_MAX = 10.0
LAST_WORDS_BYTES_MAX = 512


def is_alive(state: dict[str, Any]) -> bool:
    """Whether the shim that wrote this state since the machine started ({}: none did) is there."""
    if not state:
        return False
    pid, started = state["shim"]
    return bool(processes.start_time(pid) == started)


def is_lost(state: dict[str, Any]) -> bool:
    """Whether the shim is gone though it still had a unit to look after."""
    return not files.rests(state) and not is_alive(state)


def poke(state: dict[str, Any]) -> None:
    """Tells the shim to look at its request."""
    pid, started = state["shim"]
    processes.send_signal(pid, started, signal.SIGUSR1)


def kill(state: dict[str, Any]) -> None:
    """Ends a shim that hangs. What it looked after is found by the next one, which stops it."""
    if state:
        pid, started = state["shim"]
        processes.send_signal(pid, started, signal.SIGKILL)


async def launch(directory: str, clock: Clock) -> None:
    """Starts a shim, which takes the request that is waiting, and returns once it has detached.

    Raises UnavailableError if no process is to be had, DeadlineExceededError if it has not detached in LAUNCH_S_MAX
    (it goes on), FailedPreconditionError with its last words if it gives up.
    """
    try:
        launcher = await asyncio.to_thread(_start_launcher, directory)
    except OSError as error:
        raise UnavailableError(f"cannot start a supervisor process: {error}") from error
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
    if code not in (0, EXIT_LOCKED):
        raise FailedPreconditionError(
            f"the supervisor of {os.path.basename(directory)} ended with status {code}: {_last_words(directory)}"
        )


def _start_launcher(directory: str) -> subprocess.Popen[bytes]:
    """In a thread of its own, for the time that an exec takes.

    Not by the event loop: uvloop forks with fork(2), whose handlers make gRPC restart its threads in the child, which
    now and then crashes there before it has executed anything. subprocess takes vfork(2), which runs no handlers.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, directory],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    )


async def _ended(pid: int) -> None:
    """Returns once the child has ended, whose status is left to take. It takes no thread, however long that is."""
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
