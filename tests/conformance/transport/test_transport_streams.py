"""Streams: order, status at the end, half-close, back pressure, writes after the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api.errors import CompactedError
from rube.transport import rube_error
from rube.transport.servicer import EndedError
from tests.conformance.transport.transport_service import repeat
from tests.conformance.transport.transport_sites import PATIENT_SERVER, Site, client, patient_client, until

KIB = 1024
UNREAD_BYTES_MAX = 16 * 1024 * KIB
"""Far less than what an unbounded buffer would take in these tests."""


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def count(request: bytes, context: Any) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


async def test_messages_arrive_in_order_and_end_with_ok(site: Site) -> None:
    call = client(site, await site.serve(unary_stream=count)).unary_stream(b"500")
    assert [message async for message in call] == [b"%d" % number for number in range(500)]
    assert await call.code() is StatusCode.OK


async def test_read_gives_eof_at_the_end(site: Site) -> None:
    call = client(site, await site.serve(unary_stream=count)).unary_stream(b"1")
    assert await call.read() == b"0"
    assert await call.read() is aio.EOF  # type: ignore[attr-defined]  # grpc-stubs lag behind
    assert await call.read() is aio.EOF  # type: ignore[attr-defined]  # grpc-stubs lag behind


async def test_iterating_and_reading_may_not_be_mixed(site: Site) -> None:
    call = client(site, await site.serve(unary_stream=count)).unary_stream(b"2")
    assert await call.read() == b"0"
    with pytest.raises(aio.UsageError):
        await anext(aiter(call))
    call.cancel()


async def test_an_empty_stream_ends_with_ok(site: Site) -> None:
    call = client(site, await site.serve(unary_stream=count)).unary_stream(b"0")
    assert [message async for message in call] == []


async def test_an_error_follows_the_messages_before_it(site: Site) -> None:
    async def fail_late(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"
        raise CompactedError("too old", oldest_revision=9)

    call = client(site, await site.serve(unary_stream=fail_late)).unary_stream(b"")
    assert [await call.read(), await call.read()] == [b"first", b"second"]
    error = rube_error(await failure(call.read()))
    assert type(error) is CompactedError
    assert error.metadata == {"oldest_revision": "9"}


async def test_a_handler_may_write_instead_of_yielding(site: Site) -> None:
    async def write(request: bytes, context: Any) -> None:
        await context.send_initial_metadata((("stream", "yes"),))
        for number in range(3):
            await context.write(b"%d" % number)
        context.set_trailing_metadata((("count", "3"),))

    call = client(site, await site.serve(unary_stream=write)).unary_stream(b"")
    assert [message async for message in call] == [b"0", b"1", b"2"]
    assert dict(await call.initial_metadata())["stream"] == "yes"
    assert dict(await call.trailing_metadata())["count"] == "3"


async def test_cancelling_a_stream_runs_its_generators_finally(site: Site) -> None:
    events: list[str] = []

    async def endless(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            events.append("closed")

    call = client(site, await site.serve(unary_stream=endless)).unary_stream(b"")
    assert await call.read() == b"first"
    call.cancel()
    await until(lambda: events == ["closed"])
    with pytest.raises(asyncio.CancelledError):
        await call.read()


async def after_the_end(site: Site, end: str) -> list[BaseException]:
    """The error of a handler that writes on after the call has ended in that way."""
    errors: list[BaseException] = []

    async def stubborn(request: bytes, context: Any) -> None:
        await context.write(b"first")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for _ in range(2):
                try:
                    await context.write(b"late")
                except Exception as error:
                    errors.append(error)
            raise

    server = await site.serve(unary_stream=stubborn)
    async with site.link(server) as link:
        call = client(site, link).unary_stream(b"", timeout=0.3 if end == "deadline" else None)
        assert await call.read() == b"first"
        if end == "cancel":
            call.cancel()
        elif end == "reset":
            link.reset()
        await until(lambda: len(errors) == 2)
    return errors


@pytest.mark.parametrize("end", ["cancel", "deadline", "reset"])
async def test_a_write_after_the_end_is_one_named_error(site: Site, end: str) -> None:
    assert issubclass(EndedError, aio.UsageError)
    assert [type(error) for error in await after_the_end(site, end)] == [EndedError, EndedError]


async def test_a_slow_reader_stops_the_writer(site: Site) -> None:
    written = 0

    async def flood(request: bytes, context: Any) -> None:
        nonlocal written
        for _ in range(1000):
            await context.write(bytes(64 * KIB))
            written += 64 * KIB

    call = client(site, await site.serve(unary_stream=flood)).unary_stream(b"")
    await call.read()
    last = -1
    while written != last:
        last = written
        await asyncio.sleep(0.15)
    assert written < UNREAD_BYTES_MAX
    total = 64 * KIB
    while (message := await call.read()) is not aio.EOF:  # type: ignore[attr-defined]  # grpc-stubs lag behind
        total += len(message)
    assert total == 1000 * 64 * KIB


async def test_many_slow_readers_hold_up_nobody(site: Site) -> None:
    async def flood(request: bytes, context: Any) -> None:
        while True:
            await context.write(bytes(64 * KIB))

    async def echo(request: bytes, context: Any) -> bytes:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        return request

    server = await site.serve(options=PATIENT_SERVER, unary_stream=flood, unary_unary=echo)
    slow = [patient_client(site, server).unary_stream(b"") for _ in range(40)]
    for call in slow:
        await call.read()
    await asyncio.sleep(0.2)
    async with asyncio.timeout(10):
        assert await patient_client(site, server).unary_unary(b"quick") == b"quick"
    for call in slow:
        call.cancel()


async def test_a_cancelled_writer_that_waits_for_a_slow_reader_ends(site: Site) -> None:
    ended: list[str] = []

    async def flood(request: bytes, context: Any) -> None:
        try:
            while True:
                await context.write(bytes(64 * KIB))
        finally:
            ended.append("ended")

    call = client(site, await site.serve(unary_stream=flood)).unary_stream(b"")
    await call.read()
    await asyncio.sleep(0.2)
    call.cancel()
    await until(lambda: ended == ["ended"])


async def test_half_close_ends_the_handlers_requests(site: Site) -> None:
    async def upper(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()
        yield b"END"

    call = client(site, await site.serve(stream_stream=upper)).stream_stream()
    await call.write(b"a")
    assert await call.read() == b"A"
    await call.write(b"b")
    await call.done_writing()
    assert await call.read() == b"B"
    assert await call.read() == b"END"
    assert await call.read() is aio.EOF  # type: ignore[attr-defined]  # grpc-stubs lag behind
    assert await call.code() is StatusCode.OK


async def test_requests_of_an_iterator_are_sent(site: Site) -> None:
    async def total(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([int(request) async for request in requests])

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(10):
            yield b"%d" % number

    calls = client(site, await site.serve(stream_unary=total))
    assert await calls.stream_unary(numbers()) == b"45"
    assert await calls.stream_unary([b"1", b"2"]) == b"3"


async def test_a_slow_handler_stops_the_client(site: Site) -> None:
    async def deaf(requests: AsyncIterator[bytes], context: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    call = client(site, await site.serve(stream_unary=deaf)).stream_unary()
    written = 0

    async def flood() -> None:
        nonlocal written
        while written < 2 * UNREAD_BYTES_MAX:
            await call.write(bytes(64 * KIB))
            written += 64 * KIB

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(), 0.5)
    assert written < UNREAD_BYTES_MAX


async def test_a_client_that_writes_after_its_half_close_is_refused(site: Site) -> None:
    async def drain(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % len([request async for request in requests])

    call = client(site, await site.serve(stream_unary=drain)).stream_unary()
    await call.write(b"one")
    await call.done_writing()
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"two")
    assert await call == b"1"
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"three")


async def test_a_stream_of_one_connection_does_not_hold_up_another(site: Site) -> None:
    calls = client(site, await site.serve(unary_stream=repeat))
    first, second = calls.unary_stream(b"a"), calls.unary_stream(b"b")
    for _ in range(5):
        assert (await first.read(), await second.read()) == (b"a", b"b")
    first.cancel()
    assert await second.read() == b"b"
    second.cancel()
