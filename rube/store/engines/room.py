"""Room that is kept on a disk that fills up, so that what makes room there can still be written.

To compact a store is to write: a mark, deletes, tables anew. So an engine refuses what makes it grow while some space
is left, and takes the rest until there is none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rube.host import Write

# Of a small disk no more than a fourth is kept.
_DISK_PARTS = 4
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
    reserve = min(reserve_bytes, found.f_blocks * found.f_frsize // _DISK_PARTS)
    return found.f_bavail * found.f_frsize < reserve
