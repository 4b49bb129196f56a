"""Connections: refused, lost, stalled, reset, drained, restored; addresses."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import ChannelConnectivity, StatusCode, aio

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from tests.conformance.transport.transport_service import Client, echo, never, repeat
from tests.conformance.transport.transport_sites import CHANNEL, Site, client, until

SILENCE_S_MAX = CHANNEL.keepalive_s + CHANNEL.keepalive_timeout_s + 3
"""Within this a stalled connection ends: the promise, and what a busy machine adds."""


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def read_on(call: Any) -> None:
    while await call.read() is not aio.EOF:  # type: ignore[attr-defined]  # grpc-stubs lag behind
        pass


async def recovered(calls: Client, request: bytes) -> bytes:
    """The answer of the first call that finds a new connection: one before may still be put on the dying one."""
    for _ in range(10):
        try:
            return bytes(await calls.unary_unary(request, wait_for_ready=True, timeout=10))
        except aio.AioRpcError as error:
            if error.code() is not StatusCode.UNAVAILABLE:
                raise
    raise AssertionError("ten calls failed")


async def test_nobody_listening_is_unavailable(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    await server.stop(None)
    assert (await failure(client(site, server).unary_unary(b""))).code() is StatusCode.UNAVAILABLE


async def test_a_call_can_wait_for_the_server(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    await server.stop(None)
    calls = client(site, server)
    assert (await failure(calls.unary_unary(b""))).code() is StatusCode.UNAVAILABLE
    waiting = calls.unary_unary(b"late", wait_for_ready=True, timeout=10)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await site.serve(address=f"0.0.0.0:{server.address.rpartition(':')[2]}", unary_unary=echo)
    assert await waiting == b"late"


async def test_a_call_that_waits_in_vain_ends_at_its_deadline(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    await server.stop(None)
    call = client(site, server).unary_unary(b"", wait_for_ready=True, timeout=0.3)
    assert (await failure(call)).code() is StatusCode.DEADLINE_EXCEEDED


async def test_a_channel_tells_when_it_is_ready(site: Site) -> None:
    calls = client(site, await site.serve(unary_unary=echo))
    assert calls.channel.get_state() is ChannelConnectivity.IDLE
    await asyncio.wait_for(calls.channel.channel_ready(), 5)
    assert calls.channel.get_state() is ChannelConnectivity.READY


async def test_a_closed_channel_refuses_calls_and_cancels_running_ones(site: Site) -> None:
    calls = client(site, await site.serve(unary_unary=never))
    running = calls.unary_unary(b"")
    await asyncio.sleep(0.1)
    await calls.channel.close()  # type: ignore[call-arg]  # grpc-stubs lag behind
    assert await running.code() is StatusCode.CANCELLED
    with pytest.raises(aio.UsageError):
        await calls.unary_unary(b"")


async def test_a_port_in_use_is_a_clear_error(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    port = server.address.rpartition(":")[2]
    with pytest.raises(FailedPreconditionError, match=rf"127\.0\.0\.1:{port}.*another address"):
        await site.serve(address=f"127.0.0.1:{port}", unary_unary=echo)
    assert await client(site, server).unary_unary(b"still mine") == b"still mine"


async def test_an_address_of_another_machine_is_a_clear_error(site: Site) -> None:
    with pytest.raises(FailedPreconditionError, match=r"198\.51\.100\.7:7823"):
        await site.serve(address="198.51.100.7:7823", unary_unary=echo)


@pytest.mark.parametrize("address", ["7823", "localhost", "localhost:", "localhost:http", ":7823", "localhost:65536"])
async def test_a_malformed_address_is_an_invalid_argument(site: Site, address: str) -> None:
    with pytest.raises(InvalidArgumentError, match="HOST:PORT"):
        await site.serve(address=address, unary_unary=echo)


async def test_unix_sockets_carry_calls(site: Site) -> None:
    server = await site.serve(address=site.unix_address(), unary_unary=echo)
    assert await client(site, server).unary_unary(b"near") == b"near"


async def test_a_unix_socket_that_is_answered_on_is_not_taken(site: Site) -> None:
    server = await site.serve(address=site.unix_address(), unary_unary=echo)
    with pytest.raises(FailedPreconditionError, match="unix:"):
        await site.serve(address=site.unix_address(), unary_unary=never)
    assert await client(site, server).unary_unary(b"still mine") == b"still mine"


async def test_a_unix_socket_left_behind_is_replaced(site: Site) -> None:
    address = site.unix_address()
    if os.path.isdir(os.path.dirname(address.removeprefix("unix:"))) and address != "unix:/run/s":
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(address.removeprefix("unix:"))
    server = await site.serve(address=address, unary_unary=echo)
    assert await client(site, server).unary_unary(b"new") == b"new"


async def test_a_graceful_stop_lets_running_calls_end(site: Site) -> None:
    release, running = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, context: Any) -> bytes:
        running.set()
        await release.wait()
        return b"finished"

    server = await site.serve(unary_unary=slow)
    calls = client(site, server)
    call = calls.unary_unary(b"")
    await running.wait()
    stopping = asyncio.ensure_future(server.stop(10))
    await asyncio.sleep(0.2)
    assert (await failure(calls.unary_unary(b"", timeout=5))).code() is StatusCode.UNAVAILABLE
    assert not stopping.done()
    release.set()
    assert await call == b"finished"
    await asyncio.wait_for(stopping, 5)


async def test_no_stop_loses_the_last_answer(site: Site) -> None:
    for _ in range(20):
        running, release = asyncio.Event(), asyncio.Event()

        async def slow(
            request: bytes, context: Any, running: asyncio.Event = running, release: asyncio.Event = release
        ) -> bytes:
            running.set()
            await release.wait()
            return b"x" * 20_000

        server = await site.serve(unary_unary=slow)
        call = client(site, server).unary_unary(b"")
        await running.wait()
        stopping = asyncio.ensure_future(server.stop(10))
        await asyncio.sleep(0.01)
        release.set()
        assert len(await call) == 20_000
        await stopping


async def test_the_grace_of_a_stop_ends(site: Site) -> None:
    events: list[str] = []

    async def slow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    server = await site.serve(unary_stream=slow)
    call = client(site, server).unary_stream(b"")
    assert await call.read() == b"first"
    await asyncio.wait_for(server.stop(0.1), 5)
    assert events == ["ended"]
    assert (await failure(call.read())).code() is StatusCode.UNAVAILABLE


async def test_a_killed_server_ends_its_calls(site: Site) -> None:
    server = await site.spawn()
    calls = client(site, server)
    stream, unary = calls.unary_stream(b"tick"), calls.unary_unary(b"never")
    assert await stream.read() == b"tick"
    await server.kill()
    assert (await failure(read_on(stream))).code() is StatusCode.UNAVAILABLE
    assert (await failure(unary)).code() is StatusCode.UNAVAILABLE


async def test_a_channel_reconnects_to_a_restarted_server(site: Site) -> None:
    server = await site.spawn()
    calls = client(site, server)
    assert await calls.unary_unary(b"one") == b"one"
    await server.kill()
    assert (await failure(calls.unary_unary(b"two", timeout=5))).code() is StatusCode.UNAVAILABLE
    await site.spawn(f"0.0.0.0:{server.address.rpartition(':')[2]}")
    assert await recovered(calls, b"three") == b"three"


async def test_silence_ends_a_connection_at_both_ends(site: Site) -> None:
    events: list[str] = []

    async def slow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    server = await site.serve(unary_stream=slow)
    async with site.link(server) as link:
        call = client(site, link).unary_stream(b"")
        assert await call.read() == b"first"
        link.stall()
        async with asyncio.timeout(SILENCE_S_MAX):
            assert (await failure(call.read())).code() is StatusCode.UNAVAILABLE
        async with asyncio.timeout(SILENCE_S_MAX):
            await until(lambda: events == ["ended"])


async def test_an_idle_connection_that_answers_pings_stays(site: Site) -> None:
    server = await site.serve(unary_stream=repeat, unary_unary=never)
    calls = client(site, server)
    call = calls.unary_unary(b"", timeout=1.2)
    assert (await failure(call)).code() is StatusCode.DEADLINE_EXCEEDED  # three times the keepalive
    assert calls.channel.get_state() is ChannelConnectivity.READY


async def test_what_a_short_stall_held_back_arrives(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    async with site.link(server) as link:
        calls = client(site, link)
        assert await calls.unary_unary(b"before") == b"before"
        link.stall()
        call = calls.unary_unary(b"during")
        await asyncio.sleep(0.1)
        assert not call.done()
        link.heal()
        assert await call == b"during"


async def test_a_deadline_ends_a_call_on_a_stalled_connection(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    async with site.link(server) as link:
        calls = client(site, link)
        assert await calls.unary_unary(b"before") == b"before"
        link.stall()
        assert (await failure(calls.unary_unary(b"", timeout=0.1))).code() is StatusCode.DEADLINE_EXCEEDED


async def test_a_reset_ends_calls_and_the_next_call_connects_anew(site: Site) -> None:
    server = await site.serve(unary_unary=echo, unary_stream=repeat)
    async with site.link(server) as link:
        calls = client(site, link)
        stream = calls.unary_stream(b"tick")
        assert await stream.read() == b"tick"
        link.reset()
        assert (await failure(read_on(stream))).code() is StatusCode.UNAVAILABLE
        assert await recovered(calls, b"again") == b"again"
