"""The counter in a simulated world: partitions at moments that a seed draws. `python -m pytest test_counter.py`."""

from __future__ import annotations

import pytest
from counter import Counter, count, serve
from google.protobuf.wrappers_pb2 import Int64Value
from grpc import aio

from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork

TIMES = 100


def total_after_partitions(seed: int, counter: Counter) -> tuple[int, str]:
    """Counts to 100 through ten partitions; returns the counter's total, and the hash of all that happened."""
    with World(seed, tie_break=True) as world:
        fabric = SimFabric(world)
        server, client = world.host("server"), world.host("client", drift_ppm=200)
        served, asked = SimNetwork(fabric, server), SimNetwork(fabric, client)
        server.spawn("counter", lambda: serve(served, counter, "0.0.0.0:7000"))
        process = client.spawn("client", lambda: count(asked, "server:7000", TIMES))
        moments = world.random("test/partitions")
        for _ in range(10):
            world.run_for(moments.uniform(0.001, 0.02))
            fabric.partition(["client"], ["server"])
            world.run_for(moments.uniform(0.5, 3))
            fabric.heal_all()
        world.run_until(lambda: not process.alive, timeout_s=60)
        return counter.total, world.trace.digest()


@pytest.mark.parametrize("seed", range(20))
def test_each_request_is_added_once(seed: int) -> None:
    assert total_after_partitions(seed, Counter())[0] == TIMES


def test_equal_seeds_give_equal_runs() -> None:
    assert total_after_partitions(7, Counter()) == total_after_partitions(7, Counter())


class Forgetful(Counter):
    """Adds whatever comes: the mistake that the ids are there for."""

    async def add(self, request: Int64Value, context: aio.ServicerContext) -> Int64Value:
        self.total += request.value
        return Int64Value(value=self.total)


def test_without_ids_a_lost_answer_is_added_twice() -> None:
    assert any(total_after_partitions(seed, Forgetful())[0] > TIMES for seed in range(20))
