"""Simulated disks: files that survive kill -9, and lose unsynced data when their host loses power.

Two kinds of files. A log (`log`) grows at its end; its syncs are awaited. A file of pages (`pages`, and `page_file` as
a process has it open) is written at any offset by code that does not await, such as a database's: on an executor its
call of a sync returns at once, and the whole takes longer (`SimLoop.spend`). The sync is durable when its own time has
passed; should power be lost before, it is not, and nothing has happened that the same function did after it.

`SimDisk` (`disk`) is what engines use and where faults are switched; it keeps its files in `names` and what is under
way in `syncs`. Which bytes a loss of power leaves is decided in `log` and `pages`.
"""

from __future__ import annotations

from rube.sim.world.disk.disk import SYNC_LATENCY_NS, DiskCall, SimDisk

__all__ = ["SYNC_LATENCY_NS", "DiskCall", "SimDisk"]
