"""pygrpc-native's server, whose HTTP/2 runs in Rust outside the GIL; optional (the extra `fast`).

One thing differs from the package (0.5): when a stream's buffer is full, its server blocks a thread of the loop's
default executor until there is room. A handful of slow readers would use up all threads, stop every other `to_thread`
of the process, and keep it from ending. Here the writer waits on the loop instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from grpc import aio

from rube.api.errors import FailedPreconditionError
from rube.distribution import install_command
from rube.transport.options import CoreOptions

FULL_WAIT_MS_MIN = 0.5
FULL_WAIT_MS_MAX = 50.0
"""A writer whose client is behind looks for room after the first, then after twice as long, up to the second."""


def native_server(options: CoreOptions, interceptors: Sequence[aio.ServerInterceptor[Any, Any]]) -> aio.Server:
    """Returns a server of pygrpc-native. Raises FailedPreconditionError if it is not installed."""
    server: aio.Server = _server_class()(interceptors=list(interceptors), options=options)
    return server


@cache
def _server_class() -> Any:
    try:
        import pygrpc_native.aio as native
        from pygrpc_native import STREAM_CLOSED, STREAM_FULL
    except ImportError as error:
        raise FailedPreconditionError(
            f"the native gRPC server is not installed: {install_command('fast')}, or choose the server grpcio",
            extra="fast",
        ) from error

    class Server(native.Server):
        """pygrpc-native's server with a writer that waits without a thread."""

        async def _send(self, call: Any, context: Any, response: Any) -> bool:
            data = self._encode(call, context, response)
            if data is None:
                return False
            context._initial_sent = True
            front: Any = self._front
            wait_ms = FULL_WAIT_MS_MIN
            while (sent := front.stream_try_send(call.call_id, data)) == STREAM_FULL:
                await asyncio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, FULL_WAIT_MS_MAX)
            return bool(sent != STREAM_CLOSED)

    return Server
