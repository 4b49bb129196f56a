"""A client that leaves while its answer is written: no error of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from rube.host import ServerOptions
from rube.transport.servicer import Level, level_handler


class _Leaving:
    """grpcio's context when the client has just left: writes fail, and nothing says yet that the call is cancelled."""

    async def write(self, message: Any) -> None:
        raise aio.InternalError("Failed execute_batch")

    async def abort(self, *_: Any) -> None:
        raise AssertionError("the caller is gone")

    def cancelled(self) -> bool:
        return False

    done = cancelled


async def _answers(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b"answer"


def test_a_client_that_leaves_is_no_error_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    handler = level_handler(grpc.unary_stream_rpc_method_handler(_answers), "/a/B", Level(ServerOptions(calls_max=1)))
    with caplog.at_level(logging.DEBUG, "rube"), pytest.raises(asyncio.CancelledError):
        asyncio.run(handler.unary_stream(b"", _Leaving()))  # type: ignore[arg-type, misc]  # grpc-stubs lag behind
    assert not [record for record in caplog.records if record.name.startswith("rube")]
