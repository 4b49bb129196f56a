"""The checks of a Unit: all errors at once, each by its field. Pure.

`unit_violations` finds values that no systemd would accept or that it would silently drop, and that Linux could not
run. Whether a user, a file or a node exists is for a machine to check.
"""

from __future__ import annotations

from rube.api.types.violation import Violation
from rube.units.checks.unit import unit_violations

__all__ = ["Violation", "unit_violations"]
