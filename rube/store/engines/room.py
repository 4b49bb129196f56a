"""The reserve on a disk that fills up, so that the writes which free space still fit.

To compact a store takes writes: a mark, deletes, rewritten tables. So an engine refuses writes that make it grow while
only the reserve is left, and takes the others until the disk is full. The log's content must fit into tables beside the
log: on a small disk the log is small.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rube.host import Write

# The reserve is at most a fourth of the disk, and a log at most a 64th.
_RESERVE_PARTS = 4
_LOG_PARTS = 64
GROWTH_BYTES_MIN = 256
"""Marks and deletes are smaller than this; every object is larger."""


def growth_bytes(batch: Sequence[Write]) -> int:
    """Returns the bytes that a batch adds; 0 for a batch that adds next to nothing."""
    added = sum(len(key) + len(value) for key, value in batch if value is not None)
    return added if added > GROWTH_BYTES_MIN else 0


def is_short(path: Path, reserve_bytes: int) -> bool:
    """Returns whether less than the reserve is free on the disk that holds `path`; False if the system does not say."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    reserve = min(reserve_bytes, found.f_blocks * found.f_frsize // _RESERVE_PARTS)
    return found.f_bavail * found.f_frsize < reserve


def log_bytes(path: Path, log_bytes_max: int) -> int:
    """Returns how large an engine in the directory `path` lets its log grow before it moves it into tables."""
    try:
        found = os.statvfs(path)
    except OSError:
        return log_bytes_max
    return min(log_bytes_max, found.f_blocks * found.f_frsize // _LOG_PARTS)
