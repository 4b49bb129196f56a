"""The machines of a simulated cluster: a host with its ports, its disk and the daemon that it is for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from rube.host import Host
from rube.sim.cluster.durability import DurablePairs, DurableView
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import Death, SimHost, SimProcess, World
from rube.sim.world.network import SimFabric, SimNetwork, Tap
from rube.store.engines.sqlite_files import Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A program that a machine starts at boot: `main` runs until it is cancelled."""

    name: str
    main: Callable[[], Coroutine[Any, Any, object]]
    restart_s: float | None = None
    """One that ends by itself starts again after so long, as a service manager does; None: it stays down."""


@dataclass(slots=True)
class Machine:
    """A simulated host and its parts."""

    host: SimHost
    ports: Host
    disk: SimDisk
    sqlite: bool = False
    """`sqlite:` URLs open SQLite there; otherwise the memory engine."""
    daemon: Daemon | None = None
    stopping: SimProcess | None = None
    """The incarnation that was asked to stop and not yet to start again."""
    held: bool = False
    """An operator works on the machine: its daemon must not start."""

    def durable_view(self, path: str) -> DurableView:
        """Returns the durable part of the `sqlite:` store at that path on its disk."""
        if not self.sqlite:
            return DurablePairs(self.disk, path)
        from rube.sim.sqlite import DurableDatabase

        return DurableDatabase(self.disk, path)

    @property
    def running(self) -> bool:
        """True while its daemon runs."""
        return self.daemon is not None and self.host.process(self.daemon.name) is not None

    def start(self) -> None:
        """Starts the daemon if it does not run; one that is being stopped starts again once it has ended.

        Nothing on a host without power.
        """
        if self.daemon is None or self.held or not self.host.powered:
            return
        process = self.host.process(self.daemon.name)
        if process is None:
            self.host.spawn(self.daemon.name, self.daemon.main).on_death(self._died)
        elif process is self.stopping:
            self.stopping = None
            process.on_death(lambda _process, _death: self._start_soon())

    def _start_soon(self, delay_s: float = 0.0) -> None:
        self.host.loop.after_ns(round(delay_s * 1e9), self.host.world.outside, self.start)

    def _died(self, process: SimProcess, death: Death) -> None:
        if self.daemon is None or self.daemon.restart_s is None:
            return
        if death is Death.EXIT and process is not self.stopping:
            self._start_soon(self.daemon.restart_s)

    def kill(self) -> None:
        """kill -9 of the daemon."""
        if self.daemon is not None and (process := self.host.process(self.daemon.name)) is not None:
            process.kill()

    def terminate(self) -> None:
        """SIGTERM to the daemon, which may take its time."""
        if self.daemon is not None and (process := self.host.process(self.daemon.name)) is not None:
            self.stopping = process
            process.stop()


def make_machine(
    world: World, fabric: SimFabric, host: SimHost, tap: Tap | None = None, *, sqlite: bool = False
) -> Machine:
    """A machine around a host of this world. `tap` observes its calls; `sqlite`: see Machine."""
    disk = SimDisk(host)
    ports = Host(
        name=host.name,
        clock=host.clock,
        network=SimNetwork(fabric, host, tap=tap),
        storage=SimStorage(disk, _sqlite_files(disk, world) if sqlite else None),
        random=host.random,
    )
    return Machine(host, ports, disk, sqlite)


def _sqlite_files(disk: SimDisk, world: World) -> Files:
    from rube.sim.sqlite import SimFiles  # needs a package that nothing else does

    return SimFiles(disk, world)
