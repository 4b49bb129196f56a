"""The validation of a Unit before anything is done with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import Unit
from rube.api.errors import InvalidArgumentError
from rube.units.checks import Violation, unit_violations

NAMED_MAX = 20
"""So many violations are named in one error."""


def validate_unit(unit: Unit) -> None:
    """Raises InvalidArgumentError, naming all errors, for a unit that cannot be installed.

    Its metadata has the first wrong `field`.
    """
    violations = unit_violations(unit)
    if violations:
        raise InvalidArgumentError(sentence(violations), field=violations[0].field)


def sentence(violations: Sequence[Violation]) -> str:
    """Returns the first NAMED_MAX of them in words; empty if there are none."""
    named = "; ".join(map(str, violations[:NAMED_MAX]))
    more = len(violations) - NAMED_MAX
    return f"{named}; and {more} more" if more > 0 else named
