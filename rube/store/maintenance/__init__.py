"""The maintenance of a store's data: backup, restore, verify, migrate, salvage.

This package has the parts that are the same for every kind of store, over `rube.store.backends`; the backup file's
format (pure) and files (an adapter). Each store reads, fills and checks itself.
"""

from __future__ import annotations

from rube.store.maintenance.copy import Copied, back_up, migrate, restore
from rube.store.maintenance.files import BackupSource, BackupTarget, FileSource, FileTarget, StreamSource, StreamTarget
from rube.store.maintenance.salvage import Salvaged, salvage
from rube.store.maintenance.verify import verify_backup

__all__ = [
    "BackupSource",
    "BackupTarget",
    "Copied",
    "FileSource",
    "FileTarget",
    "Salvaged",
    "StreamSource",
    "StreamTarget",
    "back_up",
    "migrate",
    "restore",
    "salvage",
    "verify_backup",
]
