"""The translation of RocksDB's errors to Rube's.

rocksdict raises plain exceptions, so the message tells them apart: it begins with the name of RocksDB's status code,
and contains the operating system's error as strerror writes it.
"""

from __future__ import annotations

import os
import re
from errno import EDQUOT, ENOSPC
from pathlib import Path

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.host.disk_errors import failed, full
from rube.store.checksums import SALVAGE

_NO_SPACE = (os.strerror(ENOSPC), os.strerror(EDQUOT), "Max allowed space was reached")
_LOCKED = ("lock hold by current process", "While lock file")
_NOT_THERE = "No such file or directory"
_NOT_ALLOWED = ("Permission denied", "Read-only file system", "Not a directory", _NOT_THERE)
# The name of an SST file or a log in messages.
_FILE = re.compile(r"[^\s:]*?(?:\d+\.(?:sst|log)|MANIFEST-\d+|CURRENT)")


def translate(error: Exception, path: Path, *, opening: bool = False) -> RubeError:
    """Returns the error for `error` of the database in `path`: DataLossError unless it is known to be harmless."""
    text = str(error)
    if any(words in text for words in _NO_SPACE):
        return full(path)
    if any(words in text for words in _LOCKED):
        return in_use(path)
    if "Corruption" in text or (_NOT_THERE in text and _FILE.search(text)):  # a file that the database names is gone
        return damaged(path, text)
    if opening and any(words in text for words in _NOT_ALLOWED):
        return FailedPreconditionError(
            f"{path} cannot be created or opened ({text}): choose a directory that this user may write to"
        )
    return failed(path, text)


def in_use(path: Path) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{path} is in use by another process, or opened twice in this one: stop it (`fuser {path}/LOCK` names it) or "
        "choose another directory; the lock ends with its process, nothing needs to be removed"
    )


def damaged(path: Path, text: str) -> DataLossError:
    found = _FILE.search(text)
    return DataLossError(
        f"{path} is damaged ({' '.join(text.split())}): {SALVAGE}",
        path=found.group() if found else str(path),
    )
