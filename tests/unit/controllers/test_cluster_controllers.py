"""ClusterControllers: which controllers run where."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rube.api.errors import InvalidArgumentError
from rube.client import Client
from rube.controllers.cache import configs_for
from rube.controllers.cluster.catalog import make_controller, make_controllers
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.placement import Placement
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric


def test_an_unknown_controller_is_named_with_those_there_are() -> None:
    nothing = cast(Any, None)
    with World(seed=1) as world:
        host = make_machine(world, SimFabric(world), world.observer).ports
    with pytest.raises(InvalidArgumentError, match="'placment'; did you mean 'placement'"):
        ClusterControllers(host, nothing, nothing, ClusterControllersConfig(names=("placment",)))


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
    assert placement == {("api.systemd.Unit", "", ""), ("api.Node", "", "")}
    health = {(config.type, config.namespace, config.label_selector) for config in configs_for(NodeHealth())}
    assert health == {("api.Node", "", ""), ("api.Lease", "node-leases", "")}


def test_a_controller_may_be_of_a_type_that_is_pushed_later() -> None:
    assert make_controller(f"{__name__}:OwnType").type == "acme.Backup"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no.such.module:X", "cannot import 'no.such.module': ModuleNotFoundError"),
        ("rube.controllers.cluster.placement:Placment", "has no 'Placment'; did you mean 'Placement'"),
        ("rube.controllers.contract:Input", "cannot be made: TypeError"),
        ("rube.api.keys:ObjectKey", "cannot be made: TypeError"),
        ("collections:OrderedDict", "is no controller: it has no 'name'"),
        (f"{__name__}:Upper", "'Upper' is not a DNS label"),
        (f"{__name__}:Unknown", "'api.systemd.Unti' is not a type of object"),
        (f"{__name__}:NoName", "'acme/Backup' is not a type of object"),
        (f"{__name__}:SeesItself", "is its own type"),
    ],
)
def test_what_is_no_controller_is_refused_with_the_reason(name: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make_controller(name)
    assert says in caught.value.message


def test_two_controllers_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="two controllers are called 'placement'"):
        make_controllers(["placement", "rube.controllers.cluster.placement:Placement"])


class Upper(Placement):
    name = "Upper"


class Unknown(Placement):
    name, type = "unknown", "api.systemd.Unti"


class OwnType(Placement):
    name, type = "own-type", "acme.Backup"


class NoName(Placement):
    name, type = "no-name", "acme/Backup"


class SeesItself(Placement):
    name, type = "sees-itself", "api.Node"
