"""A relay's two sides: what it hands on of a call, and what it does when upstream takes back what it may see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from rube.api import (
    ApiStub,
    Event,
    HistoryRequest,
    ListRequest,
    ListResponse,
    Object,
    PutRequest,
    WatchRequest,
    WatchResponse,
)
from rube.api.errors import PermissionDeniedError, RubeError
from rube.cli.real_host import real_host
from rube.server import ApiServer, ApiServerConfig
from rube.server.relay import Relay, RelayConfig
from rube.server.relay.forwarding import forwarded_metadata
from rube.server.relay.upstream import Upstream
from rube.store import open_store
from rube.store.embedded.replica import ReplicaStore
from rube.transport import ChannelOptions, GrpcNetwork
from rube.transport.packing.form import ASKED_KEY, NAME
from tests.conformance.api.api_sites import TYPE, SimSite, key, unit

LOCAL = ApiServerConfig(listen=("127.0.0.1:0",))


def test_what_belongs_to_the_callers_connection_stays_there() -> None:
    own = [("x-trace", "7"), ("note-bin", b"\0")]
    connections = [(ASKED_KEY, NAME), ("user-agent", "a"), ("content-encoding", "gzip"), ("connect-timeout-ms", "9")]
    context: Any = SimpleNamespace(invocation_metadata=lambda: [*connections, *own])
    assert forwarded_metadata(context) == own


@pytest.mark.parametrize("asked", [True, False], ids=["packed", "plain"])
def test_what_is_handed_on_is_packed_once(asked: bool) -> None:
    async def body() -> None:
        host = real_host()
        server = ApiServer(host, await open_store(host, "memory:"), LOCAL)
        (address,) = await server.start()
        letters = random.Random(1)
        texts = ["".join(letters.choices("abcdefghij", k=900)) for _ in range(5)]
        async with host.network.channel(address) as direct:
            for text in texts:
                await ApiStub(direct).Put(PutRequest(objects=[unit("web", text)]))
        relay = Relay(host, RelayConfig(upstream=[address], server=LOCAL, lookback_revisions=0))
        (relayed,) = await relay.start()
        await relay.copied()
        async with GrpcNetwork(channel_options=ChannelOptions(pack=asked)).channel(relayed) as channel:
            history = await ApiStub(channel).History(HistoryRequest(key=key("web")))
            assert len(history.versions) == len(texts)
            watch = ApiStub(channel).Watch(WatchRequest(type=TYPE, after_revision=1))
            response = await watch.read()
            assert isinstance(response, WatchResponse)
            assert response.revision > 1
            watch.cancel()
        await relay.stop(0)
        await server.stop(0)

    asyncio.run(asyncio.wait_for(body(), 60))


def stored(name: str) -> Object:
    return unit(name, revision=3, create_revision=3)


class Apiserver:
    """A relay's client of an apiserver at revision 5, which shows fewer objects from its second list on."""

    def __init__(self, ended: list[WatchResponse] | RubeError) -> None:
        self._lists = [[stored("gone"), stored("kept")], [stored("kept")]]
        self._ended = ended

    async def list_page(self, request: ListRequest) -> ListResponse:
        return ListResponse(revision=5, store_id="theirs")

    async def list_objects(self, request: ListRequest, *, deadline_s: float) -> ListResponse:
        return ListResponse(items=self._lists.pop(0), revision=5, store_id="theirs")

    async def watch(self, request: WatchRequest) -> AsyncGenerator[WatchResponse, None]:
        yield WatchResponse(revision=5, store_id="theirs")
        if len(self._lists) == 1:
            if isinstance(self._ended, RubeError):
                raise self._ended
            for response in self._ended:
                yield response
        await asyncio.Event().wait()

    async def close(self) -> None: ...


TAKEN_BACK: dict[str, list[WatchResponse] | RubeError] = {
    "some": [
        WatchResponse(
            revision=5,
            store_id="theirs",
            events=[Event(delete=unit("gone", revision=5))],
        )
    ],
    "all": PermissionDeniedError("no rule allows it"),
}


@pytest.mark.parametrize("taken", TAKEN_BACK)
def test_what_a_relay_may_not_see_any_more_it_does_not_serve(taken: str) -> None:
    site = SimSite()
    copies: list[list[Any]] = []
    again = asyncio.Event()

    async def changed(replica: ReplicaStore | None) -> None:
        copies.append([] if replica is None else (await replica.range(b"", b"\xff")).records)
        if len(copies) == 3:
            again.set()

    async def body() -> None:
        upstream = Upstream(site.host, RelayConfig(upstream=["api-1:1"]), changed)
        client: Any = Apiserver(TAKEN_BACK[taken])
        upstream._client = client
        running = asyncio.create_task(upstream.run())
        async with site.host.clock.timeout(30):
            await again.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await upstream.close()

    site.run(body)
    assert [len(records) for records in copies] == [2, 0, 1]
