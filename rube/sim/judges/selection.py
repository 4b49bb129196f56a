"""The objects that a list or a watch is about, by the API's documentation.

Written for the judges alone: it shares no code with the servers that it judges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from rube.api import ListRequest, WatchRequest
from rube.sim.judges.contents import Content

# Commas within brackets don't part requirements.
_REQUIREMENT = re.compile(r"\s*((?:[^,(]|\([^)]*\))+)\s*(?:,|$)")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)\Z")


@dataclass(frozen=True, slots=True)
class Demand:
    """One requirement on one label. `values` None: any. `negated`: it must not be so (or the label be absent)."""

    label: str
    values: frozenset[str] | None
    negated: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Returns whether labels meet it."""
        there = self.label in labels and (self.values is None or labels[self.label] in self.values)
        return there is not self.negated


@dataclass(frozen=True, slots=True)
class Selection:
    """The filter of a ListRequest or a WatchRequest."""

    type: str
    namespace: str = ""
    name: str = ""
    selector: str = ""

    @classmethod
    def of(cls, request: ListRequest | WatchRequest) -> Selection:
        """Returns the selection of a request."""
        return cls(request.type, request.namespace, request.name, request.label_selector)

    def matches(self, content: Content | None) -> bool:
        """Returns whether this version is one of those that are asked for; None, an absent object, is not."""
        if content is None or self.type not in (content.type, "*"):
            return False
        metadata = content.obj.metadata
        if (self.namespace and metadata.namespace != self.namespace) or (self.name and metadata.name != self.name):
            return False
        return all(demand.holds(metadata.labels) for demand in demands(self.selector))

    def __str__(self) -> str:
        where = "/".join(part for part in (self.type, self.namespace, self.name) if part)
        return f"{where} with {self.selector}" if self.selector else where


@lru_cache(maxsize=4096)
def demands(selector: str) -> tuple[Demand, ...]:
    """The requirements of a label selector that a server has taken: `a=b,c!=d,e in (f,g),h,!i`."""
    return tuple(_demand(text.strip()) for text in _REQUIREMENT.findall(selector) if text.strip())


def _demand(text: str) -> Demand:
    if found := _SET.match(text):
        return Demand(found[1], frozenset(value.strip() for value in found[3].split(",")), found[2] == "notin")
    for sign, negated in (("!=", True), ("==", False), ("=", False)):
        label, given, value = text.partition(sign)
        if given:
            return Demand(label.strip(), frozenset({value.strip()}), negated)
    return Demand(text.removeprefix("!").strip(), None, text.startswith("!"))
