"""kill -9 of a real apiserver at random moments under load: every acknowledged write is there afterwards."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from rube.api import GetRequest, ListRequest, Object, PutRequest, Unit, WatchRequest
from rube.api.errors import RubeError
from rube.api.keys import ObjectKey, key_of
from rube.cli.local import local_cluster
from rube.client import Client
from tests.real.cluster_calls import client_of

KILLS = 4
WRITERS = 8
TYPE = "api.systemd.Unit"
SERVER_KINDS = ("grpcio", "h2corn")


def unit(name: str, description: str) -> Object:
    obj = Object()
    obj.metadata.namespace, obj.metadata.name = "crash", name
    spec = Unit(description=description)
    spec.service.exec.start.append("/bin/true")
    obj.spec.Pack(spec, "rube/")
    return obj


def description_of(obj: Object) -> str:
    spec = Unit()
    obj.spec.Unpack(spec)
    return spec.description


class Writer:
    """Puts ever newer descriptions into its own two objects and knows what was acknowledged."""

    def __init__(self, number: int) -> None:
        self.names = [f"w{number}-a", f"w{number}-b"]
        self.acknowledged: dict[str, tuple[int, int]] = {}  # name: (attempt, revision)
        self.attempts = 0

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.attempts += 1
            objects = [unit(name, str(self.attempts)) for name in self.names]
            try:
                answer = await client.put(PutRequest(objects=objects))
            except RubeError:
                continue
            for name in self.names:
                self.acknowledged[name] = (self.attempts, answer.revision)

    def check(self, found: dict[str, Object]) -> None:
        a, b = (found[name] for name in self.names)
        assert a.metadata.revision == b.metadata.revision, "half of an atomic put is missing"
        for name in self.names:
            attempt, revision = self.acknowledged[name]
            assert int(description_of(found[name])) >= attempt, f"{name}: attempt {attempt} was acknowledged"
            assert found[name].metadata.revision >= revision


@pytest.mark.parametrize("kind", SERVER_KINDS)
def test_every_acknowledged_write_survives_kill_9_under_load(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        rng = random.Random(7)
        async with local_cluster(tmp_path, apiserver_args=("--grpc", kind)) as cluster, client_of(cluster) as client:
            await client.list_page(ListRequest(type=TYPE))
            store_id = client.store_id
            writers = [Writer(number) for number in range(WRITERS)]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.run(client, stop))
                for _ in range(KILLS):
                    await asyncio.sleep(rng.uniform(0.2, 0.8))
                    await cluster.apiserver.kill()
                    await cluster.start_apiserver()
                await asyncio.sleep(0.3)
                stop.set()
            listed = await client.list_objects(ListRequest(type=TYPE))
            found = {obj.metadata.name: obj for obj in listed.items}
            for writer in writers:
                assert writer.acknowledged, "the load wrote nothing"
                writer.check(found)
            assert client.store_id == store_id, "a crash does not make another store"

    asyncio.run(main())


@pytest.mark.parametrize("kind", SERVER_KINDS)
def test_a_watch_misses_and_repeats_nothing_across_kill_9(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path, apiserver_args=("--grpc", kind)) as cluster, client_of(cluster) as client:
            seen: dict[int, ObjectKey] = {}
            writer, stop = Writer(0), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(follow(client, seen))
                load = tasks.create_task(writer.run(client, stop))
                for _ in range(2):
                    await asyncio.sleep(0.4)
                    await cluster.apiserver.kill()
                    await cluster.start_apiserver()
                await asyncio.sleep(0.4)
                stop.set()
                await load
                last = (await client.get(GetRequest(key=ObjectKey(TYPE, "crash", "w0-a").to_proto()))).object
                async with asyncio.timeout(15):
                    while last.metadata.revision not in seen:
                        await asyncio.sleep(0.02)
                watch.cancel()
            assert all(revision in seen for _, revision in writer.acknowledged.values())
            assert list(seen) == sorted(seen)

    asyncio.run(main())


async def follow(client: Client, seen: dict[int, ObjectKey]) -> None:
    """Watches from the first revision on, resuming where it was cut; asserts order and that no event comes twice."""
    after, store_id = 0, ""
    first = await client.list_page(ListRequest(type=TYPE))
    after, store_id = first.revision, first.store_id
    while True:
        try:
            request = WatchRequest(type=TYPE, after_revision=after, store_id=store_id)
            async for response in client.watch(request):
                for event in response.events:
                    if event.WhichOneof("event") != "update":
                        continue
                    revision = event.update.metadata.revision
                    key = key_of(event.update)
                    assert revision > after, f"{key} at {revision} was delivered after {after}"
                    seen[revision] = key
                after = response.revision
        except RubeError:
            await asyncio.sleep(0.05)
