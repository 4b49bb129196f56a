"""The diary of a test: what it did to its cluster, for the report of a failure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LINES_MAX = 200


@dataclass(slots=True)
class Diary:
    """The last LINES_MAX lines about what happened, with virtual times."""

    lines: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=LINES_MAX))
    total: int = 0

    def tell(self, at_ns: int, what: str) -> None:
        self.total += 1
        self.lines.append((at_ns, what))

    def text(self) -> str:
        """The lines, in the order of their times."""
        left_out = self.total - len(self.lines)
        first = [f"({left_out} lines before are left out)"] if left_out else []
        ordered = sorted(self.lines, key=lambda line: line[0])
        return "\n".join([*first, *(f"{at_ns / 1e9:10.3f}s  {what}" for at_ns, what in ordered)])
