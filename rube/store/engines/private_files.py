"""Files and directories that only their owner may read, whatever the umask is: what a store holds may be secret.

What an engine writes is 0600, directories that it makes are 0700. A looser file of an earlier version is closed to
others; a directory that somebody else has made stays as it is.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

_LOG = logging.getLogger("rube.store")

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_OTHERS = 0o077


def make_directory(path: Path) -> None:
    """Creates the directory and the parents that are missing. Raises OSError."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path.parent == path:
            break
        path = path.parent
    for directory in reversed(missing):
        try:
            os.mkdir(directory, DIRECTORY_MODE)
        except FileExistsError:
            if not directory.is_dir():
                raise


def open_file(path: Path | str, flags: int) -> int:
    """A descriptor of the file, which is created as a private one where `flags` say so. Raises OSError."""
    fd = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    close_to_others(Path(path))
    return fd


def close_to_others(path: Path) -> None:
    """Takes group's and others' rights from a file or directory, and says so; nothing where it is not there."""
    try:
        mode = path.stat().st_mode & 0o7777
    except OSError:
        return
    if not mode & _OTHERS:
        return
    try:
        path.chmod(mode & ~_OTHERS)
    except OSError as error:
        _LOG.warning(
            "%s can be read by others (mode %04o), and this user may not change that (%s): chmod go= it",
            path,
            mode,
            error.strerror,
        )
    else:
        _LOG.info("%s could be read by others (mode %04o): it is its owner's alone from now on", path, mode)
