"""The cost of types that were pushed at run time, in processor time of an apiserver's parts without gRPC.

python -m bench.own_types [--objects 100000] [--types 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

from rube.api import Lease, Metadata, Object, PutRequest
from rube.api.types import pack
from rube.cli.real_host import real_host
from rube.server import ApiServerConfig
from rube.server.backend import Backend
from rube.server.events import EventCache
from rube.server.feed import ChangeFeed
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.put import put
from rube.server.writes import Writer
from rube.store import open_store
from tests.pushed_types import FIELDS, backup, backup_type, kind_from

PUTS = 2_000
ROUNDS = 5
OBJECTS_PER_PUT = 100


async def main(objects: int, types: int) -> None:
    host = real_host()
    store = await open_store(host, "memory:")
    known = KnownTypes(store, host.clock)
    config = ApiServerConfig()
    feed = ChangeFeed(host.clock, store, EventCache(bytes_max=config.event_cache_bytes_max), config)
    known.start(feed)
    writer = Writer(store, Namespaces(host.clock, store), retries_max=1, waiters_per_key_max=10)
    backend = Backend(host=host, store=store, writer=writer, types=known, config=config)
    pushed = backup_type()
    await put(backend, PutRequest(objects=[pushed]))
    kind = kind_from(pushed)

    async def put_lease(number: int) -> None:
        metadata = Metadata(namespace="default", name=f"u{number % 1_000}")
        await put(backend, PutRequest(objects=[Object(metadata=metadata, spec=pack(Lease(holder=f"x{number}")))]))

    async def put_backup(number: int) -> None:
        metadata = Metadata(namespace="default", name=f"u{number % 1_000}")
        spec = pack(kind.spec(schedule=f"x{number}"))
        await put(backend, PutRequest(objects=[Object(metadata=metadata, spec=spec)]))

    built_in = min([await cost_us(put_lease, start * PUTS) for start in range(ROUNDS)])
    own = min([await cost_us(put_backup, start * PUTS) for start in range(ROUNDS)])
    print(f"a put: built in {built_in:.0f} us, of a pushed type {own:.0f} us: {own / built_in:.2f} times")

    for start in range(0, objects, OBJECTS_PER_PUT):
        batch = [backup(f"b{number}", schedule="daily") for number in range(start, start + OBJECTS_PER_PUT)]
        await put(backend, PutRequest(objects=batch))
    pauses: list[float] = []
    watching = asyncio.create_task(watch_pauses(pauses))
    begun = time.process_time()
    await put(backend, PutRequest(objects=[backup_type({**FIELDS, "keep": 3})]))
    used = time.process_time() - begun
    watching.cancel()
    print(f"a push over {objects} objects: {used:.2f} s, the longest pause of other work {1000 * max(pauses):.0f} ms")

    begun = time.process_time()
    for number in range(types):
        await put(backend, PutRequest(objects=[backup_type(name=f"acme.T{number}", file=f"acme/t{number}.proto")]))
    print(f"{types} pushes: {time.process_time() - begun:.2f} s")
    again = KnownTypes(store, host.clock)
    begun = time.process_time()
    await again.read_all()
    print(f"a start with {types} types: {time.process_time() - begun:.2f} s")
    await known.stop()
    await feed.close()
    await store.close()


async def cost_us(once: Callable[[int], Awaitable[None]], first: int) -> float:
    begun = time.process_time()
    for number in range(first, first + PUTS):
        await once(number)
    return (time.process_time() - begun) / PUTS * 1e6


async def watch_pauses(pauses: list[float]) -> None:
    while True:
        begun = time.monotonic()
        await asyncio.sleep(0)
        pauses.append(time.monotonic() - begun)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--types", type=int, default=1_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.objects, arguments.types))
