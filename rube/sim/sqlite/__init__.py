"""The shipped SQLite engine in a world: SQLite itself, with its files on a simulated disk.

This package implements the engine's port to files (`rube.store.engines.sqlite_files.Files`), on apsw and a VFS in
Python. The disk with its faults is `rube.sim.world.disk`; `rube.sim.cluster.storage` decides which URLs open this
engine.
"""

from __future__ import annotations

from rube.sim.sqlite.durable import DurableDatabase
from rube.sim.sqlite.files import SimFiles

__all__ = ["DurableDatabase", "SimFiles"]
