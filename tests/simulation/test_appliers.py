"""Two appliers and an operator write one object through two apiservers, while the network is cut and servers die."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rube.api import (
    ApplyRequest,
    GetRequest,
    Key,
    Metadata,
    Object,
    PatchRequest,
    Precondition,
    Service,
    Unit,
)
from rube.api.errors import AbortedError, NotFoundError, RubeError
from rube.api.times import NS_PER_S
from rube.api.types import BUILTIN, pack
from rube.client import Client, ClientConfig
from rube.host import Host
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World

APPLIERS = ("alice", "bob")
ROUNDS = 60
KEY = Key(type="api.systemd.Unit", namespace="system", name="shared")
CLIENT = ClientConfig(deadline_s=4, attempt_s_max=1, retries_max=3)


@dataclass
class Seen:
    """The rounds whose apply was acknowledged, and those that were begun, by owner."""

    done: dict[str, int] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def check(self, obj: Object, acknowledged: dict[str, int]) -> None:
        """Notes where an object lacks what was acknowledged before it was read, or has what was never asked for."""
        spec = BUILTIN.unpack(obj.spec)
        assert isinstance(spec, Unit)
        for owner, done in acknowledged.items():
            for text in (obj.metadata.labels.get(owner), spec.service.environment.get(owner)):
                if text is None or int(text) < done:
                    self.problems.append(f"round {done} of {owner} was acknowledged, and the object has {text}")
                elif int(text) > self.begun[owner]:
                    self.problems.append(f"{owner} has {text}, and began only {self.begun[owner]}")


def wanted(owner: str, number: int) -> Object:
    """One environment variable and one label of each owner; the command is the same and shared."""
    spec = Unit(service=Service(exec=Service.Exec(start=["/bin/true"]), environment={owner: str(number)}))
    return Object(
        metadata=Metadata(namespace=KEY.namespace, name=KEY.name, labels={owner: str(number)}), spec=pack(spec)
    )


async def apply_rounds(host: Host, servers: list[str], owner: str, seen: Seen) -> None:
    """Applies round after round, each until it is acknowledged, on the object as it was read: a late attempt of an
    earlier round does nothing then."""
    async with Client(host, servers, CLIENT) as client:
        for number in range(1, ROUNDS + 1):
            seen.begun[owner] = number
            request = ApplyRequest(objects=[wanted(owner, number)], owner=owner)
            while True:
                try:
                    del request.preconditions[:]
                    request.preconditions.append(await as_read(client))
                    await client.apply(request)
                    break
                except AbortedError:
                    pass
                except RubeError:
                    await host.clock.sleep(0.3)
            seen.done[owner] = number
            await host.clock.sleep(0.02)


async def as_read(client: Client) -> Precondition:
    try:
        return Precondition(revision=(await client.get(GetRequest(key=KEY))).object.metadata.revision)
    except NotFoundError:
        return Precondition(absent=True)


async def patch_rounds(host: Host, servers: list[str], seen: Seen) -> None:
    async with Client(host, servers, CLIENT) as client:
        while seen.done.keys() < set(APPLIERS) or min(seen.done.values()) < ROUNDS:
            given = Object(
                metadata=Metadata(namespace=KEY.namespace, name=KEY.name), spec=pack(Unit(description="by hand"))
            )
            request = PatchRequest(object=given, owner="operator")
            request.update_mask.paths.append("spec.description")
            try:
                await client.patch(request)
            except RubeError:
                pass
            await host.clock.sleep(0.1)


async def read_rounds(host: Host, servers: list[str], seen: Seen) -> None:
    async with Client(host, servers, CLIENT) as client:
        while seen.done.keys() < set(APPLIERS) or min(seen.done.values()) < ROUNDS:
            acknowledged = dict(seen.done)
            try:
                seen.check((await client.get(GetRequest(key=KEY))).object, acknowledged)
            except NotFoundError:
                if acknowledged:
                    seen.problems.append(f"{acknowledged} were acknowledged, and there is no object")
            except RubeError:
                pass
            await host.clock.sleep(0.02)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_field_is_lost_to_cuts_and_crashes(seed: int) -> None:
    with World(seed=seed) as world:
        cluster = SimCluster(world)
        store_url = cluster.add_etcd(("etcd-1", "etcd-2", "etcd-3"))
        for name in ("api-1", "api-2"):
            cluster.add_apiserver(name, store=store_url, controllers=None)
        servers = [f"{name}:7823" for name in ("api-1", "api-2")]
        seen = Seen()
        hosts = {
            name: make_machine(world, cluster.fabric, world.host(name)) for name in (*APPLIERS, "operator", "reader")
        }
        world.run_for(3)
        for index, owner in enumerate(APPLIERS):
            hosts[owner].host.spawn(
                owner,
                lambda owner=owner, index=index: apply_rounds(  # type: ignore[misc]
                    hosts[owner].ports, servers[index:] + servers[:index], owner, seen
                ),
            )
        hosts["operator"].host.spawn("operator", lambda: patch_rounds(hosts["operator"].ports, servers, seen))
        hosts["reader"].host.spawn("reader", lambda: read_rounds(hosts["reader"].ports, servers[::-1], seen))
        stream = world.random("faults")
        while seen.done.keys() < set(APPLIERS) or min(seen.done.values()) < ROUNDS:
            assert world.now_ns < 300 * NS_PER_S, f"{seen.done} within 300 s"
            fault = stream.choice(("cut", "cut", "reset", "kill", "etcd"))
            server = stream.choice(("api-1", "api-2"))
            if fault == "cut":
                cluster.faults.partition([stream.choice(APPLIERS)], [server])
                world.run_for(stream.uniform(0.2, 3))
                cluster.faults.heal_all()
            elif fault == "etcd":
                cluster.faults.partition([server], [f"etcd-{stream.randint(1, 3)}"])
                world.run_for(stream.uniform(0.2, 2))
                cluster.faults.heal_all()
            elif fault == "kill":
                cluster.faults.kill(server)
                world.run_for(stream.uniform(0.1, 1))
                cluster.faults.restart(server)
            else:
                cluster.faults.reset_connections([(stream.choice(APPLIERS), server)])
            world.run_for(stream.uniform(0.1, 1))
        world.run_for(3)
        assert seen.problems == []
        assert seen.done == dict.fromkeys(APPLIERS, ROUNDS)

        async def last() -> None:
            async with Client(hosts["reader"].ports, servers, CLIENT) as client:
                found = await client.get(GetRequest(key=KEY, include_owners=True))
            spec = BUILTIN.unpack(found.object.spec)
            assert isinstance(spec, Unit)
            assert sorted(spec.service.environment) == sorted(found.object.metadata.labels) == sorted(APPLIERS)
            assert spec.description == "by hand"
            owners = {item.owner: set(item.fields) for item in found.owners.items}
            assert sorted(owners) == [*APPLIERS, "operator"]
            for owner in APPLIERS:
                assert owners[owner] == {
                    f"metadata.labels.{owner}",
                    "spec.service",
                    "spec.service.exec",
                    "spec.service.exec.start",
                    f"spec.service.environment.{owner}",
                }

        world.run(last, host=hosts["reader"].host)
