"""The disk's errors, as Rube's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rube.api.errors import FailedPreconditionError, ResourceExhaustedError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Within it an OSError becomes ResourceExhaustedError (the disk is full) or FailedPreconditionError."""
    try:
        yield
    except OSError as error:
        where = error.filename or what
        if error.errno in _FULL:
            raise ResourceExhaustedError(f"{what}: no space left for {where}: make room", limit="disk") from error
        raise FailedPreconditionError(f"{what}: {where}: {error.strerror}") from error
