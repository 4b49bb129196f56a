"""The words of drivers for errors of the machine."""

from __future__ import annotations

import errno
import os

import pytest

from rube.api.errors import FailedPreconditionError, ResourceExhaustedError, RubeError
from rube.units.drivers.disk import disk_errors


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, ResourceExhaustedError, "cannot look: no space left for /data/x: make room"),
        (errno.EMFILE, ResourceExhaustedError, "cannot look: this process may open no more files: raise the rubelet's"),
        (errno.EACCES, FailedPreconditionError, "cannot look: /data/x: Permission denied"),
    ],
)
def test_an_error_of_the_machine_is_told_with_its_remedy(number: int, kind: type[RubeError], said: str) -> None:
    with pytest.raises(kind) as told, disk_errors("cannot look"):
        raise OSError(number, os.strerror(number), "/data/x")
    assert told.value.message.startswith(said)
