"""Replicated controllers on three hosts of a simulated cluster, with an apiserver and nodes that are only objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rube.api import (
    Fence,
    ListRequest,
    ListResponse,
    Node,
    NodeStatus,
    Object,
    PutRequest,
    PutResponse,
    UpdateStatusRequest,
)
from rube.api.keys import TYPE_URL_PREFIX, key_of
from rube.api.types import pack
from rube.api.well_known import EVENT_TYPE, EVERY_TYPE, NODE_LABEL, UNIT_TYPE
from rube.client import Client, InformerConfig
from rube.controllers.cache import InformerCache
from rube.controllers.cluster.controllers import ClusterControllersConfig
from rube.controllers.cluster.types import node_key
from rube.controllers.contract import Controller
from rube.controllers.replicated import ReplicatedConfig, ReplicatedControllers
from rube.group import Member, MemberConfig
from rube.host import Host
from rube.sim.cluster.controller_group import Forgetful
from rube.sim.world.kernel import SimProcess, World
from tests.simulation.node_world import API, NodeWorld, unit, unit_key

NAMES = "abc"
PORT = 7825
TICK_S = 0.1
ELECTION_S = 0.8
NODES = ("worker-1", "worker-2")
MEMBERS = tuple((name, f"{name}:{PORT}") for name in NAMES)


class ControllersWorld(NodeWorld):
    """Three controller processes `a`, `b`, `c`, of the placement controller and `extra`."""

    def __init__(self, world: World, extra: Sequence[Controller] = (), *, volatile: bool = True) -> None:
        super().__init__(world)
        self.extra = extra
        self.volatile = volatile
        self.parts: dict[str, ReplicatedControllers] = {}
        self.sent: list[PutRequest] = []
        self.start_apiserver(controllers=False)
        world.run_for(0.1)
        self.view: InformerCache | None = None
        self.machine("user").host.spawn("view", self._look)
        for name in NODES:
            self.call(lambda client, name=name: _add_node(client, name))  # type: ignore[misc]

    def start(self, name: str) -> SimProcess:
        machine = self.machine(name)
        ports = replace(machine.ports, storage=Forgetful()) if self.volatile else machine.ports

        async def main() -> None:
            config = ReplicatedConfig(
                member=MemberConfig(
                    name=name,
                    listen=f"0.0.0.0:{PORT}",
                    address=dict(MEMBERS)[name],
                    members=MEMBERS,
                    tick_s=TICK_S,
                    volatile=self.volatile,
                ),
                engine_url="memory:" if self.volatile else "sqlite:///controllers.db",
                controllers=ClusterControllersConfig(
                    names=["placement"], extra=self.extra, strict=True, observer=self.decided.append
                ),
            )
            async with NotingClient(ports, self.sent) as client:
                self.parts[name] = ReplicatedControllers(ports, client, config)
                await self.parts[name].run()

        return machine.host.spawn("controllers", main)

    def start_all(self) -> None:
        for name in NAMES:
            self.start(name)
        self.settle()

    def process(self, name: str) -> SimProcess | None:
        return self.machine(name).host.process("controllers")

    def kill(self, name: str) -> None:
        process = self.process(name)
        assert process is not None
        process.kill()
        self.parts.pop(name)

    def members(self) -> dict[str, Member]:
        """The states of the processes that belong to a group."""
        return {name: part.member for name, part in sorted(self.parts.items()) if part.member is not None}

    @property
    def leader(self) -> str | None:
        """The leader in the highest term that they know."""
        leading = [(member.term, name) for name, member in self.members().items() if member.leads]
        return max(leading)[1] if leading else None

    def is_whole(self) -> bool:
        """True if one group has a leader and three voters, and all of them say so."""
        members = self.members().values()
        leaders = {member.describe().leader for member in members}
        voters = [[peer.id for peer in member.describe().peers if not peer.learner] for member in members]
        ids = sorted(member.id for member in members)
        return (
            len(members) == len(NAMES)
            and 0 not in leaders
            and len(leaders) == 1
            and all(sorted(one) == ids for one in voters)
        )

    def settle(self, timeout_s: float = 60) -> None:
        end_ns = self.world.now_ns + round(timeout_s * 1e9)
        while not self.is_whole():
            assert self.world.now_ns < end_ns, f"there is no whole group after {timeout_s} s"
            self.world.run_for(TICK_S)

    # Faults

    def afflict(self, fault: str, name: str) -> None:
        """Does that to the process of that name, or its host, if it can be done now."""
        host, others = self.machine(name).host, [other for other in NAMES if other != name]
        runs = self.process(name) is not None
        match fault:
            case "kill" if runs and not host.paused:
                self.kill(name)
            case "start" if not runs and not host.paused:
                self.start(name)
            case "stop" if not host.paused:
                host.pause()
            case "go on" if host.paused:
                host.resume()
            case "cut off from peers":
                self.fabric.partition([name], others)
            case "cut off from apiserver":
                self.fabric.partition([name], ["api-1"])
            case "heal":
                self.fabric.heal_all()

    def mend(self) -> None:
        """Undoes all of it."""
        for name in NAMES:
            for fault in ("heal", "go on", "start"):
                self.afflict(fault, name)

    # Units

    def put_fenced(self, name: str, group: str, term: int) -> None:
        """Puts a unit as a leader of that term would."""
        obj = Object(spec=pack(unit()))
        obj.metadata.namespace, obj.metadata.name = "default", name
        fence = Fence(group=group, term=term)
        self.call(lambda client: client.put(PutRequest(objects=[obj], fence=fence)))

    def put_unit(self, name: str) -> None:
        self.put(name, unit(), node="")

    def start_putting(self, name: str) -> None:
        """Begins a `put_unit` while the world stands still."""
        obj = Object(spec=pack(unit()))
        obj.metadata.namespace, obj.metadata.name = "default", name

        async def main() -> None:
            async with Client(self.machine("user").ports, [API]) as client:
                await client.put(PutRequest(objects=[obj]))

        self.machine("user").host.spawn(f"put {name}", main)

    def units(self) -> tuple[dict[str, str], int]:
        """The node of each unit, empty where it has none, and the number of writes that there were: the store's
        revision, without the writes of events, which may be lost or come twice."""

        async def list_all(client: Client) -> ListResponse:
            return await client.list_page(ListRequest(type=EVERY_TYPE))

        page = self.call(list_all)
        nodes = {
            obj.metadata.name: obj.metadata.labels.get(NODE_LABEL, "")
            for obj in page.items
            if key_of(obj).type == UNIT_TYPE
        }
        told = sum(obj.metadata.generation for obj in page.items if key_of(obj).type == EVENT_TYPE)
        return nodes, page.revision - told

    def until_placed(self, name: str, timeout_s: float = 20) -> float:
        """Waits, and gives how many seconds it took."""
        start_ns = self.world.now_ns

        def is_placed() -> bool:
            obj = None if self.view is None else self.view.get(unit_key(name))
            return obj is not None and bool(obj.metadata.labels.get(NODE_LABEL, ""))

        self.world.run_until(is_placed, timeout_s)
        return (self.world.now_ns - start_ns) / 1e9

    async def _look(self) -> None:
        async with Client(self.machine("user").ports, [API]) as client:
            self.view = InformerCache.of(client, self.machine("user").ports, [InformerConfig(type=UNIT_TYPE)])
            await self.view.run()


class NotingClient(Client):
    """Notes what is put, before it is sent."""

    def __init__(self, host: Host, sent: list[PutRequest]) -> None:
        super().__init__(host, [API])
        self._sent = sent

    async def put(self, request: PutRequest, *, deadline_s: float | None = None) -> PutResponse:
        self._sent.append(request)
        return await super().put(request, deadline_s=deadline_s)


async def _add_node(client: Client, name: str) -> None:
    obj = Object(spec=pack(Node()))
    obj.metadata.name = name
    await client.put(PutRequest(objects=[obj]))
    request = UpdateStatusRequest(key=node_key(name).to_proto())
    request.status.Pack(NodeStatus(readiness=NodeStatus.READY), TYPE_URL_PREFIX)
    await client.update_status(request)
