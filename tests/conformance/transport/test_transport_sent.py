"""The sign whether a call was sent: an error's type, on every adapter and loop, whatever words a server uses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api.errors import NotDoneError, NotSentError, RubeError, UnavailableError
from rube.host import RealClock
from rube.transport import connect, is_connected, rube_error
from tests.conformance.transport.transport_service import Client, echo
from tests.conformance.transport.transport_sites import Site, client, until

SITES = ["grpcio", "grpcio, uvloop", "h2corn", "h2corn, uvloop", "simulated"]
pytestmark = pytest.mark.parametrize("site", SITES, indirect=True)
CLOCK = RealClock()
"""asyncio's own timeouts, which a simulated world makes its own, too."""
WORDS = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:2379: Connection refused",
    "the store was lost ([Errno 111] Connection refused): the write may have happened",
    "the store was lost (Connect call failed ('127.0.0.1', 2379)): the write may have happened",
    "errors resolving etcd-1:2379: [Domain name not found]",
)


async def outcome(calls: Client, address: str, request: bytes, timeout_s: float = 5) -> bytes | RubeError:
    """A call as `rube.client` makes it: begun on a connection, or not at all."""
    try:
        await connect(calls.channel, address, CLOCK, timeout_s)
        return bytes(await calls.unary_unary(request, timeout=timeout_s))
    except RubeError as error:
        return error
    except aio.AioRpcError as error:
        return rube_error(error)


async def test_a_refused_connection_is_not_sent(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    await server.stop(None)
    calls = client(site, server)
    for _ in range(2):  # the second one finds the failure of the first
        error = await outcome(calls, server.address, b"")
        assert isinstance(error, NotSentError)
        assert "efused" in error.metadata["why"]


async def test_an_unknown_host_is_not_sent(site: Site) -> None:
    calls = Client(site.network.channel("no-such-host.invalid:7823"))
    assert isinstance(await outcome(calls, "no-such-host.invalid:7823", b""), NotSentError)


async def test_a_server_that_greets_nobody_is_not_sent(site: Site) -> None:
    """Such as one that hangs: the connection stands, and HTTP/2 does not."""
    server = await site.serve(unary_unary=echo)
    async with site.link(server) as link:
        link.stall()
        error = await outcome(client(site, link), link.address, b"", timeout_s=0.2)
        assert isinstance(error, NotSentError)
        link.heal()


@pytest.mark.parametrize("words", WORDS)
async def test_what_a_server_words_is_never_not_sent(site: Site, words: str) -> None:
    done: list[bytes] = []

    async def lose(request: bytes, context: Any) -> bytes:
        done.append(request)
        await context.abort(StatusCode.UNAVAILABLE, words)
        return b""

    server = await site.serve(unary_unary=lose)
    error = await outcome(client(site, server), server.address, b"put")
    assert type(error) is UnavailableError
    assert done == [b"put"]


async def test_what_a_server_did_not_send_itself_is_unknown_to_its_client(site: Site) -> None:
    async def fail(request: bytes, context: Any) -> bytes:
        raise NotSentError("there is no connection to etcd-1:2379: Connection refused", why="Connection refused")

    server = await site.serve(unary_unary=fail)
    assert type(await outcome(client(site, server), server.address, b"")) is UnavailableError


async def test_a_server_says_by_type_that_it_did_nothing(site: Site) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        raise NotDoneError("this server is stopping")

    server = await site.serve(unary_unary=refuse)
    assert type(await outcome(client(site, server), server.address, b"")) is NotDoneError


async def test_a_call_that_is_lost_after_it_was_sent_is_unknown(site: Site) -> None:
    done: list[bytes] = []

    async def take(request: bytes, context: Any) -> bytes:
        done.append(request)
        await asyncio.Event().wait()
        return b""

    server = await site.serve(unary_unary=take)
    async with site.link(server) as link:
        running = asyncio.ensure_future(outcome(client(site, link), link.address, b"put"))
        await until(lambda: done == [b"put"])
        link.reset()
        assert type(await running) is UnavailableError


async def test_a_call_on_a_connection_that_stalls_is_unknown(site: Site) -> None:
    """It may have left: here it arrives once the way is free again."""
    done: list[bytes] = []

    async def take(request: bytes, context: Any) -> bytes:
        done.append(request)
        return request

    server = await site.serve(unary_unary=take)
    async with site.link(server) as link:
        calls = client(site, link)
        assert await outcome(calls, link.address, b"first") == b"first"
        link.stall()
        error = await outcome(calls, link.address, b"second", timeout_s=0.1)
        assert isinstance(error, RubeError)
        assert not isinstance(error, NotDoneError)
        link.heal()


async def test_a_killed_server_is_never_sent_to_and_unknown_before_that_is_known(site: Site) -> None:
    server = await site.spawn()
    calls = client(site, server)
    assert await outcome(calls, server.address, b"one") == b"one"
    await server.kill()
    errors = [await outcome(calls, server.address, b"two") for _ in range(5)]
    assert all(isinstance(error, UnavailableError) for error in errors)
    await until(lambda: not is_connected(calls.channel))
    assert isinstance(await outcome(calls, server.address, b"three"), NotSentError)


async def test_many_calls_of_one_channel_wait_for_one_connection(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    calls = client(site, server)
    requests = [b"%d" % number for number in range(100)]
    assert await asyncio.gather(*(outcome(calls, server.address, request) for request in requests)) == requests


async def test_a_wait_for_a_connection_can_be_cancelled(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    async with site.link(server) as link:
        link.stall()
        calls = client(site, link)
        waiting = asyncio.ensure_future(outcome(calls, link.address, b"one"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        link.heal()
        await until(lambda: is_connected(calls.channel))
        assert await outcome(calls, link.address, b"two") == b"two"
