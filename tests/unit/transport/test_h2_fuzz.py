"""Bytes that are no HTTP/2, no gRPC or no messages, at h2corn's port: they are answered, and the server goes on."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from rube.host import ServerOptions
from rube.transport import GrpcNetwork, add_standard_services
from rube.transport.hpack import encode
from rube.transport.packing.form import MARK
from tests.conformance.transport.transport_service import SERVICE, Client, add_service, echo

POST = b"POST /x HTTP/1.1\r\nhost: x\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
CASES = 300
ANSWER_S_MAX = 30.0
METRICS = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
METHOD = f"/{SERVICE}/unary_unary"
POSTED = ((":method", "POST"), (":scheme", "http"), (":path", METHOD))


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def head(*more: tuple[str, str], stream: int = 1, flags: int = END_HEADERS, path: str = METHOD) -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    )
    return frame(HEADERS, encode(fields), flags=flags, stream=stream)


def body(data: bytes, stream: int = 1) -> bytes:
    return frame(DATA, data, flags=END_STREAM, stream=stream)


def message(data: bytes, flags: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">BI", flags, len(data) if length is None else length) + data


GOOD = frame(SETTINGS) + head() + body(message(b"good"))

WRONG_HTTP = {
    "nothing": b"",
    "half a request line": b"GET /livez HT",
    "a header without an end": POST + b"a: " + b"b" * 100_000,
    "many headers": b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
    "two lengths": POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "a length and chunks": POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "gRPC without HTTP/2": POST + b"content-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "no preface": GOOD,
    "half a preface": PREFACE[:10],
}
WRONG_FRAMES = {
    "no settings": head() + body(message(b"x")),
    "settings of 5 bytes": frame(SETTINGS, bytes(5)),
    "settings with a window past 2^31": frame(SETTINGS, struct.pack(">HI", 4, 2**31)),
    "an acknowledgement with a payload": frame(SETTINGS, bytes(6), flags=1),
    "a ping of 7 bytes": frame(SETTINGS) + frame(PING, bytes(7)),
    "a ping on a stream": frame(SETTINGS) + frame(PING, bytes(8), stream=1),
    "a frame past the limit": frame(SETTINGS) + frame(DATA, bytes(70_000), stream=1),
    "a length without its bytes": frame(SETTINGS) + frame(DATA, b"x", stream=1, length=16_000),
    "data on no stream": frame(SETTINGS) + frame(DATA, b"x"),
    "data on an idle stream": frame(SETTINGS) + body(b"x", stream=7),
    "headers on an even stream": frame(SETTINGS) + head(stream=2),
    "headers that are no HPACK": frame(SETTINGS) + frame(HEADERS, b"\xff\xff\xff\xff\xff\xff", flags=5, stream=1),
    "an index that is not there": frame(SETTINGS) + frame(HEADERS, b"\xff\x80\x01", flags=5, stream=1),
    "a table past its limit": frame(SETTINGS) + frame(HEADERS, b"\x3f\xe1\xff\xff\x7f", flags=5, stream=1),
    "no headers at all": frame(SETTINGS) + frame(HEADERS, b"", flags=5, stream=1),
    "padding past the frame": frame(SETTINGS) + frame(DATA, b"\xff", flags=PADDED, stream=1),
    "a continuation of nothing": frame(SETTINGS) + frame(CONTINUATION, b"x", stream=1),
    "headers between continuations": frame(SETTINGS) + head(flags=0) + head(stream=3),
    "continuations without an end": frame(SETTINGS) + head(flags=0) + frame(CONTINUATION, stream=1) * 20_000,
    "an upper-case name": frame(SETTINGS) + head(("Name", "x")) + body(message(b"x")),
    "a connection header": frame(SETTINGS) + head(("connection", "close")) + body(message(b"x")),
    "two methods": frame(SETTINGS) + head((":method", "POST")) + body(message(b"x")),
    "a pseudo-header after others": frame(SETTINGS) + head((":scheme", "http")) + body(message(b"x")),
    "an empty path": frame(SETTINGS) + head(path="") + body(message(b"x")),
    "a window of 0": frame(SETTINGS) + head() + frame(WINDOW_UPDATE, bytes(4), stream=1),
    "a window past 2^31": frame(SETTINGS) + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
    "a reset of an idle stream": frame(SETTINGS) + frame(RST_STREAM, bytes(4), stream=5),
    "a reset of 3 bytes": frame(SETTINGS) + head() + frame(RST_STREAM, bytes(3), stream=1),
    "a push": frame(SETTINGS) + frame(PUSH_PROMISE, bytes(4), flags=4, stream=1),
    "a priority on itself": frame(SETTINGS) + frame(PRIORITY, b"\0\0\0\x01\0", stream=1),
    "a goodbye, and more": frame(SETTINGS) + frame(GOAWAY, bytes(8)) + head() + body(message(b"x")),
    "an unknown frame": frame(SETTINGS) + frame(200, b"x") + head() + body(message(b"x")),
    "resets in a row": frame(SETTINGS)
    + b"".join(head(stream=n) + frame(RST_STREAM, bytes(4), stream=n) for n in range(1, 2001, 2)),
    "settings in a row": frame(SETTINGS) * 3000,
    "pings in a row": frame(SETTINGS) + frame(PING, bytes(8)) * 3000,
}
WRONG_CALLS = {
    "no message": head() + body(b""),
    "half a prefix": head() + body(b"\0\0"),
    "half a message": head() + body(message(b"abc", length=9)),
    "4 GiB announced": head() + body(message(b"abc", length=2**32 - 1)),
    "two messages": head() + body(message(b"a") * 2),
    "unknown flags": head() + body(message(b"a", flags=0x7E)),
    "encoded without an encoding": head() + body(message(b"a", flags=1)),
    "gzip that is none": head(("grpc-encoding", "gzip")) + body(message(b"a", flags=1)),
    "gzip of 50 MiB": head(("grpc-encoding", "gzip")) + body(message(gzip.compress(bytes(50 << 20)), flags=1)),
    "an unknown encoding": head(("grpc-encoding", "br")) + body(message(b"a", flags=1)),
    "a packed message that is none": head() + body(message(MARK + b"abc")),
    "no time": head(("grpc-timeout", "soon")) + body(message(b"a")),
    "no time at all": head(("grpc-timeout", "0n")) + body(message(b"a")),
    "metadata that is no base64": head(("x-bin", "%%%")) + body(message(b"a")),
    "metadata without an end": head(*(("k", "v" * 900) for _ in range(99))) + body(message(b"a")),
    "too many names": head(*((f"k{n}", "v") for n in range(500))) + body(message(b"a")),
    "a length that is wrong": head(("content-length", "3")) + body(message(b"abcdefgh")),
    "no method": head(path="/") + body(message(b"a")),
    "a strange method": head(path="/%00/../" + "x" * 5000) + body(message(b"a")),
    "another content": frame(
        HEADERS, encode(((":method", "POST"), (":scheme", "http"), (":path", METHOD))), flags=5, stream=1
    ),
    "trailers without an end": head()
    + frame(DATA, message(b"a"), stream=1)
    + frame(HEADERS, encode((("a", "b"),)), flags=4, stream=1),
}


def mutated(count: int) -> Iterator[bytes]:
    """Yields a good call whose bytes were changed, cut, doubled or filled up by chance, always the same."""
    chance = random.Random(7)
    for _ in range(count):
        data = bytearray(
            GOOD + head(("grpc-encoding", "gzip"), stream=3) + body(message(gzip.compress(b"x" * 99), 1), 3)
        )
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] ^= 1 << chance.randrange(8)
                case 1:
                    del data[at : at + chance.randrange(1, 20)]
                case 2:
                    data[at:at] = chance.randbytes(chance.randrange(1, 20))
                case 3:
                    data[at:at] = data[at : at + 40]
        yield PREFACE + bytes(data)


def is_answered(answer: bytes) -> bool:
    """Returns whether the call on stream 1 has ended, or its connection will."""
    at = 0
    while at + 9 <= len(answer):
        length = int.from_bytes(answer[at : at + 3])
        kind, flags, stream = answer[at + 3], answer[at + 4], int.from_bytes(answer[at + 5 : at + 9])
        at += 9 + length
        if at <= len(answer) and (kind == GOAWAY or (stream == 1 and (kind == RST_STREAM or flags & END_STREAM))):
            return True
    return False


async def sent(port: int, data: bytes, until: Callable[[bytes], bool] | None = None) -> bytes:
    """Returns what the server says to these bytes: all of it, with none after them, or until then. Raises
    TimeoutError."""
    answer = b""
    async with asyncio.timeout(ANSWER_S_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            if until is None:
                writer.write_eof()
            while not (until and until(answer)) and (chunk := await reader.read(65536)):
                answer += chunk
        except ConnectionError:
            pass
        finally:
            writer.close()
    return answer


async def answers(cases: list[bytes], until: Callable[[bytes], bool] | None) -> list[bytes | BaseException]:
    """Serves, sends each of these on a connection of its own, and checks that the server is as it was."""
    network = GrpcNetwork(server_kind="h2corn")
    server = network.server(ServerOptions())
    add_service(server, {"unary_unary": echo})
    await add_standard_services(server, [SERVICE])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = Client(network.channel(f"127.0.0.1:{port}"))
    try:
        found: list[bytes | BaseException] = []
        for begin in range(0, len(cases), 25):
            part = cases[begin : begin + 25]
            found += await asyncio.gather(*(sent(port, data, until) for data in part), return_exceptions=True)
            assert await client.unary_unary(b"still there") == b"still there"
        assert b" 200 " in await sent(port, b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(ANSWER_S_MAX):  # until no call is left behind
            while b"rube_calls_running{" in await sent(port, METRICS):
                await asyncio.sleep(0.01)
        return found
    finally:
        await client.channel.close(None)
        await server.stop(None)


@pytest.mark.parametrize(
    ("cases", "until"),
    [
        pytest.param(list(WRONG_HTTP.values()), None, id="http"),
        pytest.param([PREFACE + frames for frames in WRONG_FRAMES.values()], None, id="frames"),
        pytest.param([PREFACE + frame(SETTINGS) + call for call in WRONG_CALLS.values()], is_answered, id="calls"),
        pytest.param(list(mutated(CASES)), None, id="mutated"),
    ],
)
def test_no_bytes_harm_the_server(
    cases: list[bytes],
    until: Callable[[bytes], bool] | None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.INFO):
        found = asyncio.run(answers(cases, until))
    for data, answer in zip(cases, found, strict=True):
        assert isinstance(answer, bytes), (data[:200], answer)
        assert until is None or until(answer), data[:200]
        assert b"Traceback" not in answer, data[:200]
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 10
    assert len(capfd.readouterr().err) < 2000
