"""SimHost: a simulated machine. Processes come and go on it; its clock and its power are its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.errors import HostStateError
from rube.sim.world.kernel.hostclock import HostClock
from rube.sim.world.kernel.process import PAUSED, Death, Main, SimProcess
from rube.sim.world.kernel.streams import HostRandomness

if TYPE_CHECKING:
    from rube.sim.world.kernel.loop import SimLoop
    from rube.sim.world.kernel.world import World

PowerHook = Callable[["SimHost"], None]


class SimClock:
    """The Clock port over one host's clock. Every call is refused to a dead incarnation (ProcessFenced)."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def now_ns(self) -> int:
        """Returns the wall clock in nanoseconds since 1970. It drifts and jumps."""
        _check_caller()
        return self._host.hostclock.wall_ns(self._host.loop.now_ns)

    def monotonic_ns(self) -> int:
        """Returns the monotonic clock in nanoseconds since some instant before the world began. It drifts."""
        _check_caller()
        return self._host.hostclock.monotonic_ns(self._host.loop.now_ns)

    async def sleep(self, delay_s: float) -> None:
        """Waits until at least `delay_s` seconds have passed on the calling process's host."""
        _check_caller()
        await asyncio.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Returns a context manager that raises TimeoutError after `delay_s` seconds on the calling process's host."""
        _check_caller()
        return asyncio.timeout(delay_s)


class SimHost:
    """A machine of a World, made by `World.host`. Its name is unique in the world."""

    def __init__(self, world: World, name: str, clock: HostClock) -> None:
        self.world = world
        self.name = name
        self.hostclock = clock
        self.loop: SimLoop = world.loop
        self.clock = SimClock(self)
        """The Clock port that components on this host are given."""
        self.random = HostRandomness(world.streams, name)
        """The Randomness port that components on this host are given."""
        self.powered = True
        self.paused = False
        self.boots = 1
        """How often the machine was switched on: a boot id."""
        self._processes: list[SimProcess] = []
        self._incarnations: dict[str, int] = {}
        self._power_off_hooks: list[PowerHook] = []

    def __repr__(self) -> str:
        return f"<SimHost {self.name}>"

    @property
    def processes(self) -> tuple[SimProcess, ...]:
        """The living processes in the order of their start."""
        return tuple(self._processes)

    def process(self, name: str) -> SimProcess | None:
        """Returns the living process called `name`, or None."""
        return next((process for process in self._processes if process.name == name), None)

    def spawn(self, name: str, main: Main, *, crash_is_failure: bool = True) -> SimProcess:
        """Starts a new incarnation of process `name`, whose first task awaits `main()`.

        The process ends when main does; its other tasks are then cancelled, as asyncio.run does. An exception out
        of main ends it with returncode 1, and is raised by the World as unhandled unless `crash_is_failure` is
        False. Raises HostStateError if the host is off or `name` is alive here.
        """
        if not self.powered:
            raise HostStateError(f"host {self.name} is off: power_on() before starting {name}")
        if self.process(name) is not None:
            raise HostStateError(f"{name} already runs on host {self.name}: kill or stop it first")
        incarnation = self._incarnations[name] = self._incarnations.get(name, 0) + 1
        process = SimProcess(self, name, incarnation, self.world.next_process_index())
        process.crash_is_failure = crash_is_failure
        self._processes.append(process)
        self.world.trace.add("start", self.name, name, incarnation)
        process.start(main)
        if self.paused:
            process.gate = PAUSED
        return process

    def on_power_off(self, hook: PowerHook) -> None:
        """Calls `hook(host)` at every power loss, after the processes' own hooks: for disks and links."""
        self._power_off_hooks.append(hook)

    def power_off(self) -> None:
        """Loses power: every process is dead at once and no peer hears of it. Idempotent."""
        if not self.powered:
            return
        self.powered = False
        self.paused = False
        self.world.trace.add("power-off", self.name)
        self.bury(self._processes, Death.POWER_LOSS)
        for hook in self._power_off_hooks:
            hook(self)

    def power_on(self) -> None:
        """Boots: the monotonic clock starts again, the wall clock went on. Nothing is spawned. Idempotent."""
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self.hostclock.reboot(self.loop.now_ns)
        self.world.trace.add("power-on", self.name)

    def pause(self) -> None:
        """Stops everything on the host as SIGSTOP does, until `resume`. Its clock goes on. Idempotent.

        Timers that come due and messages that arrive wait; on resume they run late, in their order.
        """
        self._require_power("pause")
        if not self.paused:
            self.paused = True
            self.world.trace.add("pause", self.name)
            for process in self._processes:
                process.pause()

    def resume(self) -> None:
        """Lets the host go on after `pause`. Idempotent."""
        self._require_power("resume")
        if self.paused:
            self.paused = False
            self.world.trace.add("resume", self.name)
            for process in self._processes:
                process.resume()

    def jump_clock(self, delta_ns: int) -> None:
        """Steps the wall clock by `delta_ns`, either way, as NTP or an operator may. Timers don't notice."""
        self.hostclock.step_wall(delta_ns)
        self.world.trace.add("clock-jump", self.name, delta_ns)

    def jump_monotonic(self, delta_ns: int) -> None:
        """Steps both clocks forward, as after a virtual machine's suspension: timers within the step fire now."""
        self.hostclock.step_monotonic(delta_ns)
        self.loop.clock_changed(self.hostclock)
        self.world.trace.add("monotonic-jump", self.name, delta_ns)

    def set_drift(self, ppm: int) -> None:
        """Lets both clocks run `ppm` parts per million fast (slow if negative) from now on, for set timers too."""
        self.hostclock.set_drift(self.loop.now_ns, ppm)
        self.loop.clock_changed(self.hostclock)
        self.world.trace.add("clock-drift", self.name, ppm)

    def bury(self, processes: list[SimProcess], death: Death) -> None:
        """Ends processes: fences all of them first, so that no hook meets a half-dead host; for the kernel."""
        dying = [process for process in processes if process.alive]
        for process in dying:
            process.fence(death)
        self.loop.keep_dead(self.loop.tasks_of(dying))
        self._processes = [process for process in self._processes if process.alive]
        for process in dying:
            self.world.trace.add("end", self.name, process.name, process.incarnation, death.value)
            self.world.outside(process.run_hooks, death)

    def _require_power(self, verb: str) -> None:
        if not self.powered:
            raise HostStateError(f"host {self.name} is off: cannot {verb} it")


def _check_caller() -> None:
    process = CURRENT.get(None)
    if process is not None:
        process.check_alive()
