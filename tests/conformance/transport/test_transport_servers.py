"""A server's answers to requests that make no sense or are too many, and with handlers that end late."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2

from rube.api.errors import InvalidArgumentError, ResourceExhaustedError
from rube.host import ServerOptions
from rube.transport import rube_error
from tests.conformance.transport.transport_service import SERVICE, echo, never
from tests.conformance.transport.transport_sites import SERVER, Site, client

BROKEN = b"\x0a"
"""No message of any type: a field's number without its value."""
STREAMS = 1500
Request = health_pb2.HealthCheckRequest


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def read_on(call: Any) -> None:
    while await call.read() is not aio.EOF:  # type: ignore[attr-defined]  # grpc-stubs lag behind
        pass


def parsing(kind: str, behavior: Any) -> grpc.RpcMethodHandler[Any, Any]:
    handler: grpc.RpcMethodHandler[Any, Any] = getattr(grpc, f"{kind}_rpc_method_handler")(
        behavior, Request.FromString, None
    )
    return handler


class Parsed:
    """A service whose requests are messages, and what its handlers were given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def one(self, request: Any, context: Any) -> bytes:
        self.seen.append(request.service)
        return b"ok"

    async def many(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        self.seen.append(request.service)
        yield b"ok"

    async def iterated(self, requests: Any, context: Any) -> bytes:
        async for request in requests:
            self.seen.append(request.service)
        return b"ok"

    async def read(self, _: Any, context: Any) -> AsyncIterator[bytes]:
        while (request := await context.read()) is not aio.EOF:  # type: ignore[attr-defined]  # grpc-stubs lag behind
            self.seen.append(request.service)
            yield b"ok"

    def handlers(self) -> dict[str, Any]:
        return {
            "unary_unary": parsing("unary_unary", self.one),
            "unary_stream": parsing("unary_stream", self.many),
            "stream_unary": parsing("stream_unary", self.iterated),
            "stream_stream": parsing("stream_stream", self.read),
        }


async def test_a_request_that_cannot_be_parsed_is_an_invalid_argument(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    service = Parsed()
    calls = client(site, await site.serve(**service.handlers()))
    with caplog.at_level(logging.INFO):
        failures = [
            await failure(calls.unary_unary(BROKEN)),
            await failure(calls.unary_stream(BROKEN).read()),
            await failure(calls.stream_unary(iter([BROKEN]))),
            await failure(calls.stream_stream(iter([BROKEN])).read()),
        ]
    for error in failures:
        told = rube_error(error)
        assert type(told) is InvalidArgumentError
        assert "cannot be parsed" in told.message
    assert service.seen == []
    # grpcio itself may log of the loop of an earlier test.
    ours = [record for record in caplog.records if record.name.startswith("rube")]
    assert not any(record.exc_info for record in ours)
    lines = [record.getMessage() for record in ours if record.levelno >= logging.WARNING]
    assert len(lines) == 4
    assert all(line.startswith(f"unparsable request of /{SERVICE}/") for line in lines)
    good = Request(service="x").SerializeToString()
    assert await calls.unary_unary(good) == b"ok"
    assert await calls.unary_stream(good).read() == b"ok"
    assert await calls.stream_unary(iter([good, good])) == b"ok"
    assert await calls.stream_stream(iter([good])).read() == b"ok"
    assert service.seen == ["x"] * 5


async def test_a_broken_request_after_a_good_one_ends_the_call(site: Site) -> None:
    service = Parsed()
    calls = client(site, await site.serve(**service.handlers()))
    call = calls.stream_stream()
    await call.write(Request(service="x").SerializeToString())
    assert await call.read() == b"ok"
    await call.write(BROKEN)
    assert (await failure(call.read())).code() is StatusCode.INVALID_ARGUMENT
    assert service.seen == ["x"]


async def test_what_a_stranger_sends_does_not_decide_how_much_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Any, context: Any) -> AsyncIterator[bytes]:
        raise ValueError("a bug that a request meets")
        yield b""

    handlers = Parsed().handlers() | {"unary_stream": parsing("unary_stream", fail)}
    server = await site.serve(**handlers)
    calls = client(site, server)
    good = Request(service="x").SerializeToString()
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            await asyncio.gather(*(failure(calls.unary_unary(BROKEN)) for _ in range(50)))
            await asyncio.gather(*(failure(calls.unary_stream(good).read()) for _ in range(50)))
        await server.stop(None)
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    tracebacks = [record for record in loud if record.exc_info]
    assert 1 <= len(tracebacks) <= 4  # one an interval, on a slow machine
    assert len(loud) <= 12
    assert sum(map(told_of, loud)) == 400


def told_of(record: logging.LogRecord) -> int:
    """The number of requests that a line stands for."""
    untold = re.search(r"(\(?)(\d+) more like it were not logged", record.getMessage())
    return 1 if untold is None else int(untold[2]) + bool(untold[1])


async def test_a_call_past_the_limit_is_refused_at_once(site: Site) -> None:
    limited = ServerOptions(keepalive_s=SERVER.keepalive_s, keepalive_timeout_s=SERVER.keepalive_timeout_s, calls_max=3)
    server = await site.serve(options=limited, unary_unary=never, unary_stream=repeating)
    calls = client(site, server)
    running = [calls.unary_stream(b"") for _ in range(3)]
    for call in running:
        assert await call.read() == b"first"
    for refused in (calls.unary_unary(b""), calls.unary_stream(b"").read()):
        told = rube_error(await failure(refused))
        assert isinstance(told, ResourceExhaustedError)
        assert "calls_max" in told.message
        assert told.metadata == {"limit": "3"}
    running[0].cancel()

    async def admitted() -> bool:
        call = calls.unary_stream(b"")
        try:
            return bool(await call.read() == b"first")
        except aio.AioRpcError:
            return False

    async with asyncio.timeout(10):
        while not await admitted():
            await asyncio.sleep(0.01)


async def repeating(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.Event().wait()


async def test_a_connection_carries_more_streams_than_http2_allows_by_habit(site: Site) -> None:
    """Servers that keep HTTP/2's habit of 100 or 1,024 streams let one more wait in silence without end."""
    calls = client(site, await site.serve(unary_stream=repeating, unary_unary=echo))
    streams = [calls.unary_stream(b"") for _ in range(STREAMS)]
    async with asyncio.timeout(60):
        for stream in streams:
            assert await stream.read() == b"first"
        assert await calls.unary_unary(b"and one more") == b"and one more"
    for stream in streams:
        stream.cancel()


@pytest.mark.parametrize("waiting", ["timeout", "wait_for", "neither"])
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_stop_returns_when_handlers_have_ended(site: Site, kind: str, waiting: str) -> None:
    """Their `finally` ends too: what they use is closed next."""
    running, ended = asyncio.Event(), list[str]()

    async def slow(request: bytes, context: Any) -> bytes:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)
            ended.append("ended")
        return b""

    async def slow_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await slow(request, context)

    server = await site.serve(unary_unary=slow, unary_stream=slow_stream)
    calls = client(site, server)
    call = calls.unary_unary(b"") if kind == "unary" else calls.unary_stream(b"")
    await running.wait()
    if waiting == "timeout":
        async with asyncio.timeout(10):
            await server.stop(0.05)
    elif waiting == "wait_for":
        await asyncio.wait_for(server.stop(0.05), 10)
    else:
        await server.stop(None)
    assert ended == ["ended"]
    error = await failure(call if kind == "unary" else read_on(call))
    assert error.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)


async def test_no_handler_begins_after_a_stop(site: Site) -> None:
    """Calls that come while it stops are refused, or their handlers end before it returns."""
    running = 0
    stopped = False
    late: list[str] = []

    async def count(request: bytes, context: Any) -> bytes:
        nonlocal running
        running += 1
        if stopped:
            late.append("began late")
        try:
            await asyncio.sleep(0.05)
        finally:
            running -= 1
        return request

    server = await site.serve(unary_unary=count)
    calls = client(site, server)
    assert await calls.unary_unary(b"") == b""

    async def call() -> None:
        try:
            await calls.unary_unary(b"", timeout=5)
        except aio.AioRpcError as error:
            codes.append(error.code())

    codes: list[StatusCode] = []
    storm = [asyncio.ensure_future(call()) for _ in range(200)]
    await asyncio.sleep(0.02)
    await server.stop(0.01)
    stopped = True
    assert running == 0
    await asyncio.gather(*storm)
    assert late == []
    assert set(codes) <= {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
