"""The promises of the client and the informer, against real and simulated servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rube.api import (
    ApiServicer,
    ListRequest,
    ListResponse,
    Precondition,
    PutRequest,
    PutResponse,
    WatchRequest,
    WatchResponse,
    add_ApiServicer_to_server,
)
from rube.api.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from rube.api.keys import ObjectKey
from rube.client import Batch, CacheState, Change, Client, ClientConfig, Informer, InformerConfig
from rube.host import Host
from rube.server import ApiServer, ApiServerConfig
from tests.conformance.api.api_sites import TYPE, Served, Site, serve, unit


@asynccontextmanager
async def running(client: Client, host: Host, **config: Any) -> AsyncIterator[tuple[Informer, list[str]]]:
    """An informer that runs, and the changes it has told in short: `+a`, `~a`, `-a`."""
    informer = Informer(client, host, InformerConfig(**{"type": TYPE, "backoff_s_initial": 0.02, **config}))
    told: list[str] = []

    def tell(change: Change) -> None:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        told.append(sign + change.key.name)

    informer.add_handler(tell)
    task = asyncio.create_task(informer.run())
    try:
        yield informer, told
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_copy_follows_the_server(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"), unit("b"))
        async with running(api.client, site.host) as (informer, told):
            await informer.synced.wait()
            assert told == ["+a", "+b"]
            await api.put(unit("a", "changed"))
            deleted = await api.delete("b")
            await informer.wait_for(deleted.revision)
            assert told == ["+a", "+b", "~a", "-b"]
            assert dict(informer.objects) == {ObjectKey(TYPE, "system", "a"): await api.get("a")}
            assert informer.store_id == api.store.store_id


async def test_an_empty_store_syncs(site: Site) -> None:
    async with serve(site) as api, running(api.client, site.host) as (informer, told):
        await informer.synced.wait()
        assert (told, informer.revision) == ([], 0)
        put = await api.put(unit("a"))
        await informer.wait_for(put.revision)
        assert told == ["+a"]


async def test_an_informer_resumes_from_what_was_persisted(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"), unit("b"))
        state = CacheState(
            objects=(await api.get("a"), await api.get("b")), revision=put.revision, store_id=put.store_id
        )
        await api.delete("b")
        await api.put(unit("c"))
        async with running(api.client, site.host, state=state) as (informer, told):
            assert [key.name for key in informer.objects] == ["a", "b"]
            await informer.wait_for(api.store.revision)
            assert told == ["-b", "+c"]


async def test_a_compacted_position_is_listed_again_and_nothing_is_skipped(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"), unit("b"), unit("same"))
        objects = tuple([await api.get(name) for name in ("a", "b", "same")])
        await api.put(unit("a", "changed"))
        await api.delete("b")
        last = await api.put(unit("c"))
        await api.store.compact(last.revision)
        state = CacheState(objects=objects, revision=put.revision, store_id=put.store_id)
        async with running(api.client, site.host, state=state) as (informer, told):
            await informer.wait_for(last.revision)
            assert told == ["-b", "~a", "+c"]


async def test_a_position_of_another_store_is_listed_again(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        stranger = await api.get("a")
        stranger.metadata.name = "stranger"
        state = CacheState(objects=(stranger,), revision=1_000, store_id="f" * 32)
        async with running(api.client, site.host, state=state) as (informer, told):
            await informer.synced.wait()
            assert (told, informer.revision) == (["-stranger", "+a"], api.store.revision)


async def test_a_position_ahead_of_the_store_is_listed_again(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        state = CacheState(objects=(), revision=1_000, store_id=api.store.store_id)
        async with running(api.client, site.host, state=state) as (informer, told):
            await informer.synced.wait()
            assert (told, informer.revision) == (["+a"], api.store.revision)


async def test_batches_are_persisted_before_anybody_sees_them(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        gate = asyncio.Event()
        batches: list[Batch] = []

        async def persist(batch: Batch) -> None:
            batches.append(batch)
            await gate.wait()

        async with running(api.client, site.host, persist=persist) as (informer, told):
            async with site.host.clock.timeout(20):
                while not batches:
                    await site.host.clock.sleep(0.01)
            assert (told, dict(informer.objects), informer.synced.is_set()) == ([], {}, False)
            gate.set()
            await informer.synced.wait()
            assert told == ["+a"]
            assert [batch.relisted for batch in batches] == [True]
            put = await api.put(unit("b"), unit("a", "changed"))
            await informer.wait_for(put.revision)
            assert [(change.key.name, change.revision) for change in batches[-1].changes] == [
                ("b", put.revision),
                ("a", put.revision),
            ]
            assert (batches[-1].revision, batches[-1].store_id) == (put.revision, put.store_id)


async def test_an_informer_outlives_its_server_and_skips_nothing(site: Site) -> None:
    if site.store_url == "memory:":
        pytest.skip("a store in memory remembers nothing")
    async with serve(site) as api:
        await api.put(unit("a"))
        client = Client(site.host, [api.address])
        async with running(client, site.host) as (informer, told):
            await informer.synced.wait()
            await api.server.stop(1.0)
            server = ApiServer(site.host, api.store, ApiServerConfig(listen=(api.address,)))
            await server.start()
            absent = Precondition(absent=True)
            await client.put(PutRequest(objects=[unit("b")], preconditions=[absent]))
            await informer.wait_for(api.store.revision)
            assert told == ["+a", "+b"]
            await server.stop(1.0)
        await client.close()


async def test_a_bad_informer_ends_instead_of_trying_forever(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match="column"):
            await Informer(api.client, site.host, InformerConfig(type=TYPE, label_selector="=")).run()


async def test_a_client_moves_on_from_a_dead_endpoint(site: Site) -> None:
    async with serve(site) as api, Client(site.host, ["127.0.0.1:1", api.address]) as client:
        listed = await client.list_objects(ListRequest(type=TYPE))
        assert listed.store_id == client.store_id == api.store.store_id
        assert client.endpoint == api.address
        put = await client.put(PutRequest(objects=[unit("a")]))
        assert client.revision == put.revision


async def test_an_unconditional_put_moves_on_where_it_was_never_sent(site: Site) -> None:
    async with serve(site) as api, Client(site.host, ["127.0.0.1:1", api.address]) as client:
        await client.put(PutRequest(objects=[unit("a")]))
        assert (await api.get("a")).metadata.generation == 1


async def test_without_any_server_a_call_ends_with_unavailable(site: Site) -> None:
    async with serve(site):  # The simulation is deadlocked without anything running.
        config = ClientConfig(retries_max=2, backoff_s_initial=0.01, backoff_s_max=0.02)
        async with Client(site.host, ["127.0.0.1:1"], config) as client:
            with pytest.raises(UnavailableError):
                await client.list_objects(ListRequest(type=TYPE))


async def test_a_client_gives_up_at_its_deadline(site: Site) -> None:
    async with serve(site) as api:
        await _hang(api)
        async with Client(site.host, [api.address]) as client:
            before_ns = site.host.clock.monotonic_ns()
            with pytest.raises(DeadlineExceededError):
                await client.list_objects(ListRequest(type=TYPE), deadline_s=0.2)
            assert site.host.clock.monotonic_ns() - before_ns < 3_000_000_000


async def _hang(api: Served) -> None:
    """The server's store answers reads no more."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    api.store.range = never  # type: ignore[method-assign, assignment]


class Silent(ApiServicer):
    """A server that takes every call and never answers."""

    async def List(self, request: ListRequest, context: Any) -> ListResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def Put(self, request: PutRequest, context: Any) -> PutResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def Watch(self, request: WatchRequest, context: Any) -> AsyncIterator[WatchResponse]:
        await asyncio.Event().wait()
        yield WatchResponse()


@asynccontextmanager
async def silent(host: Host) -> AsyncIterator[str]:
    """The address of a server that hangs."""
    server = host.network.server()
    add_ApiServicer_to_server(Silent(), server)  # type: ignore[abstract]  # the rest is never called
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_an_informer_moves_on_from_a_server_that_hangs(site: Site) -> None:
    async with serve(site) as api, silent(site.host) as address:
        await api.put(unit("a"))
        async with Client(site.host, [address, api.address], ClientConfig(attempt_s_max=0.2)) as client:
            async with running(client, site.host) as (informer, told):
                await informer.synced.wait()
                assert (told, client.endpoint) == (["+a"], api.address)


async def test_a_read_moves_on_from_a_server_that_hangs_and_a_plain_write_does_not(site: Site) -> None:
    async with serve(site) as api, silent(site.host) as address:
        config = ClientConfig(attempt_s_max=0.2)
        async with Client(site.host, [address, api.address], config) as client:
            with pytest.raises(DeadlineExceededError):
                await client.put(PutRequest(objects=[unit("a")]), deadline_s=0.3)
        async with Client(site.host, [address, api.address], config) as client:
            assert list((await client.list_objects(ListRequest(type=TYPE))).items) == []
            await client.put(PutRequest(objects=[unit("a")]))


async def test_two_servers_on_one_store_lose_no_write(site: Site) -> None:
    async with serve(site) as api:
        second = ApiServer(site.host, api.store, ApiServerConfig(listen=("127.0.0.1:0",), retries_max=100))
        third = ApiServer(site.host, api.store, ApiServerConfig(listen=("127.0.0.1:0",), retries_max=100))
        addresses = [(await server.start())[0] for server in (second, third)]
        async with Client(site.host, addresses[:1]) as one, Client(site.host, addresses[1:]) as other:
            puts = [
                client.put(PutRequest(objects=[unit("a", f"{name} {number}")]))
                for number in range(15)
                for name, client in (("one", one), ("other", other))
            ]
            responses = await asyncio.gather(*puts)
        assert sorted(response.metadata[0].generation for response in responses) == list(range(1, 31))
        for server in (second, third):
            await server.stop(1.0)
