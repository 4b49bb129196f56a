"""Replicated stores in a world: how one begins."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric
from rube.store import Op, Store, Txn, open_store

NAMES = "abc"
MEMBERS = ",".join(f"{name}={name}:7900" for name in NAMES)


def test_a_single_store_becomes_a_group_and_keeps_its_id_and_history() -> None:
    with World(seed=1) as world:
        fabric = SimFabric(world)
        machines = {name: make_machine(world, fabric, world.host(name)) for name in NAMES}
        alone: list[tuple[str, int]] = []
        checked: list[str] = []

        async def write() -> None:
            store = await open_store(machines["a"].ports, "sqlite:///a.db")
            for number in range(20):
                await store.commit(Txn((Op(b"k%d" % (number % 5), b"%d" % number),)))
            alone.append((store.store_id, store.revision))
            await store.close()

        async def join(name: str) -> None:
            url = f"raft+sqlite:///{name}.db?name={name}&listen=0.0.0.0:7900&members={MEMBERS}"
            store = await open_store(machines[name].ports, url)
            # What it says as soon as it is open is what it will say.
            assert store.store_id == alone[0][0]
            page = await store.range(b"k3", None, revision=alone[0][1] - 5)
            assert page.records[0].value == b"13"
            assert (await store.range(b"", b"\xff")).revision == alone[0][1]
            checked.append(name)
            await asyncio.Event().wait()  # the others get it from here

        world.run(write, host=machines["a"].host)
        for name in NAMES:
            machines[name].host.spawn("member", partial(join, name))
        world.run_until(lambda: len(checked) == len(NAMES))
        world.run_for(2)


@pytest.mark.parametrize("killed_after_s", [0.002, 0.005, 0.04])
def test_what_a_compaction_rests_on_survives_a_crash_that_follows_it(killed_after_s: float) -> None:
    """A row that no reader can see any more is deleted once that fact is durable."""
    with World(seed=1) as world:
        fabric = SimFabric(world)
        machines = {name: make_machine(world, fabric, world.host(name)) for name in NAMES}
        stores: dict[str, Store] = {}
        outcomes: list[int] = []

        async def serve(name: str) -> None:
            url = f"raft+sqlite:///{name}.db?name={name}&listen=0.0.0.0:7900&members={MEMBERS}"
            stores[name] = await open_store(machines[name].ports, url)
            await asyncio.Event().wait()

        async def delete_and_compact(store: Store) -> None:
            await store.commit(Txn((Op(b"k", b"old"),)))
            outcomes.append(await store.commit(Txn((Op(b"k", None),))))
            await store.compact(outcomes[0])
            outcomes.append(0)

        async def write(store: Store) -> None:
            outcomes.append(await store.commit(Txn((Op(b"x", b"y"),))))

        processes = {name: machines[name].host.spawn("member", partial(serve, name)) for name in NAMES}
        world.run_until(lambda: len(stores) == len(NAMES))
        world.run_for(2)
        processes["a"].create_task(delete_and_compact(stores["a"]))
        world.run_until(lambda: len(outcomes) == 2)
        world.run_for(killed_after_s)
        for process in processes.values():
            process.kill()
        stores.clear()
        processes = {name: machines[name].host.spawn("member", partial(serve, name)) for name in NAMES}
        world.run_until(lambda: len(stores) == len(NAMES))
        processes["b"].create_task(write(stores["b"]))
        world.run_until(lambda: len(outcomes) == 3)
        assert outcomes[2] > outcomes[0]
