"""The blocking client of unary calls against each real server: the same bytes, statuses and errors as grpcio's client
has of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from rube.api.errors import (
    AbortedError,
    DeadlineExceededError,
    NotSentError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
    UnimplementedError,
)
from rube.transport import abort_with
from rube.transport.unary import EndedCall, UnaryConnection
from tests.conformance.transport.transport_service import SERVICE, echo, never
from tests.conformance.transport.transport_sites import RealSite

MIB = 1024 * 1024
METHOD = f"/{SERVICE}/unary_unary"
WAIT_S_MAX = 20.0


@pytest.fixture(params=["grpcio", "h2corn"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> RealSite:
    return RealSite(request.param, tmp_path)


async def blocking(address: str, body: Callable[[UnaryConnection], Any]) -> Any:
    """Returns what `body` returns with a connection, in a thread, for the server is in this one."""

    def run() -> Any:
        connection = UnaryConnection(address, time.monotonic() + WAIT_S_MAX)
        try:
            return body(connection)
        finally:
            connection.close()

    return await asyncio.to_thread(run)


def call(connection: UnaryConnection, request: bytes, *, method: str = METHOD, within_s: float = WAIT_S_MAX) -> bytes:
    return connection.call(method, request, time.monotonic() + within_s)


def failure(connection: UnaryConnection, request: bytes = b"", **options: Any) -> RubeError:
    with pytest.raises(RubeError) as raised:
        call(connection, request, **options)
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 16_380, 65_531, 70_000, 4 * MIB, 30 * MIB])
async def test_messages_of_any_size_go_both_ways(site: RealSite, size: int) -> None:
    server = await site.serve(unary_unary=echo)
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await blocking(server.address, lambda connection: call(connection, message)) == message


async def test_many_calls_share_a_connection(site: RealSite) -> None:
    server = await site.serve(unary_unary=echo)

    def body(connection: UnaryConnection) -> list[bytes]:
        return [call(connection, str(number).encode() * 1000) for number in range(100)]

    assert await blocking(server.address, body) == [str(number).encode() * 1000 for number in range(100)]


async def test_an_error_comes_back_as_its_class_and_the_connection_stays(site: RealSite) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        if request == b"well":
            return b"fine"
        return await abort_with(context, AbortedError("it is stale: “neu” 100%\nread again", revision=12))

    server = await site.serve(unary_unary=refuse)

    def body(connection: UnaryConnection) -> tuple[RubeError, bytes]:
        return failure(connection), call(connection, b"well")

    error, answer = await blocking(server.address, body)
    assert type(error) is AbortedError
    assert error.message == "it is stale: “neu” 100%\nread again"
    assert error.metadata == {"revision": "12"}
    assert isinstance(error.__cause__, EndedCall)
    assert error.__cause__.details
    assert answer == b"fine"


async def test_a_status_of_another_server_has_no_details(site: RealSite) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        await context.abort(StatusCode.UNAVAILABLE, "later")
        return b""

    server = await site.serve(unary_unary=refuse)
    error = await blocking(server.address, failure)
    assert type(error) is UnavailableError
    assert isinstance(error.__cause__, EndedCall)
    assert error.__cause__.details is None


async def test_an_unknown_method_is_unimplemented(site: RealSite) -> None:
    server = await site.serve(unary_unary=echo)
    error = await blocking(server.address, lambda connection: failure(connection, method=f"/{SERVICE}/missing"))
    assert isinstance(error, UnimplementedError)


async def test_the_server_hears_of_the_deadline_and_the_caller_hears_it_in_time(site: RealSite) -> None:
    left_s: list[float] = []

    async def wait(request: bytes, context: Any) -> bytes:
        left_s.append(context.time_remaining())
        return await never(request, context)

    server = await site.serve(unary_unary=wait)
    error = await blocking(server.address, lambda connection: failure(connection, within_s=0.3))
    assert isinstance(error, DeadlineExceededError)
    assert 0 < left_s[0] <= 0.3


async def test_a_message_that_the_server_refuses_by_its_size_says_so(site: RealSite) -> None:
    server = await site.serve(unary_unary=echo)
    error = await blocking(server.address, lambda connection: failure(connection, bytes(40 * MIB)))
    assert isinstance(error, ResourceExhaustedError)


async def test_a_lost_connection_is_unavailable(site: RealSite) -> None:
    begun = asyncio.Event()

    async def wait(request: bytes, context: Any) -> bytes:
        begun.set()
        return await never(request, context)

    server = await site.serve(unary_unary=wait)
    async with site.link(server) as link:
        calling = asyncio.ensure_future(blocking(link.address, failure))
        await begun.wait()
        link.reset()
        assert type(await calling) is UnavailableError


async def test_a_call_to_a_socket_that_is_gone_was_not_sent(site: RealSite) -> None:
    server = await site.serve(unary_unary=echo, address=site.unix_address())
    assert await blocking(server.address, lambda connection: call(connection, b"x")) == b"x"
    await server.stop(None)
    with pytest.raises(NotSentError):
        await blocking(server.address, lambda connection: call(connection, b"x"))
