"""Addresses that a server listens on, and the errors if it cannot."""

from __future__ import annotations

import errno
import os
import socket  # noqa: TID251 (an adapter: asks whether a process listens on a Unix socket)

from rube.api.addresses import check_host_port, is_loopback
from rube.api.errors import FailedPreconditionError, InvalidArgumentError

UNIX_PATH_BYTES_MAX = 107
"""The longest path of a Unix socket on Linux (unix(7): sun_path has 108 bytes with its end)."""

CONNECT_TIMEOUT_S = 1.0
# Those of sockets with long paths, open as long as this process lives.
_DIRECTORIES: dict[str, int] = {}


def check_address(address: str) -> None:
    """Raises an error for an address that cannot be listened on: malformed, or a Unix socket of a living server.

    A Unix socket that does not answer was left behind by a process that died: the server replaces it. Both servers
    would replace a living one too, and cut off its owner.
    """
    if address.startswith("unix:"):
        _check_unix(address, address.removeprefix("unix:"))
    else:
        check_host_port(address)


def short_address(address: str) -> str:
    """Returns the same address, for a Unix socket whose path is too long for the kernel in a form that it takes.

    The socket's directory is opened and stays open, and `/proc/self/fd` leads to it. A path that is short enough, and
    one whose directory does not exist, stays as it is.
    """
    path = address.removeprefix("unix:")
    if path == address or len(os.fsencode(path)) <= UNIX_PATH_BYTES_MAX:
        return address
    directory, name = os.path.split(os.path.abspath(path))
    handle = _DIRECTORIES.get(directory)
    if handle is None:
        try:
            handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return address
        _DIRECTORIES[directory] = handle
    return f"unix:/proc/self/fd/{handle}/{name}"


def is_this_machine(target: str) -> bool:
    """Returns whether a channel's target is a Unix socket or a loopback address."""
    return target.startswith("unix:") or is_loopback(target.rpartition(":")[0])


def cannot_listen(address: str, why: str) -> FailedPreconditionError:
    """Returns the error for an address that is taken or not this machine's."""
    return FailedPreconditionError(
        f"cannot listen on {address}: {why}; stop the process that listens there or choose another address",
        address=address,
    )


def _check_unix(address: str, path: str) -> None:
    if not path or len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise InvalidArgumentError(
            f"cannot use address {address!r}: a Unix socket's path has 1 to {UNIX_PATH_BYTES_MAX} bytes",
            address=address,
        )
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise FailedPreconditionError(
            f"cannot listen on {address}: there is no directory {directory}; create it or choose another path",
            address=address,
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        outcome = probe.connect_ex(path)
    if outcome in (0, errno.EAGAIN):
        raise cannot_listen(address, "another process answers there")
