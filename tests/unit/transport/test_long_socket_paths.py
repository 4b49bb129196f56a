"""Unix sockets whose paths are longer than the kernel takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from rube.api import ApiServicer, ApiStub, GetRequest, GetResponse, add_ApiServicer_to_server
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.transport import GrpcNetwork
from rube.transport.addresses import UNIX_PATH_BYTES_MAX, check_address, short_address


class Echo(ApiServicer):
    async def Get(self, request: GetRequest, context: Any) -> GetResponse:
        return GetResponse(revision=request.min_revision)


async def serve(address: str, kind: Any) -> AsyncIterator[aio.Server]:
    server = GrpcNetwork(server_kind=kind).server()
    add_ApiServicer_to_server(Echo(), server)  # type: ignore[abstract]  # the rest is never called
    server.add_insecure_port(address)
    await server.start()
    yield server
    await server.stop(None)


@pytest.mark.parametrize("kind", ["grpcio", "h2corn"])
@pytest.mark.parametrize("length", [UNIX_PATH_BYTES_MAX, UNIX_PATH_BYTES_MAX + 1, 400])
def test_a_socket_below_a_long_path_is_served_and_reached(tmp_path: Path, kind: str, length: int) -> None:
    directory = tmp_path
    while len(str(directory)) < length - 20:
        directory /= "d" * max(1, min(50, length - 20 - len(str(directory))))
    directory.mkdir(parents=True)
    path = directory / ("s" * (length - len(str(directory)) - 1))
    assert len(str(path)) == length

    async def main() -> None:
        address = f"unix:{path}"
        async for _ in serve(address, kind):
            assert path.is_socket()
            with pytest.raises(FailedPreconditionError, match="another process answers there"):
                GrpcNetwork().server().add_insecure_port(address)
            async with GrpcNetwork().channel(address) as channel:
                answer = await ApiStub(channel).Get(GetRequest(min_revision=7), timeout=20)
            assert answer.revision == 7

    asyncio.run(main())


def test_only_what_is_too_long_is_changed(tmp_path: Path) -> None:
    for address in ("127.0.0.1:7823", "unix:/run/a.sock", f"unix:/{'absent' * 30}/a.sock"):
        assert short_address(address) == address
    too_long = short_address(f"unix:{tmp_path}/{'n' * 120}")
    with pytest.raises(InvalidArgumentError, match="has 1 to 107 bytes"):
        check_address(too_long)
