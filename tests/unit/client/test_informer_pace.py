"""An informer that must ask again: its pace when its copy cannot be kept, and what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rube.api import Bookmark, Event, Metadata, Object, WatchRequest, WatchResponse
from rube.api.errors import CompactedError, ResourceExhaustedError, RevisionAheadError, RubeError, StoreChangedError
from rube.client import Batch, CacheState, Informer, InformerConfig
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric

SECONDS = 120


def test_on_a_full_disk_it_asks_ever_more_slowly_though_each_watch_begins_well() -> None:
    watches: list[int] = []
    full = True

    class Client:
        """Each watch begins with a bookmark, which needs no room, and goes on with a change, which does."""

        async def watch(self, request: WatchRequest) -> AsyncGenerator[WatchResponse, None]:
            watches.append(world.now_ns)
            yield _response(3, Event(bookmark=Bookmark(revision=3, initial_end=request.send_initial)))
            changed = Object(metadata=Metadata(namespace="default", name="web", revision=5))
            changed.spec.type_url = "rube/api.systemd.Unit"
            yield _response(5, Event(update=changed))
            await asyncio.Event().wait()

    async def persist(batch: Batch) -> None:
        if batch.changes and full:
            raise ResourceExhaustedError("no space left", limit="disk")

    with World(seed=2) as world:
        machine = make_machine(world, SimFabric(world), world.host("node-1"))
        client: Any = Client()
        informer = Informer(client, machine.ports, InformerConfig(type="api.systemd.Unit", persist=persist))
        machine.host.spawn("informer", informer.run)
        world.run_for(SECONDS)
        assert 15 <= len(watches) <= 45, "every five seconds in the end"
        full = False
        world.run_for(10)
        assert [key.name for key in informer.objects] == ["web"]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (CompactedError("forgotten", oldest_revision=50), (7, "store-1")),
        (StoreChangedError("restored", store_id="store-2"), (0, "")),
        (RevisionAheadError("lost", revision=3), (0, "")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_new_list_is_not_older_than_the_copy_of_the_same_store(error: RubeError, asked: tuple[int, str]) -> None:
    requests: list[WatchRequest] = []

    class Client:
        async def watch(self, request: WatchRequest) -> AsyncGenerator[WatchResponse, None]:
            requests.append(request)
            if not request.send_initial:
                raise error
            yield _response(8, Event(bookmark=Bookmark(revision=8, initial_end=True)))
            await asyncio.Event().wait()

    with World(seed=1) as world:
        machine = make_machine(world, SimFabric(world), world.host("node-1"))
        client: Any = Client()
        state = CacheState(revision=7, store_id="store-1")
        informer = Informer(client, machine.ports, InformerConfig(type="api.systemd.Unit", state=state))
        machine.host.spawn("informer", informer.run)
        world.run_for(5)
    assert [request.send_initial for request in requests] == [False, True]
    assert (requests[1].after_revision, requests[1].store_id) == asked


def _response(revision: int, event: Event) -> WatchResponse:
    return WatchResponse(events=[event], revision=revision, store_id="store-1")
