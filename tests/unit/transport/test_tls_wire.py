"""The bytes of a connection with TLS: no byte of a call is on the wire in plain text, and none is of an older TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rube.transport import ChannelOptions, GrpcNetwork, ServerKind
from tests.conformance.transport.transport_identities import RealIdentities, client_tls, server_tls
from tests.conformance.transport.transport_service import Client, add_service, echo

WAIT_S_MAX = 20.0
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2


@asynccontextmanager
async def served(kind: ServerKind, identities: RealIdentities) -> AsyncIterator[int]:
    server = GrpcNetwork(server_kind=kind).server()
    add_service(server, {"unary_unary": echo})
    port = server.add_secure_port("127.0.0.1:0", server_tls(identities))  # type: ignore[arg-type]  # as the port says
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def recorded(port: int) -> AsyncIterator[tuple[int, list[bytearray]]]:
    """A port that leads to the other one; the bytes of each direction, connection by connection."""
    streams: list[bytearray] = []
    pumps: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken = bytearray()
        streams.append(taken)
        while data := await reader.read(65536):
            taken.extend(data)
            writer.write(data)
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond = await asyncio.open_connection("127.0.0.1", port)
        pumps.extend(asyncio.ensure_future(pump(*ends)) for ends in ((reader, beyond[1]), (beyond[0], writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], streams
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*pumps, return_exceptions=True), WAIT_S_MAX)


def plain_bytes(stream: bytes) -> int:
    """The number of bytes outside of TLS 1.3's records: only the two hellos are handshake in the clear."""
    plain, at = 0, 0
    while at < len(stream):
        kind, size = stream[at], int.from_bytes(stream[at + 3 : at + 5])
        payload = stream[at + 5 : at + 5 + size]
        hello = kind == HANDSHAKE and payload[0] in (CLIENT_HELLO, SERVER_HELLO)
        if not (hello or kind == APPLICATION_DATA or (kind == CHANGE_CIPHER_SPEC and payload == b"\1")):
            plain += 5 + len(payload)
        at += 5 + size
    return plain


@pytest.mark.parametrize("kind", ["h2corn", "grpcio"])
def test_no_byte_of_a_call_is_plain(kind: ServerKind, tmp_path: Path) -> None:
    asyncio.run(call_and_count(kind, tmp_path))


async def call_and_count(kind: ServerKind, tmp_path: Path) -> None:
    identities = RealIdentities(tmp_path)
    word = b"a word that must not be seen"
    async with served(kind, identities) as port, recorded(port) as (front, streams):
        channel = GrpcNetwork(channel_options=ChannelOptions(connect_timeout_s=20.0)).channel(
            f"127.0.0.1:{front}", tls=client_tls(identities)
        )
        assert await Client(channel).unary_unary(word, metadata=(("token", "hush"),), timeout=WAIT_S_MAX) == word
        await channel.close(None)
    assert len(streams) == 2
    assert min(len(stream) for stream in streams) > 1000, "a handshake with two certificates"
    assert [plain_bytes(bytes(stream)) for stream in streams] == [0, 0]
    assert not any(secret in stream for stream in streams for secret in (word, b"hush", b"test.Service", b"spiffe"))


def test_the_count_finds_plain_bytes() -> None:
    assert plain_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") > 0
    assert plain_bytes(bytes([HANDSHAKE, 3, 3, 0, 1, 11])) == 6, "a certificate in the clear, as in TLS 1.2"


def test_an_older_tls_makes_no_call(tmp_path: Path) -> None:
    asyncio.run(call_with_tls_1_2(tmp_path))


async def call_with_tls_1_2(tmp_path: Path) -> None:
    identities = RealIdentities(tmp_path)
    async with served("h2corn", identities) as port:
        tls = client_tls(identities)
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        async def asked() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(
                b"POST /test.Service/unary_unary HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\n"
                b"content-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0"
            )
            found = await reader.read()
            writer.close()
            return found

        try:
            answer = await asyncio.wait_for(asked(), WAIT_S_MAX)
        except ssl.SSLError:
            return
    assert b"grpc-status: 16" in answer, answer
