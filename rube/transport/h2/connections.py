"""The connections that h2corn has accepted, found among this process's open files: it offers no way to end them."""

from __future__ import annotations

import os
import socket  # noqa: TID251 (an adapter)
import stat
from collections.abc import Iterable
from contextlib import suppress

from rube.transport.h2.listening import Listening


def cut_connections(listening: Iterable[Listening]) -> None:
    """Ends every accepted connection of these addresses, whatever it has still to send."""
    places = list(listening)
    ports = {place.port for place in places if not place.path}
    paths = {place.path for place in places if place.path}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.stat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as found:
                if _is_one(found, ports, paths):
                    found.shutdown(socket.SHUT_RDWR)


def _is_one(found: socket.socket, ports: set[int], paths: set[str]) -> bool:
    here = found.getsockname()
    found.getpeername()  # raises for a socket that is not connected
    if found.family == socket.AF_UNIX:
        return here in paths
    return found.family in (socket.AF_INET, socket.AF_INET6) and here[1] in ports
