"""Many writers, lists and watches that come and go, and a history that is cut away under their feet: what each watch
and each list is promised still holds, with bounds so small that everything is split where it can be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from rube.api import (
    DeleteRequest,
    ListRequest,
    ListResponse,
    Metadata,
    Node,
    Object,
    PutRequest,
    Unit,
    UnitStatus,
    UpdateStatusRequest,
    WatchRequest,
    WatchResponse,
)
from rube.api.errors import AbortedError, CompactedError, NotFoundError
from rube.api.keys import ObjectKey, key_of
from rube.cli.real_host import real_host
from rube.client import CacheState, ObjectCache
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.service import ApiService
from rube.store import Store, StoreConfig, open_store
from rube.store.embedded import MvccStore
from rube.transport import Encoded

UNIT_TYPE = "api.systemd.Unit"
OBJECTS, WRITERS, WRITES = 12, 4, 150
NO_CONTEXT = cast(Any, None)
"""The service asks it nothing."""
FILTERS = [
    {},
    {"label_selector": "t=a"},
    {"label_selector": "t=b", "namespace": "n1"},
    {"namespace": "n2"},
    {"name": "o4"},
]


def unit(number: int, labels: dict[str, str], description: str) -> Object:
    obj = Object(metadata=Metadata(namespace=f"n{number % 3}", name=f"o{number}", labels=labels))
    obj.spec.Pack(Unit(description=description), "rube/")
    return obj


class Turmoil:
    """One store and service with bounds drawn from a seed."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.over = False
        config = ApiServerConfig(
            watch_response_events_max=rng.choice([1, 2, 50]),
            watch_response_bytes_max=rng.choice([100, 100_000]),
            bookmark_interval_s=0.005,
            event_cache_bytes_max=rng.choice([1, 1_000, 10_000_000]),
            watch_buffer_bytes_max=rng.choice([1, 1_000, 100_000]),
            page_scanned_objects_max=rng.choice([1, 5, 1_000]),
        )
        host = real_host()
        attachments = Attachments(host.clock, node_answers_max=1, answers_max=1)
        self.service = ApiService(
            host, store, KnownTypes(store, host.clock), Namespaces(host.clock, store), config, attachments
        )

    async def write(self, rng: random.Random) -> None:
        for count in range(WRITES):
            number, kind = rng.randrange(OBJECTS), rng.random()
            key = ObjectKey(UNIT_TYPE, f"n{number % 3}", f"o{number}").to_proto()
            try:
                if kind < 0.6:
                    numbers = sorted({rng.randrange(OBJECTS) for _ in range(rng.randint(1, 3))})
                    labels = {"t": rng.choice("ab")} if rng.random() < 0.8 else {}
                    objects = [unit(number, labels, str(count)) for number in numbers]
                    await self.service.Put(PutRequest(objects=objects), NO_CONTEXT)
                elif kind < 0.8:
                    await self.service.Delete(DeleteRequest(keys=[key]), NO_CONTEXT)
                else:
                    request = UpdateStatusRequest(key=key)
                    request.status.Pack(UnitStatus(message=str(count)), "rube/")
                    await self.service.UpdateStatus(request, NO_CONTEXT)
            except (NotFoundError, AbortedError):
                pass

    async def compact(self, rng: random.Random) -> None:
        while not self.over:
            await asyncio.sleep(rng.random() * 0.003)
            await self.store.compact(max(0, self.store.revision - rng.randrange(30)))

    async def follow(self, rng: random.Random, wanted: dict[str, str]) -> ObjectCache:
        """A copy kept up by watches that are left and resumed, until it is as new as the store at the end."""
        replica = ObjectCache(CacheState())
        while True:
            replica.begin()
            request = WatchRequest(type=UNIT_TYPE, **cast(Any, wanted))
            if replica.resumable:
                request.after_revision, request.store_id = replica.revision, replica.store_id
            else:
                request.send_initial = True
            try:
                async with aclosing(cast(Any, self.service.Watch(request, NO_CONTEXT))) as responses:
                    await self._take(responses, replica, rng, wanted)
            except CompactedError:
                replica.lose_position()
            if self.over and replica.revision >= self.store.revision:
                return replica

    async def _take(
        self,
        responses: AsyncIterator[Encoded],
        replica: ObjectCache,
        rng: random.Random,
        wanted: dict[str, str],
    ) -> None:
        async for encoded in responses:
            response = WatchResponse.FromString(encoded.data)
            if not replica.listing:
                check_response(response, replica.revision, wanted)
            batch = replica.prepare(response)
            if batch is not None:
                replica.commit(batch)
            if rng.random() < 0.05 or (self.over and replica.revision >= self.store.revision):
                return
            if rng.random() < 0.1:
                await asyncio.sleep(rng.random() * 0.01)

    async def list(self, wanted: dict[str, str], page_size: int) -> dict[ObjectKey, Object]:
        """All pages, which are of one revision and in order."""
        request = ListRequest(type=UNIT_TYPE, page_size=page_size, **cast(Any, wanted))
        found: list[Object] = []
        revisions = set()
        while True:
            page = ListResponse.FromString((await self.service.List(request, NO_CONTEXT)).data)
            found += page.items
            revisions.add(page.revision)
            assert len(revisions) == 1
            assert all(obj.metadata.revision <= page.revision for obj in found)
            if not page.next_page_token:
                keys = [key_of(obj) for obj in found]
                assert keys == sorted(set(keys))
                return dict(zip(keys, found, strict=True))
            request.page_token = page.next_page_token
            await asyncio.sleep(0)

    async def list_on(self) -> None:
        while not self.over:
            try:
                await self.list({}, page_size=2)
            except CompactedError:
                pass
            await asyncio.sleep(0)


def check_response(response: WatchResponse, before: int, wanted: dict[str, str]) -> None:
    """Ordered, unique, atomic (everything is newer than what the response before reached), and only what matches."""
    revision = before
    for event in response.events:
        kind = event.WhichOneof("event")
        if kind == "bookmark":
            assert event.bookmark.revision >= revision
            continue
        obj = event.update if kind == "update" else event.delete
        assert obj.metadata.revision > before
        assert obj.metadata.revision >= revision
        revision = obj.metadata.revision
        if kind == "update" and "label_selector" in wanted:
            assert f"t={obj.metadata.labels['t']}" == wanted["label_selector"]
    assert response.revision >= revision


@pytest.mark.parametrize("seed", range(4))
def test_what_is_promised_holds_while_history_is_cut_away(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        config = StoreConfig(
            tail_bytes_max=rng.choice([500, 5_000, 200_000]),
            watch_changes_max=rng.choice([1, 3, 1_000]),
            watch_bytes_max=rng.choice([100, 100_000]),
            bookmark_interval_s=0.01,
        )
        store = await open_store(real_host(), "memory:", config)
        assert isinstance(store, MvccStore)
        turmoil = Turmoil(store, rng)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            wanted = FILTERS * 2
            watches = [
                group.create_task(turmoil.follow(random.Random(f"{seed} {number}"), one))
                for number, one in enumerate(wanted)
            ]
            group.create_task(turmoil.compact(random.Random(seed)))
            group.create_task(turmoil.list_on())
            await asyncio.gather(*(turmoil.write(random.Random(f"{seed} w{n}")) for n in range(WRITERS)))
            # The units are as they will be. A revision of another type wakes the watches that wait for one.
            turmoil.over = True
            node = Object(metadata=Metadata(name="wake"))
            node.spec.Pack(Node(), "rube/")
            await turmoil.service.Put(PutRequest(objects=[node]), NO_CONTEXT)
        assert store.compact_revision > 0
        for one, watch in zip(wanted, watches, strict=True):
            assert dict(watch.result().objects) == await turmoil.list(one, page_size=100)
        await store.close()

    asyncio.run(main())
