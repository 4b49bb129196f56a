"""A simulated etcd's watch and a client that reads too slowly, or goes."""

from __future__ import annotations

import asyncio

import pytest

from rube.sim.world.kernel import World
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import KVStub
from tests.unit.sim_etcd.etcd_worlds import EtcdWorld

LARGE = b"v" * 40_000
"""More than half of what may be under way unread."""


def test_a_client_that_goes_while_an_event_waits_for_room(caplog: pytest.LogCaptureFixture) -> None:
    with World(seed=1) as world:
        site = EtcdWorld(world)

        async def main() -> None:
            call = site.watches("etcd-1").Watch()
            await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k")))
            await call.read()
            kv = KVStub(site.host.network.channel("etcd-1:2379"))
            for _ in range(3):
                await kv.Put(etcd.PutRequest(key=b"k", value=LARGE))
            await asyncio.sleep(1)
            call.cancel()
            await asyncio.sleep(1)

        site.run(main)
    assert not caplog.records


def test_a_client_that_reads_late_gets_the_answer_to_each_of_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rube.sim.etcd.watch.CONTROL_MAX", 8)
    with World(seed=1) as world:
        site = EtcdWorld(world)

        async def main() -> list[int]:
            call = site.watches("etcd-1").Watch()
            await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k")))
            numbers = [(await call.read()).watch_id]
            kv = KVStub(site.host.network.channel("etcd-1:2379"))
            for _ in range(3):
                await kv.Put(etcd.PutRequest(key=b"k", value=LARGE))
            await asyncio.sleep(1)  # an event waits for room, and what is asked now waits behind it
            for _ in range(20):
                await call.write(etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"other")))
            await asyncio.sleep(1)
            while len(numbers) < 21:
                response = await asyncio.wait_for(call.read(), 10)
                if response.created:
                    numbers.append(response.watch_id)
            return numbers

        assert site.run(main) == list(range(21))
