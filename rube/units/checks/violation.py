"""One error of an object."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """`str()` is a sentence that begins with the field: `service.nice 40 is not in -20 to 19`."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field} {self.text}"
