"""Processor time of a server a call: an echo of 1 KiB through `LevelServer`, from h2load, 64 calls in flight.

`python -m bench.echo` starts each kind of server in a process of its own, turn by turn, and prints its processor time a
call with the ratio to grpcio's in the same run. It needs h2load (Debian: nghttp2-client).
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import grpc

from rube.transport import GrpcNetwork, ServerKind

KINDS = ("grpcio", "h2corn")
PATH = "/bench.Service/echo"
MESSAGE_BYTES = 1024
CONNECTIONS, STREAMS = 4, 16
CALLS = 20_000
ROUNDS = 3


async def serve(kind: ServerKind) -> None:
    """Serves the echo until killed; prints its port."""

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    server = GrpcNetwork(server_kind=kind).server()
    methods = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_registered_method_handlers("bench.Service", methods)  # type: ignore[attr-defined]  # stubs lack it
    port = server.add_insecure_port("127.0.0.1:0")
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
        asyncio.run(serve(cast(ServerKind, sys.argv[1])))
        return
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
