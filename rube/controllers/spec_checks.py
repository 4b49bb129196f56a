"""What Rube's own controllers can tell of a spec before it is stored, by type: handed to the apiserver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rube.api.well_known import UNIT_TYPE
from rube.controllers.systemd.spec_check import check_unit_spec

__all__ = ["built_in_spec_checks"]


def built_in_spec_checks() -> Mapping[str, Callable[[bytes], Sequence[tuple[str, str]]]]:
    """For each type a pure function from a canonical spec to all that is wrong with it: fields, and what is wrong."""
    return {UNIT_TYPE: check_unit_spec}
