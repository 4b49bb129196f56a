"""The cost of watches: of a put with many watches open, of an event that is delivered, of opening, and of keeping one.

python -m bench.watches [--watches 1000,5000] [--matching 1000] [--grpc none,h2corn,grpcio] [--puts 1000] [--json]

With `none` the apiserver's service runs in this process, without gRPC. Otherwise the apiserver is a process of its own
whose processor time is read from /proc; this process is the client of all watches. A server reads its store's changes
also where no client watches, since it follows types and namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from grpc import aio

from bench.api_servers import running_process
from rube.api import ApiStub, Lease, Metadata, Object, PutRequest, Unit, WatchRequest
from rube.api.types import pack
from rube.cli.real_host import real_host
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.service import ApiService
from rube.store import open_store
from rube.transport.options import ChannelOptions, channel_core_options

TYPE = "api.systemd.Unit"
MATCHING_PUTS = 50
PUT_OBJECTS = 100
OBJECTS = 100
BATCHED_PUTS = 5
ROUNDS = 3
VALUE_BYTES = 512
WATCHES_PER_CHANNEL = 500
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Target(ABC):
    """An apiserver, and watches that count what they are sent."""

    def __init__(self) -> None:
        self.received = 0
        self._readers: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    @abstractmethod
    async def put(self, objects: list[Object]) -> None: ...

    @abstractmethod
    def responses(self, request: WatchRequest) -> AsyncIterator[Any]:
        """Opens a watch; its responses may be of any kind."""

    @abstractmethod
    def cpu_s(self) -> float:
        """The server's processor time until now."""

    @abstractmethod
    def resident_bytes(self) -> int: ...

    async def open(self, requests: list[WatchRequest]) -> None:
        """Returns once each watch has had its first response."""
        first = asyncio.Semaphore(0)
        self._readers += [asyncio.create_task(self._read(request, first)) for request in requests]
        for _ in requests:
            await first.acquire()

    async def _read(self, request: WatchRequest, first: asyncio.Semaphore) -> None:
        begun = False
        async for _ in self.responses(request):
            self.received += 1
            if not begun:
                begun = True
                first.release()

    async def received_since(self, before: int, count: int) -> None:
        while self.received < before + count:
            await asyncio.sleep(0.001)

    async def close_watches(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._readers.clear()
        await asyncio.sleep(0.5)

    async def close(self) -> None:
        await self.close_watches()
        await self._stack.aclose()


class InProcess(Target):
    def __init__(self, service: ApiService) -> None:
        super().__init__()
        self._service = service

    async def put(self, objects: list[Object]) -> None:
        await self._service.Put(PutRequest(objects=objects), cast(Any, None))

    def responses(self, request: WatchRequest) -> AsyncIterator[Any]:
        return cast(AsyncIterator[Any], self._service.Watch(request, cast(Any, None)))

    def cpu_s(self) -> float:
        return time.process_time()

    def resident_bytes(self) -> int:
        gc.collect()
        return resident_bytes(os.getpid())


class OverGrpc(Target):
    """The client opens its watches over several connections, as clients on many machines do."""

    def __init__(self, address: str, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._address = address
        self._options = (*channel_core_options(ChannelOptions()), ("grpc.use_local_subchannel_pool", 1))
        self._stub = ApiStub(self._channel())
        self._opened = 0

    def _channel(self) -> aio.Channel:
        channel = aio.insecure_channel(self._address, options=self._options)
        self._stack.push_async_callback(channel.close, None)
        return channel

    async def put(self, objects: list[Object]) -> None:
        await self._stub.Put(PutRequest(objects=objects))

    def responses(self, request: WatchRequest) -> AsyncIterator[Any]:
        if self._opened % WATCHES_PER_CHANNEL == 0:
            channel = self._channel()
            # The bytes are counted, not parsed: the client is not what is measured.
            self._method: Any = channel.unary_stream(
                "/api.Api/Watch", request_serializer=WatchRequest.SerializeToString, response_deserializer=None
            )
        self._opened += 1
        return cast(AsyncIterator[Any], self._method(request))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def resident_bytes(self) -> int:
        return resident_bytes(self._pid)


@asynccontextmanager
async def target(kind: str) -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        if kind == "none":
            host = real_host()
            store = await open_store(host, "memory:")
            stack.push_async_callback(store.close)
            config = ApiServerConfig()
            attachments = Attachments(host.clock, node_answers_max=1, answers_max=1)
            types, namespaces = KnownTypes(store, host.clock), Namespaces(host.clock, store)
            service = ApiService(host, store, types, namespaces, config, attachments)
            found: Target = InProcess(service)
            types.start(service.feed)
            stack.push_async_callback(service.close)
            stack.push_async_callback(types.stop)
        else:
            address, pid = stack.enter_context(running_process("api", "--grpc", kind))
            found = OverGrpc(address, pid)
        stack.push_async_callback(found.close)
        yield found


class Numbers:
    """Objects that differ from all before."""

    def __init__(self) -> None:
        self._next = 0

    def unit(self, node: str) -> Object:
        self._next += 1
        spec = Unit(description=f"{self._next}".ljust(VALUE_BYTES, "x"))
        spec.service.exec.start.append("/bin/true")
        metadata = Metadata(
            namespace="bench", name=f"unit-{self._next % OBJECTS}", labels={"node": node, "tier": "web"}
        )
        return Object(metadata=metadata, spec=pack(spec))

    def lease(self, _: str = "") -> Object:
        self._next += 1
        metadata = Metadata(namespace="bench", name=f"lease-{self._next % OBJECTS}")
        return Object(metadata=metadata, spec=pack(Lease(holder=f"x{self._next}")))


async def put_us(at: Target, make: Callable[[str], Object], puts: int) -> float:
    """The processor time of a put, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        objects = [make("elsewhere") for _ in range(puts // ROUNDS)]
        begun = at.cpu_s()
        for obj in objects:
            await at.put([obj])
        best = min(best, (at.cpu_s() - begun) / len(objects) * 1e6)
    return best


def of_node(number: int) -> WatchRequest:
    return WatchRequest(type=TYPE, label_selector=f"node=worker-{number}", send_initial=True)


class Delivery(NamedTuple):
    alone_us: float
    batched_us: float


async def delivery_us(at: Target, numbers: Numbers, watches: int, base_us: float) -> Delivery:
    """The processor time of an event and watch: in a message of its own, and with others of its revision."""
    objects = [numbers.unit("elsewhere") for _ in range(MATCHING_PUTS)]
    before, begun = at.received, at.cpu_s()
    for count, obj in enumerate(objects, start=1):
        await at.put([obj])
        await at.received_since(before, count * watches)
    alone = (at.cpu_s() - begun) / MATCHING_PUTS * 1e6 - base_us
    batches = [[numbers.unit("elsewhere") for _ in range(PUT_OBJECTS)] for _ in range(BATCHED_PUTS)]
    before, begun = at.received, at.cpu_s()
    for count, batch in enumerate(batches, start=1):
        await at.put(batch)
        await at.received_since(before, count * watches)
    batched = (at.cpu_s() - begun) / BATCHED_PUTS * 1e6 - base_us
    return Delivery(alone / watches, batched / watches / PUT_OBJECTS)


Figures = dict[str, float]
"""The figures of one server by their names, such as `5000 unit ratio`."""


async def measure(at: Target, sizes: list[int], matching: int, puts: int) -> Figures:
    numbers, found = Numbers(), Figures()
    makers = (("unit", numbers.unit), ("lease", numbers.lease))
    await put_us(at, numbers.unit, puts)
    for name, make in makers:
        found[f"0 {name} us"] = await put_us(at, make, puts)
    for size in sizes:
        before_bytes, begun = at.resident_bytes(), time.perf_counter()
        await at.open([of_node(number) for number in range(size)])
        found[f"{size} open s"] = time.perf_counter() - begun
        found[f"{size} KiB each"] = (at.resident_bytes() - before_bytes) / size / 1024
        for name, make in makers:
            used = found[f"{size} {name} us"] = await put_us(at, make, puts)
            found[f"{size} {name} ratio"] = used / found[f"0 {name} us"]
        await at.close_watches()
    await at.open([WatchRequest(type=TYPE, label_selector="tier=web") for _ in range(matching)])
    found["alone us"], found["batched us"] = await delivery_us(at, numbers, matching, found["0 unit us"])
    await at.close_watches()
    return found


async def main(sizes: list[int], matching: int, kinds: list[str], puts: int) -> dict[str, Figures]:
    results: dict[str, Figures] = {}
    for kind in kinds:
        async with target(kind) as at:
            results[kind] = await measure(at, sizes, matching, puts)
    return results


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watches", default="1000,5000")
    parser.add_argument("--matching", type=int, default=1_000)
    parser.add_argument("--grpc", default="none,h2corn")
    parser.add_argument("--puts", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.watches.split(",")]
    measured = asyncio.run(main(sizes, arguments.matching, arguments.grpc.split(","), arguments.puts))
    if arguments.json:
        print(json.dumps(measured))
    else:
        for kind, figures in measured.items():
            print(f"\n## {'in this process, without gRPC' if kind == 'none' else f'through {kind}'}\n")
            print("\n".join(f"{name:16} {figure:10.2f}" for name, figure in figures.items()))
