"""One error of an object."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """`str()` is a sentence that begins with the field: `service.nice 40 must be …`."""

    field: str
    """The path below the spec, such as `items[2].name`; empty: the spec as a whole."""

    text: str
    rule: str = ""
    """The rule's id, such as `int32.gte_lte`, or that of a rule in CEL; empty: a check in code."""

    def __str__(self) -> str:
        return f"{self.field} {self.text}".lstrip()
