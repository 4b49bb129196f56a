"""ClusterControllers: which controllers run where."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import InvalidArgumentError
from rube.client import Client
from rube.controllers.cache import configs_for
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.placement import Placement
from rube.sim.kernel import World
from rube.sim.machines import make_machine
from rube.sim.network import SimFabric


def test_an_unknown_controller_is_named_with_those_there_are() -> None:
    with World(seed=1) as world:
        host = make_machine(world, SimFabric(world), world.observer).ports

        async def main() -> None:
            engine = await host.storage.open("memory:")
            async with Client(host, ["nowhere:1"]) as client:
                config = ClusterControllersConfig(names=("placment",))
                with pytest.raises(InvalidArgumentError, match="'placment': use node-health, placement"):
                    ClusterControllers(host, client, engine, config)

        world.run(main)


def test_without_a_server_they_wait_and_stop_when_they_are_told_to() -> None:
    with World(seed=1) as world:
        host = make_machine(world, SimFabric(world), world.observer).ports

        async def main() -> None:
            engine = await host.storage.open("memory:")
            async with Client(host, ["nowhere:1"]) as client:
                running = asyncio.create_task(ClusterControllers(host, client, engine).run())
                await host.clock.sleep(60)
                assert not running.done()
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running

        world.run(main)


def test_informers_keep_what_a_controller_asks_for_and_no_more() -> None:
    placement = {(config.type, config.namespace, config.label_selector) for config in configs_for(Placement())}
    assert placement == {("api.systemd.Unit", "", "!node"), ("api.Node", "", "")}
    health = {(config.type, config.namespace, config.label_selector) for config in configs_for(NodeHealth())}
    assert health == {("api.Node", "", ""), ("api.Lease", "node-leases", "")}
