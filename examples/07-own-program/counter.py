"""A counter over gRPC, and a client that asks again until it has an answer. It knows nothing of any simulation.

A program runs on the real network and in a simulated world alike if it is given its network (the port
rube.host.Network, in grpc.aio's shape), and asks asyncio for time. Real: `python counter.py`.
"""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.wrappers_pb2 import Int64Value
from grpc import aio

from rube.host import Network

METHOD = "/example.Counter/Add"
REPEATED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Counter:
    """Adds each request once, however often it comes: a request has an id, and the answer to it is remembered."""

    def __init__(self) -> None:
        self.total = 0
        self._answers: dict[str, int] = {}

    async def add(self, request: Int64Value, context: aio.ServicerContext) -> Int64Value:
        request_id = str(dict(context.invocation_metadata() or ())["request-id"])
        if request_id not in self._answers:
            self.total += request.value
            self._answers[request_id] = self.total
        return Int64Value(value=self._answers[request_id])


async def serve(network: Network, counter: Counter, address: str) -> None:
    """Serves until it is cancelled."""
    server = network.server()
    handler = grpc.unary_unary_rpc_method_handler(
        counter.add, request_deserializer=Int64Value.FromString, response_serializer=Int64Value.SerializeToString
    )
    service, _, method = METHOD.strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(address)
    await server.start()
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(None)


async def add(channel: aio.Channel, amount: int, request_id: str) -> int:
    """Adds the amount; returns the total. Asks again, with the same id, where it is not known whether it was added."""
    call = channel.unary_unary(
        METHOD, request_serializer=Int64Value.SerializeToString, response_deserializer=Int64Value.FromString
    )
    while True:
        try:
            answer = await call(Int64Value(value=amount), timeout=1, metadata=(("request-id", request_id),))
        except aio.AioRpcError as error:
            if error.code() not in REPEATED:
                raise
            await asyncio.sleep(0.1)
        else:
            return int(answer.value)


async def count(network: Network, target: str, times: int) -> int:
    """Adds 1 so many times, one after the other; returns the last total."""
    total = 0
    async with network.channel(target) as channel:
        for number in range(times):
            total = await add(channel, 1, f"request-{number}")
    return total


async def main() -> None:
    from rube.transport import GrpcNetwork

    network = GrpcNetwork()
    server = asyncio.create_task(serve(network, Counter(), "127.0.0.1:7000"))
    print(await count(network, "127.0.0.1:7000", 100))
    server.cancel()


if __name__ == "__main__":
    asyncio.run(main())
