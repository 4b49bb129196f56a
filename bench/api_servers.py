"""The servers that the API's benches load, each a process of its own: `python bench/api_servers.py echo|api …`.

`echo` is the bare minimum on grpcio's server: a unary method that answers with its request's bytes. `api` is the
apiserver, except that each Put gets an object name of its own, since the load generator sends one body again and
again and an unchanged put writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from rube.api import PutRequest, PutResponse, add_ApiServicer_to_server
from rube.cli.daemon import announce, run_daemon
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.service import ApiService
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork
from rube.units.spec_checks import built_in_spec_checks

START_S_MAX = 20.0
ETCD_BYTES_MAX = 8 * 1024**3
"""A million objects of 1 KiB, written more than once, pass etcd's default of 2 GiB."""


class NumberedApi(ApiService):
    """Each Put of one object without a name creates another object."""

    _numbers = itertools.count()

    async def Put(self, request: PutRequest, context: Any) -> PutResponse:
        if not request.objects[0].metadata.name:
            request.objects[0].metadata.name = f"unit-{next(self._numbers)}"
        return await super().Put(request, context)


async def serve_api(stop: asyncio.Event, kind: Any, store_url: str) -> None:
    network = GrpcNetwork(server_kind=kind)
    host = Host(name="bench", clock=RealClock(), network=network, storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, store_url)
    server = network.server()
    config = ApiServerConfig(spec_checks=built_in_spec_checks())
    attachments = Attachments(host.clock, node_answers_max=config.node_answers_max, answers_max=config.answers_max)
    types, namespaces = KnownTypes(store, host.clock), Namespaces(host.clock, store)
    service = NumberedApi(host, store, types, namespaces, config, attachments)
    add_ApiServicer_to_server(service, server)  # type: ignore[no-untyped-call, unused-ignore]
    types.start(service.feed)
    following = asyncio.create_task(namespaces.run(service.feed))
    await _serve(server, server.add_insecure_port("127.0.0.1:0"), stop)
    following.cancel()
    await types.stop()
    await service.close()
    await store.close()


async def serve_echo(stop: asyncio.Event) -> None:
    async def echo(request: bytes, context: Any) -> bytes:
        return request

    server = aio.server()
    handler = grpc.method_handlers_generic_handler("bench.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    server.add_generic_rpc_handlers((handler,))
    await _serve(server, server.add_insecure_port("127.0.0.1:0"), stop)


async def _serve(server: aio.Server, port: int, stop: asyncio.Event) -> None:
    await server.start()
    announce(f"127.0.0.1:{port}")
    await stop.wait()
    await server.stop(0)


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """The address of a server process, which ends with the block."""
    with running_process(*arguments) as (address, _):
        yield address


@contextmanager
def running_process(*arguments: str) -> Iterator[tuple[str, int]]:
    """The address and the process id of a server, which ends with the block."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, f"{arguments} did not start"
        yield address, process.pid
    finally:
        process.terminate()
        process.communicate(timeout=START_S_MAX)


@contextmanager
def running_etcd(directory: Path) -> Iterator[str]:
    """A single etcd on free ports of loopback; its binary is Debian's etcd-server's."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        *(_etcd(), "--name", "n0", "--data-dir", str(directory), "--logger", "zap", "--log-level", "error"),
        *("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer),
        *("--initial-advertise-peer-urls", peer, "--initial-cluster", f"n0={peer}"),
        f"--quota-backend-bytes={ETCD_BYTES_MAX}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = client.removeprefix("http://")
        _wait_until_it_puts(address, directory.parent)
        yield address
    finally:
        process.terminate()
        process.wait(START_S_MAX)


def etcd_is_installed() -> bool:
    return shutil.which("etcd") is not None


def h2load(address: str, method: str, message: bytes, directory: Path, *, seconds: int) -> float:
    """Calls a second of one unary method, 64 in flight on one connection, all with the same message."""
    body = directory / "body"
    body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    command = [
        *("h2load", f"-D{seconds}", "--warm-up-time=1", "-c1", "-m64", "-t1", f"--data={body}"),
        *("-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}/{method}"),
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    line = next(line for line in output.splitlines() if line.startswith("finished in"))
    return float(line.split(",")[1].split()[0])


def etcd_put(key: bytes, value: bytes) -> bytes:
    """An etcdserverpb.PutRequest: two fields of bytes."""
    return b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


def _etcd() -> str:
    found = shutil.which("etcd")
    assert found is not None, "etcd is not installed: apt-get install etcd-server"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_puts(address: str, directory: Path) -> None:
    async def put() -> None:
        async with aio.insecure_channel(address) as channel:
            call = channel.unary_unary("/etcdserverpb.KV/Put")  # type: ignore[call-arg]  # grpc-stubs lag behind
            await call(etcd_put(b"k", b"v"), timeout=START_S_MAX, wait_for_ready=True)

    asyncio.run(put())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["echo", "api"])
    parser.add_argument("--grpc", choices=["grpcio", "h2corn"], default="grpcio")
    parser.add_argument("--store", default="memory:")
    arguments = parser.parse_args()

    async def serve(stop: asyncio.Event) -> None:
        if arguments.kind == "echo":
            await serve_echo(stop)
        else:
            await serve_api(stop, arguments.grpc, arguments.store)

    run_daemon("bench", serve, log_level="warning")


if __name__ == "__main__":
    main()
