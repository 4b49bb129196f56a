"""The shipped SQLite engine in a world: SQLite itself, whose files are on a simulated disk.

Here is what the engine reaches its files by (`rube.store.engines.sqlite_files.Files`), on apsw and a VFS in Python.
The disk with its faults is `rube.sim.world.disk`; which URLs open this engine is `rube.sim.cluster.storage`.
"""

from rube.sim.sqlite.durable import DurableDatabase
from rube.sim.sqlite.files import SimFiles

__all__ = ["DurableDatabase", "SimFiles"]
