"""Room that is kept on a disk that fills up, so that what makes room there can still be written.

To compact a store is to write: a mark, deletes, tables anew. So an engine refuses what makes it grow while some space
is left, and takes the rest until there is none. And what its log holds must fit into tables beside the log: on a
small disk the log is small.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rube.host import Write

# Of a small disk no more than a fourth is kept, and a log grows to no more than a 64th.
_RESERVE_PARTS = 4
_LOG_PARTS = 64
# Marks and deletes are smaller than this; no object is.
GROWTH_BYTES_MIN = 256


def growth_bytes(batch: Sequence[Write]) -> int:
    """What a batch adds; 0 for one that adds next to nothing."""
    added = sum(len(key) + len(value) for key, value in batch if value is not None)
    return added if added > GROWTH_BYTES_MIN else 0


def is_short(path: Path, reserve_bytes: int) -> bool:
    """Whether less than the reserve is free on the disk that holds `path`. Not where the system does not say."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    reserve = min(reserve_bytes, found.f_blocks * found.f_frsize // _RESERVE_PARTS)
    return found.f_bavail * found.f_frsize < reserve


def log_bytes(path: Path, log_bytes_max: int) -> int:
    """How large an engine in `path`, a directory, lets its log grow before it moves it into tables."""
    try:
        found = os.statvfs(path)
    except OSError:
        return log_bytes_max
    return min(log_bytes_max, found.f_blocks * found.f_frsize // _LOG_PARTS)
