"""The part of asyncio's loop interface that a simulated world refuses: real I/O, signals, threads, subprocesses."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from rube.sim.world.kernel.errors import SimulatedIOError

_NETWORK = "use host.network (or the simulated network's own API)"
_FILES = "use host.storage"
_PROCESSES = "use a driver, or SimHost.spawn for a simulated process"
_SIGNALS = "stop a simulated process with SimProcess.stop() or kill()"

REMEDIES = {
    "add_reader": _NETWORK,
    "remove_reader": _NETWORK,
    "add_writer": _NETWORK,
    "remove_writer": _NETWORK,
    "add_signal_handler": _SIGNALS,
    "remove_signal_handler": _SIGNALS,
    "connect_accepted_socket": _NETWORK,
    "connect_read_pipe": _FILES,
    "connect_write_pipe": _FILES,
    "create_connection": _NETWORK,
    "create_datagram_endpoint": _NETWORK,
    "create_server": _NETWORK,
    "create_unix_connection": _NETWORK,
    "create_unix_server": _NETWORK,
    "getaddrinfo": _NETWORK,
    "getnameinfo": _NETWORK,
    "sendfile": _NETWORK,
    "sock_accept": _NETWORK,
    "sock_connect": _NETWORK,
    "sock_recv": _NETWORK,
    "sock_recv_into": _NETWORK,
    "sock_recvfrom": _NETWORK,
    "sock_recvfrom_into": _NETWORK,
    "sock_sendall": _NETWORK,
    "sock_sendfile": _NETWORK,
    "sock_sendto": _NETWORK,
    "start_tls": _NETWORK,
    "subprocess_exec": _PROCESSES,
    "subprocess_shell": _PROCESSES,
}
"""Every refused method of the loop, and what to use instead."""


def _refusal(method: str, remedy: str) -> Any:
    def refuse(self: asyncio.AbstractEventLoop, *args: object, **kwargs: object) -> NoReturn:
        raise SimulatedIOError(f"loop.{method}() is real I/O, which a simulated world has not: {remedy}")

    refuse.__name__ = refuse.__qualname__ = method
    refuse.__doc__ = f"Raise SimulatedIOError: {remedy}."
    return refuse


class NoRealIO(asyncio.AbstractEventLoop):
    """A loop whose every I/O method raises SimulatedIOError with the remedy, at the call and not at the await."""


for _method, _remedy in REMEDIES.items():
    setattr(NoRealIO, _method, _refusal(_method, _remedy))
