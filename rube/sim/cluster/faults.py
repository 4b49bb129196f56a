"""The faults of a simulated cluster, by the names of its hosts. Each method acts now and returns at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rube.sim.cluster.machines import Machine
from rube.sim.judges import Cut, History
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.sim.world.network import Link, SimFabric

Pairs = Iterable[tuple[str, str]]


class Faults:
    """The faults of a scenario. Records which hosts are cut off, for the judges."""

    def __init__(
        self, world: World, fabric: SimFabric, machines: Mapping[str, Machine], history: History, link: Link
    ) -> None:
        self._world = world
        self._fabric = fabric
        self._machines = machines
        self._history = history
        self._link = link
        self._cut_since_ns: dict[str, int] = {}
        self._slowed: dict[tuple[str, str], None] = {}

    # The network

    def isolate(self, host: str) -> None:
        """Cuts a host off from all others."""
        self._fabric.isolate(host)
        self._account()

    def rejoin(self, host: str) -> None:
        """Undoes `isolate`; partitions and slow links stay."""
        self._fabric.rejoin(host)
        self._account()

    def partition(self, side_a: Iterable[str], side_b: Iterable[str], *, one_way: bool = False) -> None:
        """Lets nothing pass between two groups; `one_way`: from the first to the second."""
        self._fabric.partition(side_a, side_b, one_way=one_way)
        self._account()

    def unite(self, side_a: Iterable[str], side_b: Iterable[str]) -> None:
        """Undoes `partition`; a host that is isolated too stays so."""
        self._fabric.unite(side_a, side_b)
        self._account()

    def heal(self, host: str) -> None:
        """Undoes `isolate`, every partition and every slow link of a host."""
        self._fabric.heal([host])
        self.normal_speed([pair for pair in self._slowed if host in pair])
        self._account()

    def heal_all(self) -> None:
        """Undoes every isolation, partition and slow link."""
        self._fabric.heal_all()
        self.normal_speed(list(self._slowed))
        self._account()

    def is_cut_off(self, host: str) -> bool:
        """Returns whether a host reaches no apiserver but itself; for the only apiserver: whether it reaches no
        host."""
        servers = [name for name, machine in self._machines.items() if name != host and _is_apiserver(machine)]
        others = servers or [name for name in self._machines if name != host]
        return bool(others) and not any(self._fabric.reach(host, other) for other in others)

    def slow(self, pairs: Pairs, *, latency_ms: float, jitter_ms: float) -> None:
        for a, b in pairs:
            self._slowed[a, b] = None
            self._fabric.set_link(a, b, latency_ms=latency_ms, jitter_ms=jitter_ms)

    def normal_speed(self, pairs: Pairs) -> None:
        """Undoes `slow` where it was done."""
        for a, b in pairs:
            if (a, b) in self._slowed:
                del self._slowed[a, b]
                self._fabric.set_link(a, b, latency_ms=self._link.latency_ms, jitter_ms=self._link.jitter_ms)

    def reset_connections(self, pairs: Pairs) -> None:
        """Breaks the connections; bytes in flight are lost."""
        for a, b in pairs:
            self._fabric.reset_connections(a, b)

    def clog(self, pairs: Pairs, seconds: float) -> None:
        """Holds everything back for a while and loses nothing."""
        for a, b in pairs:
            self._fabric.clog(a, b, seconds)

    # Machines and daemons

    def kill(self, host: str) -> None:
        """kill -9 of the host's daemon. Its units go on. Nothing if it does not run."""
        self._machines[host].kill()

    def terminate(self, host: str) -> None:
        """SIGTERM to the host's daemon, which may take its time."""
        self._machines[host].terminate()

    def restart(self, host: str) -> None:
        """Starts the host's daemon if it does not run."""
        self._machines[host].start()

    def power_off(self, host: str) -> None:
        """Cuts the host's power: its units end, and data that it had not synced is lost."""
        if self._machines[host].host.powered:
            self._history.machines.outages.append((self._world.now_ns, host))
        self._machines[host].host.power_off()

    def power_on(self, host: str) -> None:
        """The host boots and starts its daemon."""
        self._machines[host].host.power_on()
        self._machines[host].start()

    def pause(self, host: str) -> None:
        """Stops everything on the host. Nothing if it has no power."""
        if self._machines[host].host.powered:
            self._machines[host].host.pause()

    def resume(self, host: str) -> None:
        """Undoes `pause`. Nothing if the host has no power."""
        if self._machines[host].host.powered:
            self._machines[host].host.resume()

    def jump_clock(self, host: str, by_ns: int) -> None:
        """Sets the host's wall clock forward or back."""
        self._machines[host].host.jump_clock(by_ns)

    def disk(self, host: str) -> SimDisk:
        """The host's disk, which has faults of its own."""
        return self._machines[host].disk

    def heal_everything(self) -> None:
        """No partition is left, every machine has power and runs, every daemon too."""
        self.heal_all()
        for name, machine in self._machines.items():
            machine.disk.free()
            machine.disk.unstall()
            machine.disk.disarm()
            if not machine.host.powered:
                self.power_on(name)
            if machine.host.paused:
                self.resume(name)
            machine.start()

    def conclude(self) -> None:
        """Notes the cuts that last to the end."""
        for host in list(self._cut_since_ns):
            self._note_cut(host)

    def _account(self) -> None:
        """Keeps account of the hosts that are cut off, after a change."""
        for host in self._machines:
            if self.is_cut_off(host):
                self._cut_since_ns.setdefault(host, self._world.now_ns)
            elif host in self._cut_since_ns:
                self._note_cut(host)

    def _note_cut(self, host: str) -> None:
        start_ns = self._cut_since_ns.pop(host)
        self._history.cuts.append(Cut(host=host, start_ns=start_ns, end_ns=self._world.now_ns))


def _is_apiserver(machine: Machine) -> bool:
    return machine.daemon is not None and machine.daemon.name == "apiserver"
