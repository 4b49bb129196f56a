"""Listening sockets, and what the kernel promises about their connections.

h2corn sends no HTTP/2 pings, so a silent peer is found by TCP: connections inherit from their listening socket that an
idle one is probed, and that data or probes which nothing answers end it.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket  # noqa: TID251 (an adapter)
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rube.api.addresses import check_host_port
from rube.host import ServerOptions
from rube.transport.addresses import cannot_listen

BACKLOG = 4096
PROBE_INTERVAL_S = 1
_WORDS = {errno.EADDRINUSE: "it is in use", errno.EADDRNOTAVAIL: "it is not an address of this machine"}
UNIX_PORT = 1
"""The port that grpc.aio's servers return for a Unix socket."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The sockets of one address: of a host name with several IP addresses, one each on the same port."""

    sockets: tuple[socket.socket, ...]
    port: int
    path: str = ""
    """The Unix socket's, "" for others."""
    inode: int = 0

    @property
    def address(self) -> Any:
        """The first socket's address, as `connect` takes it."""
        return self.path or self.sockets[0].getsockname()

    def listen(self) -> None:
        """Takes connections again, once the server before has shut the sockets down."""
        for bound in self.sockets:
            bound.listen(BACKLOG)

    def close(self) -> None:
        """Closes the sockets here; those that a server has taken over listen on."""
        for bound in self.sockets:
            bound.close()

    def remove(self) -> None:
        """Removes a Unix socket's file, unless another one has taken its place."""
        with suppress(OSError):
            if self.path and os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)


def bind(address: str, options: ServerOptions) -> Listening:
    """Binds `host:port` or `unix:/path`; a Unix socket that is there is replaced. Raises FailedPreconditionError."""
    try:
        if address.startswith("unix:"):
            return _bind_unix(address.removeprefix("unix:"))
        return _bind_host(address, options)
    except OSError as error:
        raise cannot_listen(address, _WORDS.get(error.errno or 0, error.strerror or str(error))) from error


async def until_answered(listening: Listening) -> None:
    """Returns once the server answers on these sockets: h2corn accepts some turns of the loop later than it says, and a
    loop that is busy meanwhile would leave its clients waiting."""
    first = listening.sockets[0]
    loop = asyncio.get_running_loop()
    with socket.socket(first.family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        await loop.sock_connect(probe, listening.address)
        await loop.sock_sendall(probe, b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        await loop.sock_recv(probe, 1)


def _bind_unix(path: str) -> Listening:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        bound.bind(path)
        bound.listen(BACKLOG)
        return Listening((bound,), UNIX_PORT, path, os.stat(path).st_ino)
    except BaseException:
        bound.close()
        raise


def _bind_host(address: str, options: ServerOptions) -> Listening:
    host, port = check_host_port(address)
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            bound.append(_bind_one(family, (where[0], port, *where[2:]), options))
            port = bound[0].getsockname()[1]
    except BaseException:
        for one in bound:
            one.close()
        raise
    return Listening(tuple(bound), port)


def _bind_one(family: int, where: Any, options: ServerOptions) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _probe_silence(bound, options)
        bound.bind(where)
        bound.listen(BACKLOG)  # a port that is taken shows here, not at the bind
    except BaseException:
        bound.close()
        raise
    return bound


def _probe_silence(bound: socket.socket, options: ServerOptions) -> None:
    idle_s = max(1, math.ceil(options.keepalive_s))
    probes = max(1, math.ceil(options.keepalive_timeout_s / PROBE_INTERVAL_S))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL_S)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (idle_s + probes * PROBE_INTERVAL_S) * 1000)
