"""Every unit is in the end as its object says, whatever is killed, cut off or crashed, in any order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rube.api import Service, Unit
from rube.api.errors import RubeError
from rube.sim.world.kernel import World
from rube.units.names import unit_name
from rube.units.render import digest_of
from tests.simulation.node_world import API, NodeWorld, unit, unit_key

NODES = ("worker-1", "worker-2")
NAMES = tuple(f"u{number}" for number in range(5))
ROUNDS = 25
SEEDS = 5


class Chaos:
    """Random acts on a cluster of two nodes; remembers what users were promised."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random("chaos")
        self.nodes = NodeWorld(world)
        self.wanted: dict[str, Unit] = {}
        # Names whose last write had no clear answer.
        self.unclear: set[str] = set()
        self.nodes.start_apiserver()
        for name in NODES:
            self.nodes.start_rubelet(name)
        world.run_for(5)
        for name in NAMES:
            self.put(name)

    def act(self) -> None:
        acts: list[Callable[[], None]] = [
            lambda: self.put(self.random.choice(NAMES)),
            self.delete,
            self.crash_unit,
            self.kill_rubelet,
            self.kill_apiserver,
            self.power_loss,
            self.power_loss,
            self.partition,
            self.remove_by_hand,
        ]
        self.random.choice(acts)()
        self.world.run_for(self.random.choice([0.0, 0.05, 1.0, 7.0, 30.0]))
        self.restart_some(0.6)

    def put(self, name: str) -> None:
        spec = unit(f"/bin/serve --v{self.random.randrange(3)}")
        spec.service.restart = self.random.choice([Service.ALWAYS, Service.NO])
        spec.enabled = self.random.random() < 0.5
        if self.random.random() < 0.25:
            spec.state = Unit.STOPPED
        self._write(name, lambda: self.nodes.put(name, spec, node=""))
        self.wanted[name] = spec

    def delete(self) -> None:
        name = self.random.choice(NAMES)
        self._write(name, lambda: self.nodes.delete(name))
        self.wanted.pop(name, None)

    def _write(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
            self.unclear.discard(name)
        except RubeError as error:
            if error.code != "NOT_FOUND":
                self.unclear.add(name)

    def crash_unit(self) -> None:
        manager = self.nodes.services_of(self.random.choice(NODES))
        manager.crash(unit_name("default", self.random.choice(NAMES)))

    def remove_by_hand(self) -> None:
        manager = self.nodes.services_of(self.random.choice(NODES))
        manager.remove_by_hand(unit_name("default", self.random.choice(NAMES)))

    def kill_rubelet(self) -> None:
        self._kill(self.random.choice(NODES), "rubelet")

    def kill_apiserver(self) -> None:
        self._kill("api-1", "apiserver")

    def _kill(self, host: str, name: str) -> None:
        process = self.nodes.machine(host).host.process(name)
        if process is not None:
            process.kill()

    def power_loss(self) -> None:
        host = self.nodes.machine(self.random.choice([*NODES, *NODES, "api-1"])).host
        if host.powered:
            host.power_off()

    def partition(self) -> None:
        name = self.random.choice(NODES)
        self.nodes.fabric.partition(["api-1"], [name])
        self.world.run_for(self.random.choice([1.0, 12.0, 60.0]))
        self.nodes.fabric.heal_all()

    def restart_some(self, probability: float) -> None:
        for name in ("api-1", *NODES):
            machine = self.nodes.machine(name)
            if self.random.random() >= probability:
                continue
            if not machine.host.powered:
                machine.host.power_on()
            if name == "api-1" and machine.host.process("apiserver") is None:
                self.nodes.start_apiserver()
            elif name != "api-1" and machine.host.process("rubelet") is None:
                self.nodes.start_rubelet(name)

    def check(self) -> None:
        installed = {name: set(self.nodes.services_of(name).names()) for name in NODES}
        for name in NAMES:
            if name in self.unclear:
                continue
            homes = [node for node in NODES if unit_name("default", name) in installed[node]]
            if name not in self.wanted:
                assert homes == [], f"{name} was deleted"
                continue
            obj = self.nodes.get(unit_key(name), API)
            assert homes == [obj.metadata.labels["node"]]
            seen = self.nodes.seen(name, homes[0])
            assert (seen.uid, seen.generation) == (obj.metadata.uid, obj.metadata.generation)
            assert seen.digest == digest_of(self.wanted[name])
            stopped = self.wanted[name].state == Unit.STOPPED
            up = seen.status.active_state == "active"
            assert not (stopped and up)
            if self.wanted[name].service.restart == Service.ALWAYS and not stopped:
                assert up
            status = self.nodes.status(name)
            assert (status.active_state, status.main_pid) == (seen.status.active_state, seen.status.main_pid)
            assert status.observed_generation == obj.metadata.generation


@pytest.mark.parametrize("seed", range(SEEDS))
def test_in_the_end_everything_is_as_its_object_says(seed: int) -> None:
    with World(seed=seed) as world:
        chaos = Chaos(world)
        for _ in range(ROUNDS):
            chaos.act()
        chaos.restart_some(1.0)
        world.run_for(90)
        chaos.check()
