"""The apiserver beside its API: addresses, health, reflection, compaction, stopping."""

from __future__ import annotations

import asyncio

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rube.api import ApiStub, GetRequest, ListRequest, PutRequest
from rube.api.errors import (
    CompactedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotDoneError,
    RubeError,
    UnavailableError,
)
from rube.client import Client, ClientConfig
from rube.server import ApiServer, ApiServerConfig, apiserver
from rube.transport import rube_error
from tests.conformance.api.api_sites import TYPE, GrpcSite, Served, Site, key, serve, unit


async def first_error(api: Served, **request: object) -> RubeError | None:
    """The error that a watch begins with, if it does."""
    async with api.watch(**request) as watched:
        try:
            await watched.response()
        except aio.AioRpcError as error:
            return rube_error(error)
    return None


async def test_it_says_where_it_listens(site: Site) -> None:
    async with serve(site) as api:
        host, _, port = api.address.rpartition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)


async def test_a_taken_address_is_an_error_that_names_it(site: Site) -> None:
    async with serve(site) as api:
        second = ApiServer(site.host, api.store, ApiServerConfig(listen=(api.address,)))
        with pytest.raises(FailedPreconditionError, match=api.address):
            await second.start()
        await second.stop()
        await api.put(unit("a"))


async def test_a_malformed_address_is_an_error(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match="nonsense"):
            await ApiServer(site.host, api.store, ApiServerConfig(listen=("nonsense",))).start()


async def test_it_serves_health(site: Site) -> None:
    async with serve(site) as api, site.host.network.channel(api.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "api.Api"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_it_serves_reflection(site: Site) -> None:
    async with serve(site) as api, site.host.network.channel(api.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        assert "api.Api" in [service.name for service in answer.list_services_response.service]
        call.cancel()


async def test_history_is_compacted_by_itself(site: Site) -> None:
    async with serve(site, history_revisions_max=5, compaction_interval_s=0.02) as api:
        first = await api.put(unit("a"))
        for number in range(10):
            await api.put(unit("a", f"text {number}"))
        async with site.host.clock.timeout(20):
            while (error := await first_error(api, after_revision=first.revision)) is None:
                await site.host.clock.sleep(0.02)
        assert isinstance(error, CompactedError)
        async with api.watch(after_revision=api.store.revision - 5) as watched:
            assert [await watched.change() for _ in range(5)] == ["update a"] * 5


async def test_without_a_bound_on_history_nothing_is_compacted(site: Site) -> None:
    async with serve(site, history_revisions_max=0, compaction_interval_s=0.01) as api:
        first = await api.put(unit("a"))
        for number in range(10):
            await api.put(unit("a", f"text {number}"))
        await site.host.clock.sleep(0.05)
        async with api.watch(after_revision=first.revision) as watched:
            assert [await watched.change() for _ in range(10)] == ["update a"] * 10


async def test_a_put_in_flight_is_finished_before_the_server_stops(site: Site) -> None:
    async with serve(site) as api:
        reading, go_on = asyncio.Event(), asyncio.Event()
        commit = api.store.commit

        async def slow_commit(txn: object) -> int:
            reading.set()
            await go_on.wait()
            return await commit(txn)  # type: ignore[arg-type]

        api.store.commit = slow_commit  # type: ignore[method-assign]
        put = asyncio.create_task(api.put(unit("a")))
        await reading.wait()
        stop = asyncio.create_task(api.server.stop(10.0))
        await asyncio.sleep(0)
        go_on.set()
        assert (await put).metadata[0].name == "a"
        await stop


async def test_a_server_that_stops_says_that_it_did_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "DRAIN_S", 2.0)
    async with serve(site) as api:
        stop = asyncio.create_task(api.server.stop(2.0))
        await asyncio.sleep(0)
        async with Client(site.host, [api.address], ClientConfig(retries_max=0)) as once:
            with pytest.raises(NotDoneError, match="is stopping"):
                await once.put(PutRequest(objects=[unit("a")]))
        await stop


async def test_after_a_stop_nobody_answers(site: Site) -> None:
    async with serve(site) as api:
        await api.server.stop(1.0)
        request = GetRequest(key=key("a"))
        with pytest.raises(UnavailableError):
            await api.client.get(request, deadline_s=0.5)


async def test_a_watch_with_a_selector_that_matches_nothing_gives_signs_of_life(site: Site) -> None:
    async with serve(site, page_scanned_objects_max=16) as api:
        await api.put(*(unit(f"u{number:03}") for number in range(50)))
        async with api.watch(send_initial=True, label_selector="x") as watched:
            assert await watched.lines(1) == ["bookmark end"]
            assert len(watched.responses) > 1


async def test_a_unix_socket_is_served_too(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    if not isinstance(site, GrpcSite):
        pytest.skip("real sockets only")
    path = f"unix:{tmp_path_factory.mktemp('s')}/api.sock"
    async with serve(site) as api:
        server = ApiServer(site.host, api.store, ApiServerConfig(listen=(path,)))
        assert await server.start() == (path,)
        async with site.host.network.channel(path) as channel:
            listed = await ApiStub(channel).List(ListRequest(type=TYPE))
            assert listed.store_id == api.store.store_id
        await server.stop(1.0)
