"""The filter of a list or a watch: a range of keys, and conditions on the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rube.api import ListRequest, WatchRequest, selectors
from rube.api.keys import ObjectKey, prefix_bytes, prefix_end, validate_name, validate_name_of
from rube.api.types import Types
from rube.api.well_known import EVERY_TYPE
from rube.store import Record

if TYPE_CHECKING:
    from rube.server.rights.sight import Sight

# All names of types are between these; the store's other keys begin with '!'.
_TYPES_START, _TYPES_END = b"A", b"{"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """start <= key < end, the name if one is given, and the labels."""

    type: str
    namespace: str
    name: str
    selector: selectors.LabelSelector
    sight: Sight | None = None
    """The caller's, where that may not see everything."""

    @classmethod
    def of(cls, request: ListRequest | WatchRequest, types: Types) -> ObjectFilter:
        """Returns the filter of a request. Raises InvalidArgumentError for an unknown type, a bad name or a bad
        selector."""
        if request.type != EVERY_TYPE:
            types.kind(request.type)
        if request.namespace:
            validate_name("namespace", request.namespace)
        if request.name:
            validate_name_of(request.type, "name", request.name)
        selector = selectors.parse(request.label_selector)
        return cls(type=request.type, namespace=request.namespace, name=request.name, selector=selector)

    @property
    def start(self) -> bytes:
        if self.type == EVERY_TYPE:
            return _TYPES_START
        return self._single() or prefix_bytes(self.type, self.namespace)

    @property
    def end(self) -> bytes:
        if self.type == EVERY_TYPE:
            return _TYPES_END
        single = self._single()
        return single + b"\0" if single else prefix_end(prefix_bytes(self.type, self.namespace))

    def matches_key(self, key: bytes) -> bool:
        if self.type == EVERY_TYPE and self.namespace and key.split(b"/", 2)[1] != self.namespace.encode():
            return False
        return not self.name or key.endswith(b"/" + self.name.encode())

    def matches(self, labels: Callable[[], Mapping[str, str]]) -> bool:
        """Returns whether the labels match, which are asked for only if that depends on them; call `matches_key`
        first."""
        return not self.selector.requirements or self.selector.matches(labels())

    def admits(self, record: Record, labels: Callable[[], Mapping[str, str]]) -> bool:
        """Returns whether the object of a record matches and the caller may see it; call `matches_key` first."""
        return self.matches(labels) and (self.sight is None or self.sight.sees(record, labels))

    def __str__(self) -> str:
        return f"{self.type}/{self.namespace}/{self.name}?{self.selector}"

    def _single(self) -> bytes | None:
        return ObjectKey(self.type, self.namespace, self.name).to_bytes() if self.namespace and self.name else None
