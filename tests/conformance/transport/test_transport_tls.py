"""Mutual TLS: who the client is, whom either side refuses and in which words, and renewed files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api.errors import InvalidArgumentError, NotSentError
from rube.host import ChannelTls, ServerTls
from rube.host.real_clock import RealClock
from rube.transport import Peer, connect, peer
from rube.transport.tls_faults import TlsFault
from tests.conformance.transport.transport_identities import FUTURE, PAST, client_tls, server_tls
from tests.conformance.transport.transport_service import Client, echo, repeat
from tests.conformance.transport.transport_sites import SERVER, WAIT_S_MAX, RealSite, Served, Site


async def refusal(site: Site, server: Served, tls: ChannelTls | None) -> str:
    """The words of the connection that does not come about."""
    async with site.patient.channel(server.address, tls=tls) as channel:
        with pytest.raises(NotSentError) as raised:
            await connect(channel, server.address, RealClock(), WAIT_S_MAX)
        return str(raised.value)


async def seen_by_handler(site: Site, server: ServerTls, client: ChannelTls) -> Peer:
    seen: list[Peer] = []

    async def look(request: bytes, context: Any) -> bytes:
        seen.append(peer(context))
        return request

    served = await site.serve(unary_unary=look, tls=server)
    async with site.patient.channel(served.address, tls=client) as channel:
        await Client(channel).unary_unary(b"", timeout=WAIT_S_MAX)
    return seen[0]


async def test_a_handler_sees_the_clients_certificate(site: Site) -> None:
    found = await seen_by_handler(site, server_tls(site.identities), client_tls(site.identities))
    assert (found.uri, found.groups) == ("spiffe://rube/user/ada", ("admins", "ops"))
    assert (found.domain, found.kind, found.name) == ("rube", "user", "ada")
    assert len(found.fingerprint) == 64
    assert ":" in found.address


async def test_each_certificate_has_a_fingerprint_of_its_own(site: Site) -> None:
    server = server_tls(site.identities)
    first = await seen_by_handler(site, server, client_tls(site.identities))
    second = await seen_by_handler(site, server, client_tls(site.identities))
    assert first.uri == second.uri
    assert first.fingerprint != second.fingerprint


async def test_a_caller_in_plain_text_has_no_identity(site: Site) -> None:
    seen: list[Peer] = []

    async def look(request: bytes, context: Any) -> bytes:
        seen.append(peer(context))
        return request

    served = await site.serve(unary_unary=look)
    async with site.patient.channel(served.address) as channel:
        await Client(channel).unary_unary(b"", timeout=WAIT_S_MAX)
    assert (seen[0].uri, seen[0].groups, seen[0].fingerprint, seen[0].kind) == ("", (), "", "")


REFUSED_BY_SERVER: dict[str, tuple[dict[str, Any], TlsFault]] = {
    "wrong CA": ({"issuer": "other"}, TlsFault.REFUSED_AUTHORITY),
    "expired": ({"days": PAST}, TlsFault.REFUSED_VALIDITY),
    "not yet valid": ({"days": FUTURE}, TlsFault.REFUSED_VALIDITY),
}
REFUSED_BY_CLIENT: dict[str, tuple[dict[str, Any], TlsFault]] = {
    "wrong CA": ({"issuer": "other"}, TlsFault.UNKNOWN_AUTHORITY),
    "expired": ({"days": PAST}, TlsFault.EXPIRED),
    "not yet valid": ({"days": FUTURE}, TlsFault.NOT_YET_VALID),
    "wrong name": ({"names": ("elsewhere",)}, TlsFault.WRONG_NAME),
    "a client's": ({"names": ()}, TlsFault.WRONG_PURPOSE),
}


def told(site: Site, fault: TlsFault) -> str:
    """grpcio's server refuses without a word."""
    return (TlsFault.REFUSED if isinstance(site, RealSite) and site.kind == "grpcio" else fault).value


@pytest.mark.parametrize("case", REFUSED_BY_SERVER)
async def test_a_server_refuses_a_client_and_the_client_says_why(site: Site, case: str) -> None:
    given, fault = REFUSED_BY_SERVER[case]
    server = await site.serve(unary_unary=echo, tls=server_tls(site.identities))
    assert told(site, fault) in await refusal(site, server, client_tls(site.identities, **given))


async def test_a_server_refuses_a_client_without_a_certificate(site: Site) -> None:
    server = await site.serve(unary_unary=echo, tls=server_tls(site.identities))
    tls = ChannelTls(ca=client_tls(site.identities).ca)
    assert told(site, TlsFault.NO_CERTIFICATE) in await refusal(site, server, tls)


@pytest.mark.parametrize("case", REFUSED_BY_CLIENT)
async def test_a_client_refuses_a_server_and_says_why(site: Site, case: str) -> None:
    given, fault = REFUSED_BY_CLIENT[case]
    server = await site.serve(unary_unary=echo, tls=server_tls(site.identities, **given))
    assert fault.value in await refusal(site, server, client_tls(site.identities))


async def test_a_plain_client_of_a_server_with_tls_is_told(site: Site) -> None:
    server = await site.serve(unary_unary=echo, tls=server_tls(site.identities))
    assert TlsFault.TLS_SERVER.value in await refusal(site, server, None)


async def test_a_client_with_tls_of_a_plain_server_is_told(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    assert TlsFault.PLAIN_SERVER.value in await refusal(site, server, client_tls(site.identities))


async def test_new_connections_use_renewed_files_and_open_calls_go_on(site: Site) -> None:
    server = await site.serve(unary_unary=echo, unary_stream=repeat, tls=server_tls(site.identities))
    client = client_tls(site.identities)
    async with site.patient.channel(server.address, tls=client) as channel:
        watch = Client(channel).unary_stream(b"on")
        assert await watch.read() == b"on"
        server_tls(site.identities, days=PAST)
        await until_refused(site, server, client, TlsFault.EXPIRED)
        assert await watch.read() == b"on"
        watch.cancel()


async def test_a_channel_that_was_refused_connects_with_renewed_files(site: Site) -> None:
    server = await site.serve(unary_unary=echo, tls=server_tls(site.identities))
    tls = client_tls(site.identities, days=PAST)
    async with site.patient.channel(server.address, tls=tls) as channel:
        calls = Client(channel)
        with pytest.raises(aio.AioRpcError):
            await calls.unary_unary(b"", timeout=WAIT_S_MAX)
        client_tls(site.identities)
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                try:
                    assert await calls.unary_unary(b"there", timeout=WAIT_S_MAX) == b"there"
                    break
                except aio.AioRpcError:
                    await asyncio.sleep(0.05)


async def until_refused(site: Site, server: Served, tls: ChannelTls, fault: TlsFault) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            async with site.patient.channel(server.address, tls=tls) as channel:
                try:
                    await connect(channel, server.address, RealClock(), WAIT_S_MAX)
                except NotSentError as error:
                    found = str(error)
                    break
            await asyncio.sleep(0.1)
    assert fault.value in found


async def test_unusable_files_are_refused_before_any_connection(site: Site) -> None:
    tls = client_tls(site.identities)
    server = server_tls(site.identities)
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        site.patient.channel("server:1", tls=ChannelTls(ca=tls.ca, cert="/nowhere.pem", key=tls.key))
    with pytest.raises(InvalidArgumentError, match="cert and key together"):
        site.patient.channel("server:1", tls=ChannelTls(ca=tls.ca, cert=tls.cert))
    with pytest.raises(InvalidArgumentError, match="needs client_ca"):
        await site.serve(tls=ServerTls(cert=server.cert, key=server.key, client_ca=""))
    with pytest.raises(InvalidArgumentError, match="a Unix socket takes no TLS"):
        await site.serve(address=site.unix_address(), tls=server_tls(site.identities))


async def test_a_caller_without_a_certificate_reaches_the_open_methods_alone(site: Site) -> None:
    tls = replace(server_tls(site.identities), open_methods=("/test.Service/unary_unary",))
    server = await site.serve(unary_unary=echo, unary_stream=repeat, tls=tls)
    stranger = ChannelTls(ca=client_tls(site.identities).ca)
    if isinstance(site, RealSite) and site.kind == "grpcio":
        assert told(site, TlsFault.NO_CERTIFICATE) in await refusal(site, server, stranger)
        return
    async with site.patient.channel(server.address, tls=stranger) as channel:
        calls = Client(channel)
        assert await calls.unary_unary(b"a", timeout=WAIT_S_MAX) == b"a"
        with pytest.raises(aio.AioRpcError) as raised:
            [_ async for _ in calls.unary_stream(b"1", timeout=WAIT_S_MAX)]
        assert raised.value.code() is StatusCode.UNAUTHENTICATED
        assert TlsFault.NO_CERTIFICATE.value in str(raised.value.details())
    async with site.patient.channel(server.address, tls=client_tls(site.identities)) as channel:
        assert await Client(channel).unary_unary(b"b", timeout=WAIT_S_MAX) == b"b"
    assert told(site, TlsFault.REFUSED_AUTHORITY) in await refusal(
        site, server, client_tls(site.identities, issuer="other")
    )


class Expelling:
    """An Admission that turns."""

    def __init__(self) -> None:
        self.why = ""
        self.changed: list[Callable[[], None]] = []

    def refusal(self, context: Any) -> str:
        return self.why if peer(context).name == "ada" else ""

    def subscribe(self, changed: Callable[[], None]) -> None:
        self.changed.append(changed)


async def test_a_caller_that_is_let_in_no_more_loses_its_calls(site: Site) -> None:
    admission, begun = Expelling(), asyncio.Event()

    async def stay(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        begun.set()
        await asyncio.Event().wait()

    options = replace(SERVER, admission=admission)
    server = await site.serve(unary_unary=echo, unary_stream=stay, tls=server_tls(site.identities), options=options)
    async with site.patient.channel(server.address, tls=client_tls(site.identities)) as channel:
        calls = Client(channel)
        stream = calls.unary_stream(b"a")
        assert await stream.read() == b"a"
        await begun.wait()
        admission.why = "taken back"
        for changed in admission.changed:
            changed()
        for call in (stream.read(), calls.unary_unary(b"", timeout=WAIT_S_MAX)):
            with pytest.raises(aio.AioRpcError) as raised:
                await call
            assert (raised.value.code(), raised.value.details()) == (StatusCode.UNAUTHENTICATED, "taken back")
