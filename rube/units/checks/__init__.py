"""What is wrong with a Unit: all of it at once, each by its field. Pure.

`unit_violations` says what no systemd would take or what it would silently drop, and what no Linux could run. It does
not ask whether a user, a file or a node exists: that is a machine's to say.
"""

from rube.units.checks.unit import unit_violations
from rube.units.checks.violation import Violation

__all__ = ["Violation", "unit_violations"]
