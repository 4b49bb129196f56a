"""The limit of a daemon's open files, and the warning before it is reached."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import sys
import time  # noqa: TID251 (a daemon's own clock)

FILES_MIN = 48
"""The fewest with which a daemon starts: with fewer gRPC would crash."""
FILES_FEW = 256
"""The fewest with which it starts without a warning."""
FILES_REMEDY = "raise the limit with `ulimit -n 65536`, or LimitNOFILE= in the daemon's unit"
LOOK_S = 2.0
WARN_S_MIN = 60.0
LEFT_MIN = 8
"""With no more left to open a daemon warns: gRPC takes no connection without one, and reports that nowhere."""
_LOG = logging.getLogger("rube.cli")


def raise_files_limit() -> int:
    """Raises the limit of open files as far as this process may (as etcd does), and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # the kernel's own limit is lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    if FILES_MIN <= soft < FILES_FEW:
        _LOG.warning("this process may open only %d files, which may not be enough: %s", soft, FILES_REMEDY)
    return soft


async def watch_files() -> None:
    """Warns while nearly all files that this process may open are open, once a minute. Until cancelled."""
    warned_s = -WARN_S_MIN
    while True:
        await asyncio.sleep(LOOK_S)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if time.monotonic() - warned_s >= WARN_S_MIN and _are_used_up(soft):
            warned_s = time.monotonic()
            _LOG.warning(
                "nearly all of the %d files that this process may open are open, and connections may not be taken: %s",
                soft,
                FILES_REMEDY,
            )


def _are_used_up(files: int) -> bool:
    """A new handle has the lowest number that is free: all below it are taken."""
    try:
        handle = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(handle)
    return files - handle <= LEFT_MIN
