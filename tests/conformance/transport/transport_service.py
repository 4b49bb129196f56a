"""The service under test: one method of each kind over plain bytes, with handlers that each test brings.

Run as a program it is a server of its own: `transport_service.py SERVER_KIND ADDRESS` prints the port it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
from grpc import aio

from rube.host import Network
from rube.transport import GrpcNetwork, ServerKind, add_standard_services

SERVICE = "test.Service"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Handlers = dict[str, Callable[..., Any]]


class Client:
    """Calls of the service through one channel."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        for kind in KINDS:
            setattr(self, kind, getattr(channel, kind)(f"/{SERVICE}/{kind}", _registered_method=True))
        self.missing = channel.unary_unary(f"/{SERVICE}/missing")  # type: ignore[call-arg]  # grpc-stubs lag behind

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def add_service(server: aio.Server, handlers: Handlers) -> None:
    """Adds the handlers, by kind, as protoc's generated code does: plain functions over bytes, or gRPC's handlers."""
    methods = {
        kind: handler
        if isinstance(handler, grpc.RpcMethodHandler)
        else getattr(grpc, f"{kind}_rpc_method_handler")(handler)
        for kind, handler in handlers.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_registered_method_handlers(SERVICE, methods)  # type: ignore[attr-defined]  # grpc-stubs lag behind


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def repeat(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """The request again and again, until the client leaves."""
    while True:
        yield request
        await asyncio.sleep(0.01)


async def never(request: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


async def echo_server(network: Network, address: str) -> tuple[aio.Server, int]:
    """A started server of `echo` and `repeat`; a unary request of b"never" gets no answer."""

    async def answer(request: bytes, context: Any) -> bytes:
        return await (never if request == b"never" else echo)(request, context)

    server = network.server()
    add_service(server, {"unary_unary": answer, "unary_stream": repeat})
    await add_standard_services(server, [SERVICE])
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


async def _main() -> None:
    kind, address = sys.argv[1:]
    server, port = await echo_server(GrpcNetwork(server_kind=cast(ServerKind, kind)), address)
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main())
