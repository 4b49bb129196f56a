"""Files and directories that only their owner may read, whatever the umask: the data of a store may be secret.

Files that an engine writes have mode 0600, directories that it makes 0700. A file of an earlier version with a looser
mode is closed to others; a directory that the engine has not made stays as it is.
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
    """Creates the directory and its missing parents. Raises OSError."""
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
    """Returns a descriptor of the file; if `flags` say so, creates it as a private one. Raises OSError."""
    fd = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    close_to_others(Path(path))
    return fd


def close_to_others(path: Path) -> None:
    """Removes the rights of group and others from a file or directory, and logs it; does nothing if it does not
    exist."""
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
