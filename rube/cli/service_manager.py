"""A daemon's notifications to the service manager that started it (sd_notify(3)): ready, alive, or stopping.

Without NOTIFY_SOCKET in the environment nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket  # noqa: TID251 (an adapter)
from functools import partial

# A manager whose queue is full gets READY=1 again once in so many seconds, at most so many times: it waits for it.
SEND_AGAIN_S = 1.0
READY_SENDS_MAX = 600
_LOG = logging.getLogger("rube.cli")


def notify_ready(status: str) -> None:
    """The daemon serves; `systemctl status` shows the first line of `status`."""
    first_line = status.strip().partition("\n")[0]
    _notify("READY=1", f"STATUS={first_line}", sends_max=READY_SENDS_MAX)


def notify_stopping() -> None:
    """The daemon has begun to end."""
    _notify("STOPPING=1")


async def say_alive() -> None:
    """Says that the daemon lives, twice in the time after which the manager kills it (WatchdogSec=), until cancelled.

    It runs in the daemon's event loop: one that hangs falls silent. Ends at once where no manager asks for it.
    """
    while (interval_s := watchdog_interval_s()) is not None:
        _notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


def watchdog_interval_s() -> float | None:
    """Returns how often this process has to report that it lives; None: never."""
    limit_us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(limit_us) / 2e6


def _notify(*lines: str, sends_max: int = 1) -> None:
    """Sends without waiting, since the event loop calls it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    path = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), path)
    except OSError as error:
        if isinstance(error, BlockingIOError) and sends_max > 1:
            again = partial(_notify, *lines, sends_max=sends_max - 1)
            asyncio.get_running_loop().call_later(SEND_AGAIN_S, again)
            return
        _LOG.warning("cannot tell the service manager at %s %s: %s", address, lines[0], error)
