"""The errors of the disk and of files, as Rube's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rube.api.errors import FailedPreconditionError, ResourceExhaustedError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns an OSError in it into ResourceExhaustedError (the disk is full, too many open files) or
    FailedPreconditionError."""
    try:
        yield
    except OSError as error:
        where = error.filename or what
        if error.errno in _FULL:
            raise ResourceExhaustedError(f"{what}: no space left for {where}: make room", limit="disk") from error
        if error.errno in _NO_FILES:
            raise ResourceExhaustedError(
                f"{what}: this process may open no more files: raise the rubelet's limit (ulimit -n, or LimitNOFILE= "
                "in its unit)",
                limit="files",
            ) from error
        raise FailedPreconditionError(f"{what}: {where}: {error.strerror}") from error
