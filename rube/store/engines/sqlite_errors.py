"""The translation of SQLite's result codes (https://www.sqlite.org/rescode.html) to Rube's errors."""

from __future__ import annotations

import os
import sqlite3  # noqa: TID251 (belongs to the engine)
from pathlib import Path

from rube.api.errors import (
    DataLossError,
    FailedPreconditionError,
    RubeError,
    UnavailableError,
)
from rube.host.disk_errors import failed, full, lacks_descriptors, too_many_files
from rube.store.checksums import SALVAGE

PATH_BYTES_MAX = 504
"""MAX_PATHNAME of SQLite's os_unix.c, less the suffix of a journal."""
_PRIMARY_CODE_MASK = 0xFF


def translate(error: sqlite3.Error, path: Path) -> RubeError:
    """Returns the error for `error` at `path`. An error not known to be harmless is DataLossError: the engine then
    stops."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE_MASK
    if code == sqlite3.SQLITE_FULL:
        return full(path)
    if code == sqlite3.SQLITE_NOTADB:
        return DataLossError(f"{path} is damaged or no SQLite database: check the path; if it is right, {SALVAGE}")
    if code == sqlite3.SQLITE_CORRUPT:
        return DataLossError(f"{path} is damaged ({error}): {SALVAGE}")
    if code == sqlite3.SQLITE_CANTOPEN and lacks_descriptors():
        return too_many_files(path)
    if code == sqlite3.SQLITE_CANTOPEN and (length := len(os.fsencode(path.resolve()))) > PATH_BYTES_MAX:
        return FailedPreconditionError(
            f"{path} cannot be opened: its path has {length} bytes, and SQLite takes {PATH_BYTES_MAX} at most: "
            "choose a directory with a shorter path (links are followed)"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        return FailedPreconditionError(
            f"{path} cannot be opened for writing ({error}): check the owner and mode of the file and its directory"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(f"another program holds {path} ({error}): end it and try again")
    # Also an exhausted quota of the file system: SQLITE_IOERR_WRITE, for which sqlite3 has no errno.
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return failed(path, f"{name}: {error}")
