"""The errors of engines for a disk that fails or is full."""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE

from rube.api.errors import DataLossError, ResourceExhaustedError


def failed(where: object, what: str) -> DataLossError:
    """Returns the error for a failed write or sync, and for all later ones."""
    return DataLossError(
        f"{where}: the disk failed ({what}); nothing more is written. Check the disk, then restart: what was "
        "acknowledged is on it; the write that failed may be there too, or not: read before you repeat it"
    )


def full(where: object) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"the disk that holds {where} is full: free some space; nothing of this write was stored", limit="disk"
    )


def too_many_files(where: object) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"{where} cannot be opened: this process may have no more files open; raise its limit (`ulimit -n`, or "
        "LimitNOFILE= of its unit), or let fewer clients connect to it",
        limit="open_files",
    )


def lacks_descriptors() -> bool:
    """Returns whether this process can open no further file. SQLite does not say why it could not."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (EMFILE, ENFILE)
    return False
