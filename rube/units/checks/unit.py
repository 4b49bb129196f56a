"""All checks of a Unit, in the order of their worth, and what is rendered read back at last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from rube.api import Unit
from rube.api.errors import InvalidArgumentError
from rube.api.types.rules import rules_of
from rube.api.types.violation import Violation
from rube.units.checks.commands import STRING_BYTES_MAX, command_violations
from rube.units.checks.names import name_violations
from rube.units.checks.paths import path_violations
from rube.units.checks.texts import ITEMS_MAX, text_violations
from rube.units.render import check_renders

VIOLATIONS_MAX = 100
"""So many are looked for."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def unit_violations(unit: Unit) -> list[Violation]:
    """Returns all errors, at most VIOLATIONS_MAX; empty: every systemd can load it, and the supervisor too."""
    found = chain(
        text_violations(unit),
        command_violations(unit.service),
        rules_of(Unit).violations(unit),
        name_violations(unit),
        path_violations(unit.service),
        _environment(unit),
    )
    first: dict[str, Violation] = {}
    for violation in islice(found, VIOLATIONS_MAX):
        first.setdefault(violation.field, violation)
    return list(first.values()) or _rendered(unit)


def _environment(unit: Unit) -> Iterator[Violation]:
    environment = unit.service.environment
    for name in islice(sorted(environment), ITEMS_MAX):
        field = f"service.environment[{name[:80]!r}]"
        if not _NAME.match(name):
            yield Violation(field, "is not a variable's name: use letters, digits and '_'")
        size = len(name.encode("utf-8", "surrogatepass")) + len(environment[name].encode("utf-8", "surrogatepass")) + 1
        if size > STRING_BYTES_MAX:
            yield Violation(field, f"has {size} bytes with its name: Linux takes at most {STRING_BYTES_MAX}")


def _rendered(unit: Unit) -> list[Violation]:
    try:
        check_renders(unit)
    except InvalidArgumentError as error:
        field = error.metadata.get("field", "spec")
        return [Violation(field, error.message.removeprefix(field).strip())]
    return []
