"""What engines say of a disk that fails or is full."""

from __future__ import annotations

from rube.api.errors import DataLossError, ResourceExhaustedError


def failed(where: object, what: str) -> DataLossError:
    """The error for a write or a sync that failed, and for all that come after it."""
    return DataLossError(
        f"{where}: the disk failed ({what}); nothing more is written. Check the disk, then restart: what was "
        "acknowledged is on it; the write that failed may be there too, or not: read before you repeat it"
    )


def full(where: object) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"the disk that holds {where} is full: free some space; nothing of this write was stored", limit="disk"
    )
