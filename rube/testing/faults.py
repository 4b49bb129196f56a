"""The faults of a test's cluster, as methods. Each acts now; with `for_s` it is undone after so much virtual time."""

from __future__ import annotations

from collections.abc import Callable

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.testing.world import TestWorld

LEADER = "leader"
DISK_FAULTS = ("full", "stall", "fail_sync", "fail_write", "fail_read")


class FaultMethods:
    """The part that both faces of a cluster share: its machines and their faults.

    `host` is a name of `hosts`, such as `api-1` or `worker-1`, or `leader`: the member that leads a replicated store.
    """

    def __init__(self, world: TestWorld) -> None:
        self._test = world
        self._faults = world.cluster.faults

    # The network

    def cut(self, host: str, *others: str, one_way: bool = False, for_s: float | None = None) -> None:
        """Cuts a host off from the others that are named, or from all. `one_way`: only what it sends is lost."""
        host, others = self._host(host), tuple(map(self._host, others))
        if not others and not one_way:
            self._do(f"cut off {host}", lambda: self._faults.isolate(host), for_s, lambda: self._faults.rejoin(host))
            return
        sides = [host], others or tuple(name for name in self.hosts if name != host)
        self._do(
            f"cut {host} from {', '.join(sides[1])}{' one way' if one_way else ''}",
            lambda: self._faults.partition(*sides, one_way=one_way),
            for_s,
            lambda: self._faults.unite(*sides),
        )

    def heal(self, host: str = "") -> None:
        """Undoes every cut and slow link of a host; without a name, of all hosts."""
        if host:
            self._do(f"heal {host}", lambda: self._faults.heal(self._host(host)))
        else:
            self._do("heal the network", self._faults.heal_all)

    def heal_everything(self) -> None:
        """Undoes all faults, and starts all that does not run."""
        self._do("heal everything", self._faults.heal_everything)

    def slow(self, host: str, *, latency_s: float, jitter_s: float = 0.0, for_s: float | None = None) -> None:
        """Makes the links of a host to all others slow."""
        host = self._host(host)
        pairs = [(host, other) for other in self.hosts if other != host]
        self._do(
            f"slow links of {host}: {latency_s:g} s",
            lambda: self._faults.slow(pairs, latency_ms=latency_s * 1e3, jitter_ms=jitter_s * 1e3),
            for_s,
            lambda: self._faults.normal_speed(pairs),
        )

    def reset_connections(self, host: str) -> None:
        """Breaks a host's connections; what was in flight is lost."""
        host = self._host(host)
        pairs = [(host, other) for other in self.hosts if other != host]
        self._do(f"reset connections of {host}", lambda: self._faults.reset_connections(pairs))

    # Machines and daemons

    def kill(self, host: str, *, for_s: float | None = None) -> None:
        """kill -9 of the host's daemon, which stays down, or for so long. Units go on."""
        host = self._host(host)
        self._do(f"kill {host}", lambda: self._faults.kill(host), for_s, lambda: self._faults.restart(host))

    def terminate(self, host: str, *, for_s: float | None = None) -> None:
        """SIGTERM to the host's daemon."""
        host = self._host(host)
        self._do(f"terminate {host}", lambda: self._faults.terminate(host), for_s, lambda: self._faults.restart(host))

    def restart(self, host: str) -> None:
        """Starts the host's daemon if it does not run."""
        host = self._host(host)
        self._do(f"restart {host}", lambda: self._faults.restart(host))

    def power_off(self, host: str, *, for_s: float | None = None) -> None:
        """Cuts the host's power: its units end, and what its disk had not synced is lost."""
        host = self._host(host)
        self._do(f"power off {host}", lambda: self._faults.power_off(host), for_s, lambda: self._faults.power_on(host))

    def power_on(self, host: str) -> None:
        host = self._host(host)
        self._do(f"power on {host}", lambda: self._faults.power_on(host))

    def pause(self, host: str, *, for_s: float | None = None) -> None:
        """Stops everything on the host."""
        host = self._host(host)
        self._do(f"pause {host}", lambda: self._faults.pause(host), for_s, lambda: self._faults.resume(host))

    def resume(self, host: str) -> None:
        host = self._host(host)
        self._do(f"resume {host}", lambda: self._faults.resume(host))

    def jump_clock(self, host: str, seconds: float) -> None:
        """Sets the host's wall clock forward or back."""
        host = self._host(host)
        self._do(f"clock of {host} jumps by {seconds:g} s", lambda: self._faults.jump_clock(host, round(seconds * 1e9)))

    def disk(self, host: str, fault: str, *, for_s: float | None = None) -> None:
        """A fault of the host's disk: `full`, `stall`; or `fail_sync`, `fail_write`, `fail_read`, of its next call."""
        host = self._host(host)
        disk = self._faults.disk(host)
        begins: dict[str, Callable[[], object]] = {
            "full": disk.fill,
            "stall": disk.stall,
            "fail_sync": disk.fail_sync,
            "fail_write": disk.fail_writes,
            "fail_read": disk.fail_reads,
        }
        if fault not in begins:
            raise InvalidArgumentError(f"{fault!r} is no fault of a disk; {suggestion(fault, DISK_FAULTS)}")
        ends = {"full": disk.free, "stall": disk.unstall}
        self._do(f"disk of {host}: {fault}", begins[fault], for_s, ends.get(fault, disk.disarm))

    def crash_unit(self, name: str, namespace: str = "default", node: str = "") -> None:
        """The unit's process dies of a signal, on the node that runs it."""
        where = node or self._test.cluster.machine_of(namespace, name)
        if not where:
            raise InvalidArgumentError(f"no node has a unit {namespace}/{name}: wait for it with `eventually`")
        self._do(f"crash {namespace}/{name} on {where}", lambda: self._test.cluster.crash_unit(where, namespace, name))

    # What there is

    @property
    def hosts(self) -> list[str]:
        """The names of all machines."""
        return list(self._test.cluster.hosts)

    @property
    def nodes(self) -> list[str]:
        """Those with a rubelet."""
        return list(self._test.cluster.nodes)

    @property
    def leader(self) -> str:
        """The member that leads a replicated store; "": none does."""
        return self._test.cluster.leader()

    @property
    def seed(self) -> int:
        return self._test.seed

    @property
    def now_s(self) -> float:
        """The virtual time since the world began."""
        return self._test.world.now_ns / 1e9

    @property
    def trace_sha256(self) -> str:
        """The hash of all that has happened: equal runs have equal ones."""
        return self._test.world.trace.digest()

    def unit(self, name: str, namespace: str = "default", node: str = "") -> str:
        """Returns a unit's state as its machine says: `active`, `failed`, …; `absent`: no node has it."""
        return self._test.cluster.look(node, namespace, name)[0]

    def starts(self, name: str, namespace: str = "default") -> int:
        """Returns how often the unit's process was started, on all nodes together."""
        return self._test.cluster.look("", namespace, name)[1]

    def _host(self, name: str) -> str:
        if name == LEADER:
            if not (leading := self._test.cluster.leader()):
                raise InvalidArgumentError("no member leads: wait for it with `eventually(lambda: cluster.leader)`")
            return leading
        if name not in self.hosts:
            raise InvalidArgumentError(f"there is no host {name!r}; {suggestion(name, self.hosts)}")
        return name

    def _do(
        self,
        what: str,
        act: Callable[[], object],
        for_s: float | None = None,
        undo: Callable[[], object] | None = None,
    ) -> None:
        world, diary = self._test.world, self._test.diary
        diary.tell(world.now_ns, what if for_s is None else f"{what}, for {for_s:g} s")
        world.outside(act)
        if for_s is not None and undo is not None:

            def end() -> None:
                diary.tell(world.now_ns, f"over: {what}")
                undo()

            world.loop.after_ns(round(for_s * 1e9), world.outside, end)
