"""The pace at which an informer asks again when its copy cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from rube.api import Bookmark, Event, Metadata, Object, WatchRequest, WatchResponse
from rube.api.errors import ResourceExhaustedError
from rube.client import Batch, Informer, InformerConfig
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


def _response(revision: int, event: Event) -> WatchResponse:
    return WatchResponse(events=[event], revision=revision, store_id="store-1")
