"""The machines of a simulated cluster: a host with its ports, its disk and the daemon that it is for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from rube.host import Host
from rube.sim.disk import SimDisk, SimStorage
from rube.sim.kernel import SimHost, World
from rube.sim.network import SimFabric


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A program that a machine starts at boot: `main` runs until it is cancelled."""

    name: str
    main: Callable[[], Coroutine[Any, Any, object]]


@dataclass(slots=True)
class Machine:
    """A simulated host and what it was given."""

    host: SimHost
    ports: Host
    disk: SimDisk
    daemon: Daemon | None = None

    @property
    def running(self) -> bool:
        """Whether its daemon runs."""
        return self.daemon is not None and self.host.process(self.daemon.name) is not None

    def start(self) -> None:
        """Starts the daemon, if there is one and it does not run yet. Nothing on a host without power."""
        if self.daemon is not None and self.host.powered and not self.running:
            self.host.spawn(self.daemon.name, self.daemon.main)

    def kill(self) -> None:
        """kill -9 of the daemon."""
        if self.daemon is not None and (process := self.host.process(self.daemon.name)) is not None:
            process.kill()

    def terminate(self) -> None:
        """SIGTERM to the daemon."""
        if self.daemon is not None and (process := self.host.process(self.daemon.name)) is not None:
            process.stop()


def make_machine(world: World, fabric: SimFabric, host: SimHost) -> Machine:
    """A machine around a host of this world."""
    disk = SimDisk(host)
    ports = Host(
        name=host.name,
        clock=host.clock,
        network=fabric.network(host),
        storage=SimStorage(disk),
        random=host.random,
    )
    return Machine(host, ports, disk)
