"""Engines: durable ordered bytes (`rube.host.Engine`), without versions and objects."""

from __future__ import annotations

from rube.store.engines.memory import Disk, LogFile, MemoryEngine, MemoryWreck, VolatileDisk
from rube.store.engines.sqlite import SqliteEngine

__all__ = ["Disk", "LogFile", "MemoryEngine", "MemoryWreck", "SqliteEngine", "VolatileDisk"]
