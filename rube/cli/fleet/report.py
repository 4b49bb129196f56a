"""The figures of a run, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report."""

    what: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        value = f"{self.value:,.0f}" if self.value >= 100 or self.value == int(self.value) else f"{self.value:.3g}"
        return f"{value} {self.unit}".strip()


@dataclass(slots=True)
class Report:
    """The figures in the order in which they were measured."""

    nodes: int
    figures: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str = "") -> None:
        self.figures.append(Figure(what, value, unit))

    def add_times(self, what: str, seconds: Sequence[float]) -> None:
        """Adds the median, the 99th percentile and the longest of some times."""
        ordered = sorted(seconds)
        for name, place in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            self.add(f"{what}, {name}", ordered[min(len(ordered) - 1, int(place * len(ordered)))] * 1000, "ms")

    def text(self) -> str:
        width = max(len(figure.what) for figure in self.figures)
        lines = [f"{self.nodes} hollow nodes", *(f"  {each.what:<{width}}  {each}" for each in self.figures)]
        return "\n".join(lines)

    def as_json(self) -> str:
        return json.dumps({"nodes": self.nodes, "figures": [asdict(figure) for figure in self.figures]}, indent=2)
