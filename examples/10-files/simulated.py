"""The simulated twin of the driver's directory: its files outlive the rubelet, and a boot of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from driver import Entry
from files import on

from rube.controllers.config import NodeController
from rube.host import Clock
from rube.sim.cluster.daemons import SimNode

CALL_S = 0.002
"""Each call takes so long, half of it before its effect: a kill can come before it and after it."""


class Disk:
    """The files of one machine by path."""

    def __init__(self) -> None:
        self.files: dict[str, Entry] = {}


class SimDirectory:
    """The directory, on a `Disk`."""

    def __init__(self, disk: Disk, clock: Clock) -> None:
        self._files = disk.files
        self._clock = clock

    async def names(self, folder: str) -> Sequence[str]:
        await self._clock.sleep(CALL_S)
        begin = f"{folder}/"
        return sorted(path.removeprefix(begin) for path in self._files if path.startswith(begin))

    async def read(self, path: str) -> Entry | None:
        await self._clock.sleep(CALL_S)
        return self._files.get(path)

    async def write(self, path: str, entry: Entry) -> None:
        await self._clock.sleep(CALL_S / 2)
        self._files[path] = entry
        await self._clock.sleep(CALL_S / 2)

    async def remove(self, path: str) -> None:
        await self._clock.sleep(CALL_S / 2)
        self._files.pop(path, None)
        await self._clock.sleep(CALL_S / 2)


def files(node: SimNode) -> NodeController:
    """Returns the controller of a simulated node."""
    return on(SimDirectory(node.kept(Disk), node.host.clock), node.host.clock, "simulated-files")
