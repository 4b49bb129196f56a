"""pygrpc-native's server, whose HTTP/2 runs in Rust outside the GIL; optional (the extra `fast`).

Two things differ from the package (0.5):

- When a stream's buffer is full, its server blocks a thread of the loop's default executor until there is room. A
  handful of slow readers would use up all threads, stop every other `to_thread` of the process, and keep it from
  ending. Here the writer waits on the loop instead.
- A stop closes the connections as soon as the last handler has ended, before its answer is written: the caller hears
  UNAVAILABLE. Here the stop first waits until every call is counted as answered.
"""

from __future__ import annotations

import asyncio
import time  # noqa: TID251 (an adapter: waits in a thread)
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


ANSWERED_S_MAX = 2.0
"""A stop waits so long for calls to be counted as answered."""
WRITTEN_S = 0.02
"""A stop waits so long more, until what is counted has reached the sockets."""
_LOOK_S = 0.001


class _AnsweringFront:
    """The front of a server that stops, which closes once its calls are answered."""

    def __init__(self, front: Any) -> None:
        self._front = front

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front, name)

    def close(self) -> None:
        """Blocks; the server calls it in a thread."""
        until_s = time.monotonic() + ANSWERED_S_MAX
        while _unanswered(self._front) and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        time.sleep(WRITTEN_S)
        self._front.close()


def _unanswered(front: Any) -> int:
    """Returns how many calls have begun and are not counted under any status."""
    methods: dict[str, Any] = front.metrics()["methods"]
    begun: int = sum(method["started"] for method in methods.values())
    ended: int = sum(status["count"] for method in methods.values() for status in method["status"].values())
    return begun - ended


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
        """pygrpc-native's server, which waits without a thread for room, and for its answers before it closes."""

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self._front_args["metrics"] = True  # counts the calls

        async def stop(self, grace: float | None = None) -> None:
            if self._front is not None and not isinstance(self._front, _AnsweringFront):
                self._front = _AnsweringFront(self._front)  # type: ignore[assignment]
            await super().stop(grace)

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
