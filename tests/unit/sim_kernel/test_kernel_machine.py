"""A Hypothesis state machine drives a world step by step; what it did, done again, gives the same trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rube.sim.world.kernel import SimHost, World
from rube.sim.world.kernel.hostclock import seconds_to_ns

HOSTS = st.sampled_from(["a", "b", "c"])
Command = tuple[str, tuple[int | str | float, ...]]


class Cluster:
    """Three hosts under command. Each process of theirs wakes again and again and checks what must hold."""

    def __init__(self, seed: int, *, tie_break: bool) -> None:
        self.world = World(seed, tie_break=tie_break)
        self.wakes = 0
        for number, name in enumerate("abc"):
            self.world.host(name, drift_ppm=40_000 * number - 50_000)

    def apply(self, command: Command) -> None:
        """Carry out one command of the machine."""
        verb, arguments = command
        if verb == "run_for":
            self.world.run_for(*arguments)  # type: ignore[arg-type]
            return
        name, *rest = arguments
        host = self.world.host(str(name))
        if verb == "spawn":
            self._spawn(host)
        elif verb == "kill":
            host.processes[-1].kill()
        elif verb == "stop":
            host.processes[0].stop()
        else:
            getattr(host, verb)(*rest)

    def _spawn(self, host: SimHost) -> None:
        name = f"p{len(host.processes)}"
        if host.process(name) is None:
            process = host.spawn(name, lambda: self._beat(host, lambda: process.alive))

    async def _beat(self, host: SimHost, alive: Callable[[], bool]) -> None:
        random = host.random.stream("beat")
        boot = host.boots

        async def wake() -> None:
            delay_s = random.choice([0.0, 0.1, 0.5, random.random()])
            deadline_ns = host.clock.monotonic_ns() + seconds_to_ns(delay_s)
            await host.clock.sleep(delay_s)
            assert alive(), "a dead process ran"
            assert not host.paused, "a paused host ran something"
            assert (host.powered, host.boots) == (True, boot), "a process outlived its boot"
            assert host.clock.monotonic_ns() >= deadline_ns, "a timer fired early"
            self.wakes += 1
            self.world.trace.add("wake", host.name, host.clock.now_ns())

        while True:
            async with asyncio.timeout(100), asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(wake())
            await host.clock.sleep(0.01)


class WorldMachine(RuleBasedStateMachine):
    """Does to a world what a scenario may do; at the end does it all again in another world."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Command] = []
        self.cluster = Cluster(5, tie_break=True)

    def teardown(self) -> None:
        digest = self.cluster.world.trace.digest()
        self.cluster.world.close()
        again = Cluster(5, tie_break=True)
        for command in self.done:
            again.apply(command)
        assert (again.world.trace.digest(), again.wakes) == (digest, self.cluster.wakes)
        again.world.close()

    def do(self, verb: str, *arguments: int | str | float) -> None:
        """Carry out a command and remember it."""
        self.done.append((verb, arguments))
        self.cluster.apply((verb, arguments))

    def host(self, name: str) -> SimHost:
        """Returns a host to ask about its state."""
        return self.cluster.world.host(name)

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 3.0]))
    def let_time_pass(self, seconds: float) -> None:
        before = self.cluster.world.now_ns
        self.do("run_for", seconds)
        assert self.cluster.world.now_ns == before + round(seconds * 10**9)

    @rule(name=HOSTS)
    def spawn(self, name: str) -> None:
        if self.host(name).powered:
            self.do("spawn", name)

    @rule(name=HOSTS, verb=st.sampled_from(["kill", "stop"]))
    def end(self, name: str, verb: str) -> None:
        if self.host(name).processes:
            self.do(verb, name)

    @rule(name=HOSTS, verb=st.sampled_from(["power_on", "power_off"]))
    def switch(self, name: str, verb: str) -> None:
        self.do(verb, name)

    @precondition(lambda self: any(host.powered for host in self.cluster.world.hosts))
    @rule(name=HOSTS, verb=st.sampled_from(["pause", "resume"]))
    def hold(self, name: str, verb: str) -> None:
        if self.host(name).powered:
            self.do(verb, name)

    @rule(name=HOSTS, ppm=st.integers(-400_000, 400_000))
    def drift(self, name: str, ppm: int) -> None:
        self.do("set_drift", name, ppm)

    @rule(name=HOSTS, delta_ns=st.integers(0, 10**10), verb=st.sampled_from(["jump_clock", "jump_monotonic"]))
    def jump(self, name: str, delta_ns: int, verb: str) -> None:
        self.do(verb, name, delta_ns)

    @invariant()
    def only_living_processes_are_listed(self) -> None:
        for host in self.cluster.world.hosts:
            assert all(process.alive for process in host.processes)
            assert host.powered or not host.processes


TestWorldMachine = WorldMachine.TestCase
TestWorldMachine.settings = settings(max_examples=25, stateful_step_count=25)
