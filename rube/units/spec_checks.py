"""The checks of a Unit on its bytes, remembered: the same spec is written, and decided on, again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from rube.api import Unit
from rube.api.well_known import UNIT_TYPE
from rube.units.checks import Violation, unit_violations

SPECS_MAX = 1_024
SPEC_BYTES_MAX = 8 * 1024
"""So many specs are remembered, none larger than that."""


def check_unit_spec(spec: bytes) -> tuple[Violation, ...]:
    """Returns all errors of a serialized Unit."""
    return _remembered(spec) if len(spec) <= SPEC_BYTES_MAX else _check(spec)


def _check(spec: bytes) -> tuple[Violation, ...]:
    return tuple(unit_violations(Unit.FromString(spec)))


_remembered = lru_cache(maxsize=SPECS_MAX)(_check)


def built_in_spec_checks() -> Mapping[str, Callable[[bytes], Sequence[Violation]]]:
    """Returns, for each type, a pure function from a canonical spec to its errors."""
    check_unit_spec(b"")  # loads the engine of rules now, and not in the first put
    return {UNIT_TYPE: check_unit_spec}
