"""The port of h2corn beside plain gRPC: pages, Connect's unary calls, gRPC-Web, encoded messages."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import zstandard
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2

from rube.api.errors import AbortedError, NotDoneError
from rube.host import ServerOptions
from rube.transport import GrpcNetwork, add_standard_services, rube_error
from rube.transport.h2 import H2Server
from rube.transport.h2 import serving as h2_serving
from rube.transport.h2.encodings import ENCODINGS, BrokenEncodingError, TooLargeError
from rube.transport.h2.metadata import percent_encoded, timeout_s, to_headers, to_metadata
from tests.conformance.transport.transport_service import SERVICE, add_service

OPTIONS = ServerOptions(message_bytes_max=100_000)
JSON = {"content-type": "application/json"}
CHECK = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING
METRIC = re.compile(
    r'# HELP [a-z_]+ [^\n]+|# TYPE [a-z_]+ (counter|gauge)|[a-z_]+(\{[a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*\})? [0-9.e+]+'
)
"""A line of Prometheus' text format."""
Answer = tuple[int, dict[str, str], bytes]


class Port:
    """A started server, asked over HTTP/1.1."""

    def __init__(self, port: int, standard: Any) -> None:
        self.port = port
        self.standard = standard

    async def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        def request() -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            finally:
                connection.close()

        return await asyncio.to_thread(request)

    async def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return await self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def channel(self, **arguments: Any) -> aio.Channel:
        return aio.insecure_channel(f"127.0.0.1:{self.port}", **arguments)


async def with_port(body: Callable[[Port], Awaitable[None]], **handlers: Any) -> None:
    server = GrpcNetwork(server_kind="h2corn").server(OPTIONS)
    if handlers:
        add_service(server, handlers)
    standard = await add_standard_services(server, [SERVICE], gauges=lambda: {"test_gauge": 7})
    port = Port(server.add_insecure_port("127.0.0.1:0"), standard)
    await server.start()
    try:
        await standard.set_serving(True)
        await body(port)
    finally:
        await server.stop(None)


def run(body: Callable[[Port], Awaitable[None]], **handlers: Any) -> None:
    asyncio.run(with_port(body, **handlers))


def frame(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def frames(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flags, length = struct.unpack_from(">BI", body)
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


async def echo(request: bytes, context: Any) -> bytes:
    return request


def test_health_pages_say_what_the_health_service_says() -> None:
    async def body(port: Port) -> None:
        for path in ("/healthz", "/readyz", "/livez"):
            assert (await port.ask("GET", path))[0] == 200
        await port.standard.set_serving(False)
        statuses = [(await port.ask("GET", path))[0] for path in ("/healthz", "/readyz", "/livez")]
        assert statuses == [503, 503, 200]
        await port.standard.set_serving(True)
        await port.standard.shut_down()
        assert (await port.ask("GET", "/readyz"))[0] == 503
        assert (await port.ask("HEAD", "/livez"))[2] == b""
        status, _, text = await port.ask("GET", "/nope")
        assert (status, b"/metrics" in text) == (404, True)
        assert (await port.ask("PUT", "/livez"))[0] == 404

    run(body)


def test_metrics_count_calls_by_method_and_status() -> None:
    running = asyncio.Event()

    async def wait(request: bytes, context: Any) -> AsyncIterator[bytes]:
        running.set()
        yield b"first"
        await asyncio.Event().wait()

    async def body(port: Port) -> None:
        channel = port.channel()
        stream = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"")  # type: ignore[call-arg]  # grpc-stubs lag behind
        await stream.read()
        await port.post(CHECK, b'{"service": "x"}', content_type="application/json")
        for number in range(3):
            await port.post(f"/stranger/{number}", b"{}", content_type="application/json")
        _, headers, text = await port.ask("GET", "/metrics")
        lines = text.decode().splitlines()
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        assert f'rube_calls_total{{method="{CHECK}",code="NOT_FOUND"}} 1' in lines
        assert 'rube_calls_total{method="unknown",code="UNIMPLEMENTED"} 3' in lines
        assert f'rube_calls_running{{method="/{SERVICE}/unary_stream"}} 1' in lines
        assert "test_gauge 7" in lines
        assert [line for line in lines if not METRIC.fullmatch(line)] == []
        typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        assert {line.partition("{")[0].split()[0] for line in lines if not line.startswith("#")} == typed
        assert typed > {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
        stream.cancel()
        async with asyncio.timeout(20):
            while f'rube_calls_total{{method="/{SERVICE}/unary_stream",code="CANCELLED"}} 1' not in lines:
                lines = (await port.ask("GET", "/metrics"))[2].decode().splitlines()
        await channel.close(None)

    run(body, unary_stream=wait)


def test_connect_takes_json_and_binary() -> None:
    async def body(port: Port) -> None:
        status, headers, text = await port.post(CHECK, b"{}", content_type="application/json")
        assert (status, headers["content-type"], json.loads(text)) == (200, "application/json", {"status": "SERVING"})
        status, headers, data = await port.post(CHECK, b"", content_type="application/proto")
        assert (status, headers["content-type"]) == (200, "application/proto")
        assert health_pb2.HealthCheckResponse.FromString(data).status == SERVING
        packed = gzip.compress(b'{"service": "x"}')
        status, _, text = await port.post(CHECK, packed, content_type="application/json", content_encoding="gzip")
        assert (status, json.loads(text)["code"]) == (404, "not_found")

    run(body)


@pytest.mark.parametrize(
    ("path", "text", "status", "code"),
    [
        (CHECK, b"{", 400, "invalid_argument"),
        (CHECK, b'{"servize": ""}', 400, "invalid_argument"),
        (CHECK, b"[" * 100_000, 400, "invalid_argument"),
        (CHECK, b"\xff", 400, "invalid_argument"),
        (CHECK, b" " * 100_001, 429, "resource_exhausted"),
        ("/grpc.health.v1.Health/Watch", b"{}", 501, "unimplemented"),
        ("/grpc.health.v1.Health/Nope", b"{}", 501, "unimplemented"),
        (f"/{SERVICE}/unary_unary", b"{}", 501, "unimplemented"),  # it has no descriptor
    ],
)
def test_connect_refuses_what_makes_no_sense(path: str, text: bytes, status: int, code: str) -> None:
    async def body(port: Port) -> None:
        answered, headers, error = await port.post(path, text, content_type="application/json")
        assert (answered, headers["content-type"], json.loads(error)["code"]) == (status, "application/json", code)

    run(body, unary_unary=echo)


def test_connect_errors_have_their_details() -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("why", "because"),))
        raise AbortedError("the object has changed", revision=7)

    async def body(port: Port) -> None:
        status, headers, text = await port.post(f"/{SERVICE}/unary_unary", b"x", content_type="application/proto")
        error = json.loads(text)
        assert (status, error["code"], error["message"]) == (409, "aborted", "the object has changed")
        assert headers["trailer-why"] == "because"
        (detail,) = error["details"]
        assert detail["type"] == "google.rpc.ErrorInfo"
        info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
        assert dict(info.metadata)["revision"] == "7"

    run(body, unary_unary=refuse)


def test_connect_has_deadlines() -> None:
    async def slow(request: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def body(port: Port) -> None:
        method = f"/{SERVICE}/unary_unary"
        status, _, text = await port.post(method, b"", content_type="application/proto", connect_timeout_ms="50")
        assert (status, json.loads(text)["code"]) == (504, "deadline_exceeded")

    run(body, unary_unary=slow)


def test_pages_of_other_origins_are_refused() -> None:
    async def body(port: Port) -> None:
        here = f"127.0.0.1:{port.port}"
        for origin, host, status in (
            (f"http://{here}", here, 200),
            ("http://evil.example", here, 403),
            (f"http://evil.example:{port.port}", f"evil.example:{port.port}", 403),  # a name that points here
            ("null", here, 403),
        ):
            headers = {**JSON, "origin": origin, "host": host}
            assert (await port.ask("POST", CHECK, b"{}", headers))[0] == status, origin

    run(body)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/grpcx", ""])
def test_another_content_type_is_unsupported(content_type: str) -> None:
    async def body(port: Port) -> None:
        headers = {"content-type": content_type} if content_type else {}
        assert (await port.ask("POST", CHECK, b"{}", headers))[0] == 415

    run(body)


def test_grpc_web_has_its_status_in_the_body() -> None:
    async def body(port: Port) -> None:
        for content_type in ("application/grpc-web", "application/grpc-web+proto"):
            status, headers, data = await port.post(CHECK, frame(b""), content_type=content_type)
            assert (status, headers["content-type"]) == (200, content_type)
            (flags, message), (last, trailers) = frames(data)
            assert health_pb2.HealthCheckResponse.FromString(message).status == SERVING
            assert (flags, last, trailers) == (0, 0x80, b"grpc-status: 0\r\n")
        text = base64.b64encode(frame(health_pb2.HealthCheckRequest(service="x").SerializeToString()))
        _, _, data = await port.post(CHECK, text, content_type="application/grpc-web-text")
        ((last, trailers),) = frames(base64.b64decode(data))
        assert last == 0x80
        assert trailers.startswith(b"grpc-status: 5\r\n")

    run(body)


def test_grpc_web_streams() -> None:
    async def count(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number
        raise AbortedError("enough", revision=7)

    async def body(port: Port) -> None:
        method = f"/{SERVICE}/unary_stream"
        _, _, data = await port.post(method, frame(b"3"), content_type="application/grpc-web")
        *messages, (last, trailers) = frames(data)
        assert messages == [(0, b"0"), (0, b"1"), (0, b"2")]
        assert last == 0x80
        found = dict(line.split(b": ", 1) for line in trailers.splitlines())
        assert (found[b"grpc-status"], found[b"grpc-message"]) == (b"10", b"enough")
        status = status_pb2.Status.FromString(base64.b64decode(found[b"grpc-status-details-bin"] + b"=="))
        assert status.message == "enough"

    run(body, unary_stream=count)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (frame(b"x")[:3], 13),
        (frame(b"xyz")[:-1], 13),
        (b"", 13),
        (frame(b"x", 2), 13),
        (frame(b"x", 1), 13),
        (struct.pack(">BI", 0, 100_001), 8),
    ],
)
def test_bytes_that_are_no_messages_end_the_call(sent: bytes, status: int) -> None:
    async def body(port: Port) -> None:
        _, _, data = await port.post(f"/{SERVICE}/unary_unary", sent, content_type="application/grpc-web")
        ((_, trailers),) = frames(data)
        assert trailers.startswith(b"grpc-status: %d\r\n" % status)

    run(body, unary_unary=echo)


def test_messages_are_compressed_both_ways() -> None:
    async def squeeze(request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return request

    async def body(port: Port) -> None:
        channel = port.channel(compression=grpc.Compression.Gzip)
        call: Any = channel.unary_unary(f"/{SERVICE}/unary_unary")(b"a" * 50_000)  # type: ignore[call-arg]  # grpc-stubs lag behind
        assert await call == b"a" * 50_000
        with pytest.raises(aio.AioRpcError) as raised:  # a bomb: small on the wire
            await channel.unary_unary(f"/{SERVICE}/unary_unary")(b"a" * 100_001)  # type: ignore[call-arg]
        assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
        await channel.close(None)
        zipped = frame(gzip.compress(b"a" * 50_000), 1)
        _, headers, data = await port.post(
            f"/{SERVICE}/unary_unary",
            zipped,
            content_type="application/grpc-web",
            grpc_encoding="gzip",
            grpc_accept_encoding="identity, gzip",
        )
        (flags, message), _ = frames(data)
        assert (headers["grpc-encoding"], flags) == ("gzip", 1)
        assert len(message) < 1000
        assert gzip.decompress(message) == b"a" * 50_000

    run(body, unary_unary=squeeze)


def test_an_unknown_encoding_is_unimplemented_and_the_known_ones_are_named() -> None:
    async def body(port: Port) -> None:
        _, headers, data = await port.post(
            f"/{SERVICE}/unary_unary", frame(b"x", 1), content_type="application/grpc-web", grpc_encoding="br"
        )
        ((_, trailers),) = frames(data)
        assert trailers.startswith(b"grpc-status: 12\r\n")
        assert headers["grpc-accept-encoding"] == "identity,gzip,deflate,zstd"

    run(body, unary_unary=echo)


@pytest.mark.parametrize(
    ("request_encoding", "accepted", "chosen"),
    [
        ("gzip", "identity,deflate,gzip", "gzip"),
        ("zstd", "identity, zstd", "zstd"),
        ("identity", "gzip, zstd", "zstd"),
        ("identity", "gzip", "identity"),
        ("identity", "xzstd", "identity"),
    ],
)
def test_responses_are_encoded_as_requests_or_with_zstd(request_encoding: str, accepted: str, chosen: str) -> None:
    async def both(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"small"
        yield request

    async def body(port: Port) -> None:
        large = b"large" * 1000
        sent = frame(large) if request_encoding == "identity" else frame(ENCODINGS[request_encoding].encode(large), 1)
        headers = {"content_type": "application/grpc-web", "grpc_encoding": request_encoding}
        for kind, first in (("unary_unary", []), ("unary_stream", [(0, b"small")])):
            _, got, data = await port.post(f"/{SERVICE}/{kind}", sent, grpc_accept_encoding=accepted, **headers)
            *before, (flags, message), _ = frames(data)
            assert before == first
            assert got.get("grpc-encoding", "identity") == chosen
            assert flags == (chosen != "identity")
            assert (ENCODINGS[chosen].decode(message, 9999) if flags else message) == large

    run(body, unary_unary=echo, unary_stream=both)


def test_a_zstd_frame_that_does_not_say_its_length_is_bounded_too() -> None:
    data = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
    assert ENCODINGS["zstd"].decode(data, 1000) == b"x" * 1000
    with pytest.raises(BrokenEncodingError):
        ENCODINGS["zstd"].decode(data, 999)


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_an_encoding_bounds_what_it_decodes(name: str) -> None:
    encoding = ENCODINGS[name]
    data = encoding.encode(b"x" * 1000)
    assert encoding.decode(data, 1000) == b"x" * 1000
    with pytest.raises(TooLargeError):
        encoding.decode(data, 999)
    for broken in (data[:-3], b"nonsense"):
        with pytest.raises(BrokenEncodingError):
            encoding.decode(broken, 1000)


def test_a_writer_that_need_not_wait_for_its_client_lets_other_tasks_run() -> None:
    turns = 0
    between: list[int] = []

    async def flood(request: bytes, context: Any) -> None:
        for _ in range(16):
            before = turns
            await context.write(bytes(64 * 1024))
            between.append(turns - before)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def body(port: Port) -> None:
        channel = port.channel()
        counting = asyncio.create_task(count_turns())
        stream = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"")  # type: ignore[call-arg]  # grpc-stubs lag behind
        assert len([message async for message in stream]) == 16
        counting.cancel()
        await channel.close(None)
        assert min(between) > 0

    run(body, unary_stream=flood)


def test_a_stream_that_nobody_reads_does_not_stop_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2_serving, "RESPONSE_STALL_S", 0.2)

    written = 0
    ended = asyncio.Event()

    async def flood(request: bytes, context: Any) -> None:
        nonlocal written
        try:
            while True:
                await context.write(bytes(64 * 1024))
                written += 1
        finally:
            ended.set()

    async def body(port: Port) -> None:
        channel = port.channel()
        stuck: Any = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"")  # type: ignore[call-arg]  # grpc-stubs lag behind
        await stuck.read()
        last = 0
        while last < written:  # until the stream has all that its connection may have under way
            last = written
            await asyncio.sleep(0.05)
        quick: Any = channel.unary_unary(f"/{SERVICE}/unary_unary")(b"quick")  # type: ignore[call-arg]
        async with asyncio.timeout(20):
            assert await quick == b"quick"
            await ended.wait()
        await channel.close(None)

    run(body, unary_stream=flood, unary_unary=echo)


def test_timeouts_are_read_as_the_protocol_writes_them() -> None:
    times = [timeout_s(text) for text in (b"1H", b"2M", b"3S", b"4m", b"5u", b"6n")]
    assert times == pytest.approx([3600, 120, 3, 4e-3, 5e-6, 6e-9])
    for text in (b"", b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s"):
        with pytest.raises(ValueError, match="no timeout"):
            timeout_s(text)


def test_metadata_goes_to_headers_and_back() -> None:
    pairs = (("a", "b"), ("raw-bin", b"\x00\xff"), ("raw-bin", b"\x01"))
    assert to_metadata(to_headers(pairs)) == pairs
    assert to_metadata([(b"x-bin", b"AP8,AQ=="), (b"y-bin", b"!"), (b"te", b"trailers")]) == (
        ("x-bin", b"\x00\xff"),
        ("x-bin", b"\x01"),
    )


def test_status_messages_are_percent_encoded() -> None:
    assert percent_encoded("50% – ok\n") == b"50%25 %E2%80%93 ok%0A"


def test_a_call_that_comes_while_the_server_stops_is_told_that_nothing_was_done() -> None:
    """The connection is open already. The client may repeat a write elsewhere."""

    async def main() -> None:
        server = H2Server(OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        server._accepts = False  # as from the beginning of a stop on
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call: Any = channel.unary_unary(f"/{SERVICE}/unary_unary", None, None)
                with pytest.raises(aio.AioRpcError) as raised:
                    await call(b"", timeout=10)
        finally:
            await server.stop(0)
        assert type(rube_error(raised.value)) is NotDoneError

    asyncio.run(main())
