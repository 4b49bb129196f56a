"""Faults that take more than a switch: a strike in the middle of a write, a lost disk, a change of a group, a restore.

Each method acts now and returns at once; the operator's work after it goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rube.host import Host
from rube.sim.cluster.backups import Shelf, fill, put_back
from rube.sim.cluster.daemons import ApiserverProgram
from rube.sim.cluster.faults import Faults
from rube.sim.cluster.interrupts import Interrupt
from rube.sim.cluster.machines import Machine
from rube.sim.cluster.operators import Operator, joining_url
from rube.store import parse_store_url

Main = Callable[[], Coroutine[Any, Any, object]]


@dataclass(slots=True)
class Disasters:
    """The faults of a scenario beside `Faults`."""

    faults: Faults
    machines: Mapping[str, Machine]
    apiservers: Mapping[str, ApiserverProgram]
    desk: Callable[[], Machine]
    """The host of operators; made when the first one is needed."""
    _shelf: Shelf = field(default_factory=Shelf)
    _armed: dict[str, Interrupt] = field(default_factory=dict)
    # A disk is being replaced: another one lost meanwhile might be one too many.
    _replacing: bool = False
    _tasks: int = 0

    # Power

    def blackout(self, hosts: Sequence[str]) -> None:
        """Takes the power of all of them at the same instant."""
        for host in hosts:
            self.faults.power_off(host)

    def relight(self, hosts: Sequence[str]) -> None:
        """Boots all of them."""
        for host in hosts:
            self.faults.power_on(host)

    # In the middle of a write

    def interrupt(self, host: str, *, power_off: bool, writes: int, after_ns: int) -> None:
        """Kills the host's daemon, or takes its power, so long after its disk's `writes`-th sync from now has begun."""
        strike = self.faults.power_off if power_off else self.faults.kill
        self._armed[host] = Interrupt(self.machines[host], lambda: strike(host), writes=writes, after_ns=after_ns)

    def end_interrupt(self, host: str) -> None:
        """Calls it off, or undoes it."""
        if (armed := self._armed.pop(host, None)) is not None:
            armed.call_off()
        self.faults.power_on(host)
        self.faults.restart(host)

    # A lost disk

    def wipe(self, host: str) -> None:
        """Kills the host's daemon and removes everything on its disk; its units go on."""
        self.faults.kill(host)
        self.machines[host].disk.wipe()

    # A replicated group

    def replace(self, host: str) -> None:
        """The host's disk is lost, and its member with it; an operator lets the group take in one with a new disk.

        Nothing while that is not over for another one: the group must not lose more disks than it can bear.
        """
        if self._replacing:
            return
        self._replacing = True
        self.wipe(host)
        machine, program = self.machines[host], self.apiservers[host]
        machine.held = True

        async def main() -> None:
            operator = self._operator()
            await operator.replace(host)
            program.store_url = joining_url(program.store_url)
            machine.held = False
            self.faults.restart(host)
            await operator.until_votes(host)
            self._replacing = False

        self._start("replace", main)

    async def until_all_vote(self, ports: Host) -> None:
        """Returns once all apiservers that are members of a replicated group have come and vote; asks by `ports`."""
        for name, program in self.apiservers.items():
            if parse_store_url(program.store_url).is_member:
                await self._operator(ports).until_votes(name)

    def transfer(self, host: str) -> None:
        """An operator asks that the member on that host lead."""

        async def main() -> None:
            await self._operator().transfer(host)

        self._start("transfer", main)

    # A backup

    def back_up(self, host: str) -> None:
        """An operator backs up the store of the apiserver on that host, while it runs. One backup is kept."""

        async def main() -> None:
            await fill(self.machines[host].ports, self.apiservers[host].store_url, self._shelf)

        self._start("backup", main, host)

    def restore(self, host: str) -> None:
        """An operator stops the apiserver on that host, removes its store, restores the backup and starts it again.

        Nothing without a backup.
        """
        if not self._shelf.filled:
            return
        url = self.apiservers[host].store_url
        self.faults.kill(host)
        machine = self.machines[host]
        machine.held = True
        machine.disk.wipe(parse_store_url(url).path)

        async def main() -> None:
            try:
                await put_back(machine.ports, url, self._shelf)
            finally:
                machine.held = False
                self.faults.restart(host)

        self._start("restore", main, host)

    # Inside

    def _operator(self, ports: Host | None = None) -> Operator:
        urls = [parse_store_url(program.store_url) for program in self.apiservers.values()]
        members = [(url.option("name"), _address(url.option("name"), url.option("listen"))) for url in urls]
        return Operator(ports or self.desk().ports, members)

    def _start(self, what: str, main: Main, host: str = "") -> None:
        self._tasks += 1
        machine = self.machines[host] if host else self.desk()
        machine.host.spawn(f"{what}-{self._tasks}", main)


def _address(name: str, listen: str) -> str:
    """A member listens on all addresses of its host, which is called as the member is."""
    return f"{name}:{listen.rpartition(':')[2]}"
