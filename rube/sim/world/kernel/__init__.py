"""The simulation kernel: time, hosts, processes and determinism; no network, no disks, no scenarios.

A World holds hosts; a host holds processes, one incarnation each; a process holds tasks. All run on one SimLoop, an
asyncio event loop whose time is a SimPy environment. What simulates a device (network, disk, service manager) is
built on top of this package with `World.loop.after_ns`, `SimProcess.on_death` and `Trace.add`.
"""

from __future__ import annotations

from rube.sim.world.kernel.context import current_host, current_process, in_process
from rube.sim.world.kernel.errors import (
    DeadlockError,
    EntropyError,
    HostStateError,
    LivelockError,
    ProcessDiedError,
    ProcessFenced,
    RunTimeoutError,
    SimulatedIOError,
    SimulationError,
    SimulationFailures,
    WorldClosedError,
    describe,
)
from rube.sim.world.kernel.guards import lifted
from rube.sim.world.kernel.host import SimClock, SimHost
from rube.sim.world.kernel.loop import SimLoop
from rube.sim.world.kernel.process import Death, SimProcess
from rube.sim.world.kernel.trace import Trace, TraceRecord
from rube.sim.world.kernel.world import World

__all__ = [
    "DeadlockError",
    "Death",
    "EntropyError",
    "HostStateError",
    "LivelockError",
    "ProcessDiedError",
    "ProcessFenced",
    "RunTimeoutError",
    "SimClock",
    "SimHost",
    "SimLoop",
    "SimProcess",
    "SimulatedIOError",
    "SimulationError",
    "SimulationFailures",
    "Trace",
    "TraceRecord",
    "World",
    "WorldClosedError",
    "current_host",
    "current_process",
    "describe",
    "in_process",
    "lifted",
]
