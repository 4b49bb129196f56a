"""Engines: durable ordered bytes (`rube.host.Engine`), without versions and objects.

Three engines, each in the module of its name, with helpers whose names begin with it: `memory` (on a log that `image`
lays out), `sqlite` and `rocksdb`. `acknowledged`, `private_files` and `room` are for all. A `*_wreck` reads the remains
of a damaged one, for `rube store salvage`.
"""

from __future__ import annotations

from rube.store.engines.memory import Disk, LogFile, MemoryEngine, MemoryWreck, VolatileDisk
from rube.store.engines.sqlite import SqliteEngine

__all__ = ["Disk", "LogFile", "MemoryEngine", "MemoryWreck", "SqliteEngine", "VolatileDisk"]
