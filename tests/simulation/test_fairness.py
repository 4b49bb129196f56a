"""Fairness: one caller's flood does not slow the others. The world's processor does one read of the store at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from rube.api import GetRequest, Lease, Metadata, Object, PutRequest, RenewLeaseRequest, WatchRequest
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.client import Client
from rube.server.entrance.kinds import CallKind
from rube.server.entrance.limits import FairnessConfig, Share
from rube.server.rights.subjects import Context, RightsConfig, Subject
from tests.conformance.api.api_sites import SimSite, serve
from tests.simulation.rights_calls import UNIT, Caller, Cluster, obj

READ_S = 0.005
WEB = ObjectKey(UNIT, "shop", "web")
SMALL = {
    CallKind.WRITES: Share(turns_max=8, caller_turns_max=2),
    CallKind.GETS: Share(turns_max=8, caller_turns_max=2),
    CallKind.LISTS: Share(turns_max=8, caller_turns_max=2),
}


def identify(context: Context) -> Subject:
    found = dict(context.invocation_metadata() or ())
    name = str(found.get("x-subject", "user/root"))
    groups = tuple(filter(None, str(found.get("x-groups", "admins")).split(",")))
    return Subject.parse(name, groups)._replace(method="certificate")


@asynccontextmanager
async def busy_cluster(site: SimSite, **limits: Any) -> AsyncIterator[Cluster]:
    """A cluster whose store reads for one call at a time, which takes READ_S."""
    fairness = FairnessConfig(**{"shares": SMALL, **limits})
    async with serve(site, rights=RightsConfig(identify=identify), fairness=fairness) as served:
        processor, get = asyncio.Lock(), served.store.get

        async def slow(*args: Any, **kwargs: Any) -> Any:
            async with processor:
                await site.host.clock.sleep(READ_S)
                return await get(*args, **kwargs)

        served.store.get = slow  # type: ignore[method-assign]
        async with site.host.network.channel(served.address) as channel:
            found = Cluster(served, channel)
            await found.put(obj(WEB))
            yield found


async def flood(caller: Caller, count: int) -> list[Any]:
    request = GetRequest(key=WEB.to_proto())
    return list(await asyncio.gather(*(caller.ask(caller.api.Get, request) for _ in range(count))))


async def seconds(site: SimSite, work: Callable[[], Any]) -> float:
    begun_ns = site.host.clock.monotonic_ns()
    answer = await work()
    assert not isinstance(answer, str), answer
    return (site.host.clock.monotonic_ns() - begun_ns) / 1e9


@pytest.mark.parametrize("fair", [True, False])
def test_a_flood_of_one_caller_slows_neither_the_calls_of_others_nor_heartbeats(fair: bool) -> None:
    """The same calls wait for the whole flood where there are no turns."""
    site, took_s = SimSite(), {}

    async def main() -> None:
        endless = dict.fromkeys(SMALL, Share(turns_max=10_000, caller_turns_max=10_000))
        async with busy_cluster(site, shares=SMALL if fair else endless) as served:
            lease = Object(
                metadata=Metadata(namespace="node-leases", name="n1"), spec=pack(Lease(holder="x", session="y"))
            )
            await served.put(lease)
            flooding, ada = served.caller("user/flood", "admins"), served.caller("user/ada", "admins")
            node = served.caller("node/n1")
            ended = asyncio.create_task(flood(flooding, 1_000))
            await site.host.clock.sleep(0.05)
            took_s["get"] = await seconds(site, lambda: ada.do("get", WEB))
            took_s["put"] = await seconds(site, lambda: ada.ask(ada.api.Put, PutRequest(objects=[obj(WEB)])))
            renewal = RenewLeaseRequest(namespace="node-leases", name="n1", holder="x", session="y")
            renewal.renew_time.FromNanoseconds(site.host.clock.now_ns())
            took_s["renew"] = await seconds(site, lambda: node.ask(node.api.RenewLease, renewal))
            assert not any(isinstance(each, str) for each in await ended)

    site.run(main)
    if fair:
        assert took_s["get"] < 10 * READ_S
        assert took_s["put"] < 20 * READ_S
        assert took_s["renew"] < 1 + 20 * READ_S  # renewals wait a second for others
    else:
        assert took_s["get"] > 400 * READ_S


def test_a_refusal_says_how_long_to_wait_and_the_client_waits_that_long() -> None:
    site = SimSite()

    async def main() -> None:
        async with busy_cluster(site, waiting_max=10) as served:
            ada = served.caller("user/ada", "admins")
            answers = await flood(ada, 40)
            refused = [each for each in answers if isinstance(each, str)]
            assert refused == ["RESOURCE_EXHAUSTED"] * 28  # 2 have turns, and 10 wait
            assert b"user/ada has 10 gets waiting" in ada.heard[0]
            floods = [asyncio.create_task(flood(ada, 12)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.gather(
                    *(ada.api.Get(GetRequest(key=WEB.to_proto()), metadata=ada.metadata) for _ in range(20))
                )
            assert 0.1 <= retry_s(caught.value) <= 10
            await asyncio.gather(*floods)
            async with Client(site.host, [served.served.address]) as client:
                gets = (client.get(GetRequest(key=WEB.to_proto()), deadline_s=60) for _ in range(40))
                assert len(await asyncio.gather(*gets)) == 40

    site.run(main)


def retry_s(error: grpc.aio.AioRpcError) -> float:
    trailing: Any = error.trailing_metadata()
    details = dict(trailing)["grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    assert any(each.Unpack(retry) for each in status_pb2.Status.FromString(details).details)
    return float(retry.retry_delay.ToNanoseconds() / 1e9)


def test_a_callers_rate_is_limited_where_it_is_asked_for_and_others_are_not() -> None:
    site = SimSite()

    async def main() -> None:
        async with busy_cluster(site, caller_calls_per_s_max=10) as served:
            ada, bob = served.caller("user/ada", "admins"), served.caller("user/bob", "admins")
            answers = await flood(ada, 15)
            assert [each for each in answers if isinstance(each, str)] == ["RESOURCE_EXHAUSTED"] * 5
            assert not any(isinstance(each, str) for each in await flood(bob, 10))
            await site.host.clock.sleep(1)
            assert not any(isinstance(each, str) for each in await flood(ada, 10))

    site.run(main)


def test_a_callers_streams_have_a_limit_and_one_that_ends_makes_room() -> None:
    site = SimSite()

    async def main() -> None:
        async with busy_cluster(site, caller_streams_max=2) as served:
            ada = served.caller("user/ada", "admins")
            request = WatchRequest(type=UNIT, send_initial=True)
            calls = [ada.api.Watch(request, metadata=ada.metadata) for _ in range(2)]
            for call in calls:
                await call.read()
            assert await ada.first(ada.api.Watch, request) == "RESOURCE_EXHAUSTED"
            calls[0].cancel()
            await site.host.clock.sleep(1)
            assert not isinstance(await ada.first(ada.api.Watch, request), str)
            calls[1].cancel()

    site.run(main)


def test_calls_that_are_given_up_while_they_wait_leave_their_place() -> None:
    site = SimSite()

    async def main() -> None:
        async with busy_cluster(site, waiting_max=10) as served:
            ada = served.caller("user/ada", "admins")
            calls = [ada.api.Get(GetRequest(key=WEB.to_proto()), metadata=ada.metadata) for _ in range(12)]
            await site.host.clock.sleep(READ_S / 2)
            for call in calls:
                call.cancel()
            await site.host.clock.sleep(1)
            gauges = served.served.server._fairness.gauges()
            assert gauges["rube_calls_waiting_gets"] == 0
            answers = await flood(ada, 12)
            assert not any(isinstance(each, str) for each in answers)

    site.run(main)
