"""Anonymous clients' requests do not decide how much the real daemons log."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api import ApiStub, ListRequest, WatchRequest
from rube.cli.local import LocalCluster, local_cluster
from tests.real.cluster_calls import UNIT_TYPE, client_of, put, sleeper, until

NODE = "worker-1"
REQUESTS = 2_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Garbage below HTTP/2, what other protocols begin with, and HTTP/2 that goes wrong."""
GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 1000,
    b"SSH-2.0-x\r\n",
    PREFACE + b"\xff" * 500,
    PREFACE + bytes(9) + b"\x00\x00\x05\x09\x04\x00\x00\x00\x01xxxxx",
    PREFACE[:10],
)
METHODS = ("Put", "Get", "List", "Delete", "UpdateStatus")
LINES_MAX = 40


async def code_of(call: Any) -> StatusCode:
    try:
        await call
    except aio.AioRpcError as error:
        code: StatusCode = error.code()
        return code
    return StatusCode.OK


async def flood(target: str) -> None:
    """Requests of every method that cannot be parsed, methods that are not there, calls that are given up at once."""
    channel: Any
    async with aio.insecure_channel(target) as channel:
        for start in range(0, REQUESTS, 100):
            methods = [METHODS[number % len(METHODS)] for number in range(start, start + 100)]
            calls = [code_of(channel.unary_unary(f"/api.Api/{method}")(b"\x0a\xff")) for method in methods]
            assert set(await asyncio.gather(*calls)) == {StatusCode.INVALID_ARGUMENT}
        watches = [code_of(channel.unary_stream("/api.Api/Watch")(b"\xff").read()) for _ in range(100)]
        assert set(await asyncio.gather(*watches)) == {StatusCode.INVALID_ARGUMENT}
        unknown = [code_of(channel.unary_unary(f"/api.Api/X{number}")(b"")) for number in range(100)]
        assert set(await asyncio.gather(*unknown)) == {StatusCode.UNIMPLEMENTED}
        stub = ApiStub(channel)
        for _ in range(100):
            call = stub.Watch(WatchRequest(type=UNIT_TYPE, send_initial=True))
            await call.read()
            call.cancel()


def garbage(target: str) -> None:
    for data in GARBAGE * 5:
        family = socket.AF_UNIX if target.startswith("unix:") else socket.AF_INET
        host, _, port = target.rpartition(":")
        with socket.socket(family) as connection:
            connection.settimeout(5)
            connection.connect(port if family is socket.AF_UNIX else (host, int(port)))
            connection.sendall(data)


def lines_after(log: Path, position: int) -> list[str]:
    return log.read_text(errors="replace")[position:].splitlines()


@pytest.mark.parametrize("daemon", ["apiserver", "rubelet"])
def test_a_strangers_requests_are_a_few_lines_of_the_log(tmp_path: Path, daemon: str) -> None:
    async def body(cluster: LocalCluster) -> None:
        await cluster.start_rubelet(NODE)
        process = cluster.apiserver if daemon == "apiserver" else cluster.rubelets[NODE]
        target = cluster.address if daemon == "apiserver" else f"unix:{cluster.node_socket(NODE)}"
        async with client_of(cluster) as client:
            await put(client, sleeper("a"))
            before = len(process.log.read_text(errors="replace"))
            await flood(target)
            await asyncio.to_thread(garbage, target)
            lines = lines_after(process.log, before)
            assert "Traceback" not in "\n".join(lines)
            assert 1 <= sum("unparsable request of /api.Api/Put" in line for line in lines) <= 10
            assert len(lines) <= LINES_MAX, "\n".join(lines)
            assert process.running
            async with aio.insecure_channel(target) as channel:
                stub = ApiStub(channel)

                async def answers() -> bool:
                    return len((await stub.List(ListRequest(type=UNIT_TYPE), timeout=10)).items) == 1

                await until(f"{daemon} answers", answers)

    async def main() -> None:
        async with local_cluster(tmp_path) as cluster:
            await body(cluster)

    asyncio.run(main())
