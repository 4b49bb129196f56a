"""A small simulated cluster whose daemons a test starts, kills and starves one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from rube.api import (
    DeleteRequest,
    GetRequest,
    NodeStatus,
    Object,
    PutRequest,
    Unit,
    UnitObservation,
    UnitStatus,
)
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.api.well_known import UNIT_TYPE
from rube.client import Client
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.controllers.cluster.types import node_key
from rube.controllers.config import Decided, NodeController
from rube.controllers.driver import Driver
from rube.host import Host
from rube.rubelet import Rubelet, RubeletConfig
from rube.server import ApiServer, ApiServerConfig
from rube.server.rights.subjects import RightsConfig
from rube.sim.cluster.machines import Machine, make_machine
from rube.sim.units.service_manager import SimServiceDriver, SimServiceManager
from rube.sim.world.kernel import SimHost, SimProcess, World
from rube.sim.world.network import SimFabric
from rube.store import open_store
from rube.units.names import unit_name
from rube.units.node_controller import unit_node_controller
from rube.units.policy import PolicyGate

API = "api-1:7823"
NODE = "worker-1"


class NodeWorld:
    """One apiserver host and any number of nodes. Nothing runs until it is started."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fabric = SimFabric(world)
        self.machines: dict[str, Machine] = {}
        self.services: dict[str, SimServiceManager] = {}
        self.decided: list[Decided] = []
        self.desk = make_machine(world, self.fabric, world.observer)

    def machine(self, name: str) -> Machine:
        if name not in self.machines:
            self.machines[name] = make_machine(self.world, self.fabric, self.world.host(name))
        return self.machines[name]

    # Daemons

    def start_apiserver(self, *, controllers: bool = True, rights: RightsConfig | None = None) -> SimProcess:
        machine = self.machine("api-1")
        return machine.host.spawn(
            "apiserver", lambda: self._serve(machine.ports, controllers=controllers, rights=rights)
        )

    async def _serve(self, host: Host, *, controllers: bool, rights: RightsConfig | None) -> None:
        store = await open_store(host, "sqlite:///store.db")
        server = ApiServer(host, store, ApiServerConfig(listen=("0.0.0.0:7823",), rights=rights))
        await server.start()
        engine = await host.storage.open("sqlite:///controllers.db")
        async with Client(host, [API]) as client:
            if controllers:
                config = ClusterControllersConfig(strict=True, observer=self.decided.append)
                await ClusterControllers(host, client, engine, config).run()
            await asyncio.Event().wait()

    def services_of(self, name: str) -> SimServiceManager:
        return self.services.setdefault(name, SimServiceManager(self.machine(name).host))

    def start_rubelet(
        self,
        name: str = NODE,
        *,
        on: str = "",
        driver: Callable[[Driver], Driver] = lambda driver: driver,
        ports: Callable[[Host], Host] = lambda host: host,
        crash_is_failure: bool = True,
        others: Sequence[NodeController] = (),
        gate: PolicyGate | None = None,
    ) -> SimProcess:
        """The rubelet of node `name`, on the host `on` or the one of that name."""
        host: SimHost = self.machine(on or name).host
        manager = self.services_of(on or name)
        machine = self.machine(on or name)

        async def main() -> None:
            made = ports(machine.ports)
            config = RubeletConfig(
                node=name,
                servers=[API],
                data_url="sqlite:///rubelet.db",
                boot_id=f"boot-{host.boots}",
                listen="0.0.0.0:7824",
                strict=True,
                observer=self.decided.append,
            )
            units = unit_node_controller(
                node=name,
                boot_id=config.boot_id,
                driver=driver(SimServiceDriver(made.clock, manager)),
                driver_name="simulated",
                clock=made.clock,
                gate=gate,
            )
            await Rubelet(made, config, [units, *others]).run()

        return host.spawn("rubelet", main, crash_is_failure=crash_is_failure)

    # What a user does and sees

    def call(self, act: Callable[[Client], Coroutine[Any, Any, Any]], target: str = API) -> Any:
        async def main() -> Any:
            async with Client(self.desk.ports, target.split(",")) as client:
                return await act(client)

        return self.world.run(main, timeout_s=60)

    def put(self, name: str, unit: Unit, node: str = NODE) -> None:
        obj = Object(spec=pack(unit))
        obj.metadata.namespace, obj.metadata.name = "default", name
        if node:
            obj.metadata.labels["node"] = node
        self.call(lambda client: client.put(PutRequest(objects=[obj])))

    def delete(self, name: str) -> None:
        self.call(lambda client: client.delete(DeleteRequest(keys=[unit_key(name).to_proto()])))

    def get(self, key: ObjectKey, target: str = API) -> Object:
        found: Object = self.call(lambda c: c.get(GetRequest(key=key.to_proto())), target).object
        return found

    def status(self, name: str, target: str = API) -> UnitStatus:
        status = UnitStatus()
        self.get(unit_key(name), target).status.Unpack(status)
        return status

    def readiness(self, node: str = NODE) -> int:
        status = NodeStatus()
        self.get(node_key(node)).status.Unpack(status)
        return status.readiness

    def seen(self, name: str, node: str = NODE) -> UnitObservation:
        """The unit as its machine has it."""
        return self.services_of(node).observation(unit_name("default", name))


def unit_key(name: str) -> ObjectKey:
    return ObjectKey(UNIT_TYPE, "default", name)


def unit(start: str = "/bin/serve") -> Unit:
    made = Unit()
    made.service.exec.start.append(start)
    return made
