"""Processor time of a server a call: an echo of 1 KiB through `LevelServer`, from h2load, 64 calls in flight.

`python -m bench.echo` starts each kind of server in a process of its own, turn by turn, and prints its processor time a
call with the ratio to grpcio's in the same run. It needs h2load (Debian: nghttp2-client). h2load shows no certificate:
so with mutual TLS, and beside it in plain text for comparison, grpcio's client makes the calls.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import grpc
from grpc import aio

from rube.host.network import directory_tls, listen
from rube.transport import GrpcNetwork, ServerKind

KINDS = ("grpcio", "h2corn")
PATH = "/bench.Service/echo"
MESSAGE_BYTES = 1024
CONNECTIONS, STREAMS = 4, 16
CALLS = 20_000
ROUNDS = 3
TLS = "TLS"
SLOW_CALLS = 6_400
"""As many of grpcio's client, which makes fewer a second than any server takes."""


async def serve(kind: ServerKind, directory: str) -> None:
    """Serves the echo until killed, with TLS if there is a directory of files; prints its port."""

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    server = GrpcNetwork(server_kind=kind).server()
    methods = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_registered_method_handlers("bench.Service", methods)  # type: ignore[attr-defined]  # stubs lack it
    network = GrpcNetwork(tls=directory_tls(directory) if directory else None)
    port = listen(server, "127.0.0.1:0", network)
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def us_per_call(kind: str, body: Path) -> tuple[float, float]:
    """Returns the processor time of the server a call in microseconds, and the calls a second."""
    with subprocess.Popen([sys.executable, "-m", "bench.echo", kind], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            load(port, body, CALLS // 10)
            before_s = processor_s(server.pid)
            per_s = load(port, body, CALLS)
            return (processor_s(server.pid) - before_s) / CALLS * 1e6, per_s
        finally:
            server.kill()


def us_per_call_of_grpcio(kind: str, directory: str) -> tuple[float, float]:
    """Returns what `us_per_call` does, of calls by grpcio's client; with mutual TLS if there is a directory."""
    argv = [sys.executable, "-m", "bench.echo", kind, directory]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            asyncio.run(calls_of_grpcio(port, directory, SLOW_CALLS // 10))
            before_s, begun_s = processor_s(server.pid), time.monotonic()
            asyncio.run(calls_of_grpcio(port, directory, SLOW_CALLS))
            took_s = time.monotonic() - begun_s
            return (processor_s(server.pid) - before_s) / SLOW_CALLS * 1e6, SLOW_CALLS / took_s
        finally:
            server.kill()


async def calls_of_grpcio(port: int, directory: str, calls: int) -> None:
    """Makes the calls, on as many connections and with as many at a time as `load`."""
    network = GrpcNetwork(tls=directory_tls(directory) if directory else None)
    channels = [network.channel(f"127.0.0.1:{port}") for _ in range(CONNECTIONS)]

    async def caller(channel: aio.Channel) -> None:
        echo: Any = channel.unary_unary(PATH, None, None)
        for _ in range(calls // (CONNECTIONS * STREAMS)):
            await echo(b"x" * MESSAGE_BYTES)

    await asyncio.gather(*(caller(channel) for channel in channels for _ in range(STREAMS)))
    for channel in channels:
        await channel.close(None)


def load(port: int, body: Path, calls: int) -> float:
    """Makes the calls. Returns how many a second."""
    counts = ["-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS)]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    said = subprocess.run(
        ["h2load", *counts, *headers, "-d", str(body), f"http://127.0.0.1:{port}{PATH}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"{calls} succeeded" in said, said
    found = re.search(r"([\d.]+) req/s", said)
    assert found is not None, said
    return float(found[1])


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(serve(cast(ServerKind, sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
        return
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [sys.executable, "-m", "rube.cli.main", "init", directory], check=True, stdout=subprocess.DEVNULL
        )
        own = {"plain": "", TLS: f"{directory}/server"}
        for number in range(ROUNDS):
            for name, files in own.items():
                us, per_s = us_per_call_of_grpcio("h2corn", files)
                print(f"round {number + 1}: h2corn, {name}, from grpcio's client: {us:6.0f} us a call, {per_s:7.0f}/s")
    with tempfile.NamedTemporaryFile() as file:
        body = Path(file.name)
        body.write_bytes(struct.pack(">BI", 0, MESSAGE_BYTES) + b"x" * MESSAGE_BYTES)
        for number in range(ROUNDS):
            results = {kind: us_per_call(kind, body) for kind in KINDS}
            reference_us = results["grpcio"][0]
            for kind, (us, per_s) in results.items():
                ratio = us / reference_us
                print(f"round {number + 1}: {kind:8} {us:6.0f} us a call, {ratio:5.2f} of grpcio's, {per_s:7.0f}/s")


if __name__ == "__main__":
    main()
