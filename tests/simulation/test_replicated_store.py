"""Replicated stores in a world: how one begins."""

from __future__ import annotations

import asyncio

from rube.sim.kernel import World
from rube.sim.machines import make_machine
from rube.sim.network import SimFabric
from rube.store import Op, Txn, open_store

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
            machines[name].host.spawn("member", lambda name=name: join(name))
        world.run_until(lambda: len(checked) == len(NAMES))
        world.run_for(2)
